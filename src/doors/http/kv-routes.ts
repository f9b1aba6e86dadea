/** `/v1/kv` and `/v1/batch`: keys and values. */

import type { BatchOperation, Condition, LifeOptions } from '../../client/operations.js';
import type { BatchResult } from '../../client/results.js';
import { isEmptyRange, rangeAfter, type ScanRange, scanRange } from '../../client/scan-range.js';
import { durationMs } from '../../kv/duration.js';
import type { RequestLimits } from '../../kv/limits.js';
import type { PageEntry } from '../../kv/requests.js';
import type { Backend } from '../backend.js';
import { type Answer, json } from './answer.js';
import { problem } from './problem.js';
import { type HttpRequest, Refusal } from './request.js';
import { checked, operation, type Route } from './route.js';
import {
  batchAnswer,
  batchBody,
  bytesIn,
  isSet,
  type JsonOperation,
  noQuery,
  readQuery,
  scanAnswer,
  scanLine,
  scanQuery,
  writeQuery,
} from './schemas.js';

const DEFAULT_ENTRIES = 1000;
/** A piece of a long answer. */
const PIECE_BYTES = 16 * 1024;
/** What a scan holds in memory: a page of entries, or one large one. */
const PAGE_BYTES = 1024 * 1024;
/** JSON of a batch is longer than its keys and values: base64, escapes, names. */
const JSON_OVERHEAD = 2;

export function kvRoutes(backend: Backend, limits: RequestLimits): readonly Route[] {
  const value = (request: HttpRequest) => request.body(limits.maxValueBytes, 'VALUE_TOO_LARGE');
  const written = { description: 'Done', hasEtag: true } as const;
  const get = operation({
    id: 'getKey',
    summary: 'The value of a key, as it was written',
    query: readQuery,
    takes: ['if-match', 'if-none-match'],
    answers: {
      200: { description: 'The value', content: 'bytes', hasEtag: true },
      304: { description: 'The value is still the one of If-None-Match', hasEtag: true },
    },
    handle: async (request, { level }) => {
      const key = keyOf(request);
      const wanted = expectedVersions(request.header('if-match'), 'If-Match');
      const known = expectedVersions(request.header('if-none-match'), 'If-None-Match');
      const found = await backend.get(request.caller, key, level);
      if (!found) {
        if (wanted) return conditionFailed('the key does not exist');
        return problem('KEY_NOT_FOUND', 'the key does not exist');
      }
      const { version, value, remainingMs } = found;
      request.hold(value.length);
      if (wanted && wanted !== 'any' && !wanted.includes(version))
        return conditionFailed(`the version is ${version}`);
      const headers = {
        etag: etagOf(version),
        ...(remainingMs === undefined ? {} : { 'x-remaining-ms': String(remainingMs) }),
      };
      if (known === 'any' || known?.includes(version)) return { status: 304, headers };
      return {
        status: 200,
        headers: { ...headers, 'content-type': 'application/octet-stream' },
        body: value,
      };
    },
  });
  const put = operation({
    id: 'putKey',
    summary: 'Sets the value of a key',
    query: writeQuery,
    body: 'bytes',
    takes: ['if-match', 'if-none-match'],
    answers: { 201: { ...written, description: 'The key was created (If-None-Match)' }, 204: written },
    handle: async (request, query) => {
      const condition = conditionOf(request);
      const life = lifeOf(query);
      const key = keyOf(request);
      const operation = { action: 'put', key, value: await value(request), ...condition, ...life } as const;
      const { version } = await change(request, operation);
      const isNew =
        condition?.condition !== undefined && 'exists' in condition.condition && !condition.condition.exists;
      return { status: isNew ? 201 : 204, headers: { etag: etagOf(version) } };
    },
  });
  const append = operation({
    id: 'appendToKey',
    summary: 'Appends to the value of a key; one that does not exist counts as empty',
    query: writeQuery,
    body: 'bytes',
    takes: ['if-match', 'if-none-match'],
    answers: { 204: written },
    handle: async (request, query) => {
      const condition = conditionOf(request);
      const life = lifeOf(query);
      const key = keyOf(request);
      const { version } = await change(request, {
        action: 'append',
        key,
        value: await value(request),
        ...condition,
        ...life,
      });
      return { status: 204, headers: { etag: etagOf(version) } };
    },
  });
  const remove = operation({
    id: 'deleteKey',
    summary: 'Removes a key',
    query: noQuery,
    takes: ['if-match'],
    answers: { 204: { description: 'The key existed, and does not any more' } },
    handle: async (request) => {
      const condition = conditionOf(request);
      const { existed } = await change(request, { action: 'delete', key: keyOf(request), ...condition });
      return existed ? { status: 204 } : problem('KEY_NOT_FOUND', 'the key does not exist');
    },
  });
  const scan = operation({
    id: 'scanKeys',
    summary: 'Entries of a range, in the order of their keys',
    query: scanQuery,
    answers: { 200: { description: 'The entries', content: scanAnswer, ndjson: scanLine } },
    handle: (request, query) => {
      request.hold(Math.max(PAGE_BYTES, limits.maxValueBytes));
      return answerScan(backend, request, query);
    },
  });
  const batch = operation({
    id: 'batch',
    summary: 'Changes of several keys: all of them, or none if a condition does not hold',
    query: noQuery,
    body: batchBody,
    answers: { 200: { description: 'All were applied', content: batchAnswer } },
    handle: async (request) => {
      const body = checked(
        batchBody,
        await request.json(limits.maxRequestBytes * JSON_OVERHEAD),
        'INVALID_REQUEST',
      );
      const result = await backend.write(request.caller, body.operations.map(operationOf), request.writes);
      // Numbers of 64 bits are no numbers of JSON.
      const results = result.results.map((each) =>
        'value' in each ? { ...each, value: String(each.value) } : each,
      );
      if (result.applied) return json({ ...result, results });
      return conditionFailed('a condition does not hold: nothing was changed', { results });
    },
  });

  async function change(
    request: HttpRequest,
    operation: BatchOperation,
  ): Promise<{ readonly version: number; readonly existed: boolean }> {
    const { applied, results }: BatchResult = await backend.write(
      request.caller,
      [operation],
      request.writes,
    );
    const [result] = results;
    const version = result && 'version' in result ? result.version : 0;
    const existed = result !== undefined && 'existed' in result && result.existed === true;
    if (applied) return { version, existed };
    throw new Refusal('CONDITION_FAILED', existed ? `the version is ${version}` : 'the key does not exist', {
      headers: existed ? { etag: etagOf(version) } : {},
    });
  }

  return [
    { path: '/v1/kv', operations: { GET: scan } },
    { path: '/v1/kv/{key}', operations: { GET: get, PUT: put, POST: append, DELETE: remove } },
    { path: '/v1/batch', operations: { POST: batch } },
  ];
}

function keyOf({ parameters }: HttpRequest): Buffer {
  return parameters[0] ?? Buffer.alloc(0);
}

function etagOf(version: number): string {
  return `"${version}"`;
}

function conditionFailed(detail: string, more: Readonly<Record<string, unknown>> = {}): Answer {
  return problem('CONDITION_FAILED', detail, { more });
}

/** The versions of a header with entity tags, `any` for `*`, undefined without the header. */
function expectedVersions(header: string | undefined, name: string): readonly number[] | 'any' | undefined {
  if (header === undefined) return undefined;
  if (header.trim() === '*') return 'any';
  return header.split(',').map((tag) => {
    const version = /^\s*(?:W\/)?"([1-9]\d{0,15})"\s*$/.exec(tag)?.[1];
    if (version !== undefined) return Number(version);
    throw new Refusal(
      'INVALID_REQUEST',
      `${name} has versions in quotes, as in the ETag of an answer, or is *`,
    );
  });
}

/** Throws a Refusal for conditions that contradict each other, or that a write cannot have. */
function conditionOf(request: HttpRequest): { readonly condition: Condition } | undefined {
  const wanted = expectedVersions(request.header('if-match'), 'If-Match');
  const unwanted = expectedVersions(request.header('if-none-match'), 'If-None-Match');
  if (wanted && unwanted)
    throw new Refusal(
      'INVALID_REQUEST',
      'If-Match and If-None-Match contradict each other: send one of them',
    );
  if (unwanted === 'any') return { condition: { exists: false } };
  if (unwanted) throw new Refusal('INVALID_REQUEST', 'If-None-Match of a write can only be *');
  if (wanted === 'any') return { condition: { exists: true } };
  if (!wanted) return undefined;
  const [expectedVersion = 0, ...others] = wanted;
  if (others.length > 0) throw new Refusal('INVALID_REQUEST', 'If-Match of a write has one version');
  return { condition: { expectedVersion } };
}

function lifeOf({ ttl, keepTtl }: ReturnType<typeof writeQuery.parse>): LifeOptions {
  if (ttl !== undefined && isSet(keepTtl))
    throw new Refusal('INVALID_REQUEST', 'ttl and keepTtl contradict each other: send one of them');
  return ttl === undefined ? { keepTtl: isSet(keepTtl) } : { ttlMs: durationMs(ttl) };
}

/** The members of an operation that only some actions have. */
const MEMBERS: Readonly<Record<JsonOperation['action'], readonly string[]>> = {
  put: ['value', 'valueBase64', 'ttlMs', 'keepTtl'],
  append: ['value', 'valueBase64', 'ttlMs', 'keepTtl'],
  delete: [],
  check: [],
  expire: ['ttlMs', 'when'],
  persist: [],
  increment: ['by', 'ttlMs'],
};
const SOME_MEMBERS = ['value', 'valueBase64', 'ttlMs', 'keepTtl', 'when', 'by'] as const;

function operationOf(given: JsonOperation, i: number): BatchOperation {
  const bytes = (name: 'key' | 'value', text: string | undefined, base64: string | undefined) => {
    if (text !== undefined && base64 === undefined) return Buffer.from(wellFormed(text, i), 'utf8');
    if (text === undefined && base64 !== undefined) return Buffer.from(base64, 'base64');
    throw new Refusal('INVALID_REQUEST', `operations.${i} has one of "${name}" and "${name}Base64"`);
  };
  const key = bytes('key', given.key, given.keyBase64);
  const condition = given.if && jsonCondition(given.if, i);
  const { action, ttlMs, keepTtl, when, by } = given;
  const conditional = condition ? { condition } : {};
  const foreign = SOME_MEMBERS.find((name) => given[name] !== undefined && !MEMBERS[action].includes(name));
  if (foreign !== undefined)
    throw new Refusal('INVALID_REQUEST', `operations.${i}: ${action} has no ${foreign}`);
  switch (action) {
    case 'put':
    case 'append': {
      const value = bytes('value', given.value, given.valueBase64);
      return { action, key, value, ttlMs, keepTtl, ...conditional };
    }
    case 'delete':
    case 'persist':
      return { action, key, ...conditional };
    case 'increment':
      return { action, key, by: typeof by === 'string' ? BigInt(by) : by, ttlMs, ...conditional };
    case 'expire':
      if (ttlMs !== undefined) return { action, key, ttlMs, when, ...conditional };
      throw new Refusal('INVALID_REQUEST', `operations.${i}: expire has a "ttlMs"`);
  }
  if (!condition) throw new Refusal('INVALID_REQUEST', `operations.${i}: check has an "if"`);
  return { action, key, condition };
}

/** JSON may have half a surrogate pair (`\\ud800`), which has no bytes in UTF-8. */
function wellFormed(text: string, i: number): string {
  if (!/\p{Surrogate}/u.test(text)) return text;
  throw new Refusal(
    'INVALID_REQUEST',
    `operations.${i} has half a surrogate pair, which is no UTF-8: use base64`,
  );
}

function jsonCondition(given: NonNullable<JsonOperation['if']>, i: number): Condition {
  if ('exists' in given) return given;
  if ('version' in given) return { expectedVersion: given.version };
  return {
    expectedValue:
      'value' in given
        ? Buffer.from(wellFormed(given.value, i), 'utf8')
        : Buffer.from(given.valueBase64, 'base64'),
  };
}

async function answerScan(
  backend: Backend,
  request: HttpRequest,
  query: ReturnType<typeof scanQuery.parse>,
): Promise<Answer> {
  const reverse = isSet(query.reverse);
  const keysOnly = isSet(query.keys);
  const limit = query.limit === undefined ? DEFAULT_ENTRIES : Number(query.limit);
  const range = rangeOf(query, reverse);
  // One more tells whether there are others.
  const wanted = { range, limit: limit + 1, reverse, keysOnly, level: query.level };
  const entries = backend.entries(request.caller, wanted);
  // An error of the first page is a problem document; a later one cuts the answer off.
  const first = await entries.next();
  const isNdjson = /\bapplication\/x-ndjson\b/.test(request.header('accept') ?? '');
  return {
    status: 200,
    headers: { 'content-type': isNdjson ? 'application/x-ndjson' : 'application/json', vary: 'accept' },
    body: listing(first, entries, { limit, keysOnly, isNdjson }),
  };
}

/** Latin1 text of the query, which has the bytes of the keys. */
function rangeOf(query: ReturnType<typeof scanQuery.parse>, reverse: boolean): ScanRange {
  const given: Record<string, Buffer> = {};
  for (const name of ['prefix', 'from', 'to'] as const) {
    const text = query[name];
    if (text !== undefined) given[name] = Buffer.from(text, 'latin1');
  }
  if (given.from && given.to && Buffer.compare(given.from, given.to) > 0)
    throw new Refusal('INVALID_REQUEST', '"from" lies behind "to"');
  const range = scanRange(given);
  if (query.cursor === undefined) return range;
  const last = Buffer.from(query.cursor, 'base64url');
  const inRange = Buffer.compare(last, range.from) >= 0 && !isEmptyRange({ from: last, to: range.to });
  if (last.toString('base64url') !== query.cursor || !inRange)
    throw new Refusal('INVALID_REQUEST', 'the cursor is not one of this range');
  return rangeAfter(range, last, reverse);
}

async function* listing(
  first: IteratorResult<PageEntry, void>,
  entries: AsyncGenerator<PageEntry, void>,
  {
    limit,
    keysOnly,
    isNdjson,
  }: { readonly limit: number; readonly keysOnly: boolean; readonly isNdjson: boolean },
): AsyncGenerator<Buffer> {
  let text = isNdjson ? '' : '{"entries":[';
  let count = 0;
  let cursor: string | null = null;
  let last: Buffer | undefined;
  try {
    for (let next = first; !next.done; next = await entries.next()) {
      const { key, value, version, remainingMs } = next.value;
      if (count === limit) {
        cursor = last?.toString('base64url') ?? null;
        break;
      }
      const shown = {
        ...bytesIn('key', key),
        ...(keysOnly ? {} : bytesIn('value', value)),
        ...{ version, remainingMs },
      };
      text += `${!isNdjson && count > 0 ? ',' : ''}${JSON.stringify(shown)}${isNdjson ? '\n' : ''}`;
      count++;
      last = key;
      if (text.length < PIECE_BYTES) continue;
      yield Buffer.from(text);
      text = '';
    }
  } finally {
    await entries.return();
  }
  yield Buffer.from(
    text + (isNdjson ? `${JSON.stringify({ cursor })}\n` : `],"cursor":${JSON.stringify(cursor)}}\n`),
  );
}
