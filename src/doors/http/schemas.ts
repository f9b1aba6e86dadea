/**
 * The JSON of requests and answers. Handlers check requests by these schemas; openapi.ts makes the document of them.
 * Keys and values are bytes: in JSON they are text where they are UTF-8, else base64 in a field of another name.
 */
import { isUtf8 } from 'node:buffer';
import { z } from 'zod';
import { DURATION_HELP, durationMs } from '../../kv/duration.js';
import { MAX_TTL_MS } from '../../kv/replicated-time.js';
import { PROBLEM_STATUS, type ProblemCode } from './problem.js';

const MAX_COUNT = Number.MAX_SAFE_INTEGER;
const version = z.int().min(0).describe('The log index of the last change; 0: the key does not exist');
const base64 = z
  .string()
  .regex(/^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/, { error: 'expected base64' });
const flag = z.enum(['true', 'false', '']).describe('The name alone means true');
const nodeId = z.int().min(1).max(MAX_COUNT);
const address = z.string().min(1).max(300).describe('host:port');

export const level = z
  .enum(['linearizable', 'lease', 'follower', 'stale'])
  .default('linearizable')
  .describe('Which node answers, and how fresh the answer is; see README.md, Reading');

export const readQuery = z.strictObject({ level });

const ttl = z
  .string()
  .refine((text) => durationMs(text) !== undefined, { error: `expected ${DURATION_HELP}` })
  .describe(`How long the key lives: ${DURATION_HELP}`);

export const writeQuery = z.strictObject({
  ttl: ttl.optional(),
  keepTtl: flag.optional().describe('A deadline of the key stays; a PUT takes it away otherwise'),
});

export const scanQuery = z.strictObject({
  level,
  prefix: z.string().optional().describe('Keys that begin so'),
  from: z.string().optional().describe('The first key, inclusive'),
  to: z.string().optional().describe('The last key, exclusive'),
  limit: z
    .string()
    .regex(/^[1-9]\d{0,14}$/, { error: 'expected a whole number from 1 on' })
    .optional()
    .describe('The most entries of this answer; 1000 if it is not given'),
  cursor: z.string().optional().describe('From the answer before, to go on behind it'),
  reverse: flag.optional(),
  keys: flag.optional().describe('Keys and versions without values'),
});

export const watchQuery = z.strictObject({
  key: z.string().optional().describe('This key only'),
  prefix: z.string().optional().describe('Keys that begin so; all keys without it'),
  from: z
    .string()
    .regex(/^(?:[1-9]\d{0,14}|w1\.[\w-]{1,8192})$/, {
      error: 'expected a version, a whole number from 1 on, or a token',
    })
    .optional()
    .describe(
      'The first version that is told, or, if the keys belong to several tablets, a token: the id of an event. The ' +
        'next change if it is not given',
    ),
});

export const forceQuery = z.strictObject({
  force: flag.optional().describe('Checks that fail only give warnings'),
});
export const noQuery = z.strictObject({});
export const readyQuery = z.strictObject({ verbose: flag.optional() });

export function isSet(value: string | undefined): boolean {
  return value === 'true' || value === '';
}

const condition = z
  .union([
    z.strictObject({ exists: z.boolean() }),
    z.strictObject({ version }),
    z.strictObject({ value: z.string() }),
    z.strictObject({ valueBase64: base64 }),
  ])
  .describe('What must hold before the batch');

const operation = z.strictObject({
  action: z.enum(['put', 'append', 'delete', 'check', 'expire', 'persist', 'increment']),
  key: z.string().optional(),
  keyBase64: base64.optional(),
  value: z.string().optional(),
  valueBase64: base64.optional(),
  ttlMs: z
    .int()
    .min(0)
    .max(MAX_TTL_MS)
    .optional()
    .describe('Of put, append and expire, and of a key that increment makes'),
  keepTtl: z.boolean().optional().describe('Of put: a deadline of the key stays'),
  when: z
    .enum(['ifNone', 'ifSome', 'ifLater', 'ifSooner'])
    .optional()
    .describe('Of expire: the deadline so far'),
  by: z
    .union([z.int(), z.string().regex(/^-?\d{1,19}$/)])
    .optional()
    .describe('Of increment; above 2^53 as text; 1 if it is not given'),
  if: condition.optional(),
});
export type JsonOperation = z.output<typeof operation>;

export const batchBody = z.strictObject({ operations: z.array(operation).min(1).max(100_000) });

export const batchAnswer = z.object({
  applied: z.literal(true),
  index: z.int(),
  results: z.array(
    z.object({
      status: z.enum(['ok', 'unchanged', 'conditionFailed', 'notApplied']),
      existed: z.boolean().optional(),
      version: version.optional(),
      value: z.string().optional().describe('The number that an increment left'),
    }),
  ),
});

export const entry = z.object({
  key: z.string().optional(),
  keyBase64: z.string().optional(),
  value: z.string().optional(),
  valueBase64: z.string().optional(),
  version,
  remainingMs: z.int().optional().describe('How long the key still lives, if it has a deadline'),
});

export const scanAnswer = z.object({
  entries: z.array(entry),
  cursor: z.string().nullable().describe('To go on behind the last entry; null: there are no more'),
});

/** A line of the other form: entries, and in the last line the cursor. */
export const scanLine = z.union([entry, scanAnswer.pick({ cursor: true })]);

export const member = z.object({
  id: nodeId,
  role: z.enum(['voter', 'learner', 'leaving']),
  client: z.string(),
  peer: z.string().optional(),
  reachable: z.boolean(),
  lagEntries: z.int().nullable().describe('What it lacks of the log; null if this node does not lead'),
});

export const clusterAnswer = z.object({
  leader: z.object({ id: z.int(), client: z.string() }).nullable(),
  term: z.int(),
  configurationIndex: z.int(),
  members: z.array(member),
});

export const statusAnswer = z.object({
  nodeId: z.int(),
  role: z.string(),
  term: z.int(),
  leaderId: z.int(),
  commitIndex: z.int(),
  appliedIndex: z.int(),
  lastIndex: z.int(),
  durableIndex: z.int(),
  keysApproximate: z.int(),
  keysWithDeadline: z.int(),
  timeMs: z.int().describe('Of the state machine: what deadlines are measured by'),
  version: z.string().describe('Of the program'),
});

export const tabletsAnswer = z.object({
  by: z.enum(['range', 'hash']).describe('What of a key decides which tablet owns it'),
  tablets: z.array(
    z.object({
      id: z.int(),
      start: z.string().optional().describe('The first key, or hash, inclusive'),
      startBase64: z.string().optional(),
      end: z
        .string()
        .optional()
        .describe('The last one, exclusive; neither it nor endBase64: there is no end'),
      endBase64: z.string().optional(),
      generation: z.int(),
      leader: z.int().nullable().describe('As the node knew it that was asked; null: it knew none'),
      replicas: z.array(z.int()).describe('The nodes that hold it'),
    }),
  ),
});

const quantiles = z.object({ p50Us: z.int(), p99Us: z.int() }).optional();

export const nodesAnswer = z.object({
  nodes: z.array(
    z.object({
      id: nodeId,
      role: z.enum(['voter', 'learner', 'leaving']),
      client: z.string(),
      peer: z.string().optional(),
      heardMsAgo: z.int().nullable().describe('Since this node last heard it; null: never'),
      problem: z.string().describe('Why this node does not reach it; empty if it does'),
      isDraining: z.boolean().describe('It gives its tablets to others, and gets none'),
      state: z.enum(['answers', 'silent']).describe('A silent one has no further fields'),
      version: z.string().optional().describe('Of the program'),
      tablets: z.object({ holds: z.int(), leads: z.int(), failed: z.int() }).optional(),
      keysApproximate: z.int().optional(),
      pendingRequests: z.int().optional(),
      residentBytes: z.int().optional(),
      commit: quantiles.describe('From a proposal to its commit; of the last seconds, as are all times'),
      apply: quantiles,
      loopDelayUs: z.int().optional().describe('How late a timer of its event loop ran at most'),
      disk: z
        .object({
          sync: quantiles.describe('Of durable writes of the log'),
          writtenBytes: z.int().describe('By log and storage engines, since its start'),
          freeBytes: z.int().optional(),
        })
        .optional(),
    }),
  ),
});

export const addBody = z.strictObject({
  id: nodeId,
  client: address,
  peer: address,
  learner: z.boolean().default(false).describe('It only receives the log'),
});
export const updateBody = z.strictObject({ client: address.optional(), peer: address.optional() });
export const transferBody = z.strictObject({ to: nodeId.describe('The voter that is to lead') });

export const changedAnswer = z.object({
  index: z.int(),
  changed: z.boolean().optional().describe('False: the members were so already'),
  warnings: z.array(z.string()),
});
export const drainedAnswer = z.object({ changed: z.boolean().describe('False: it was so already') });
export const balanceBody = z.strictObject({ isOn: z.boolean() });
export const balanceAnswer = z.object({
  isOn: z.boolean(),
  changed: z.boolean().describe('It was not so before'),
  plannerId: z.int().describe('The node that plans: it leads the map'),
  maxMoves: z.int().describe('So many replicas move at a time at most'),
  deadAfterMs: z.int(),
  nodes: z.array(
    z.object({
      nodeId: z.int(),
      condition: z.enum(['takesPart', 'drains', 'full', 'silent', 'dead']),
      silentMs: z.int(),
      tablets: z.int(),
    }),
  ),
  steps: z.array(
    z.object({
      kind: z.enum(['move', 'lead', 'vote']),
      tablet: z.int().describe('0: the map'),
      from: z.int().describe('0: it only comes'),
      to: z.int().describe('0: it only goes'),
      reason: z.string(),
      state: z.enum(['underWay', 'next']),
    }),
  ),
  furtherSteps: z.int(),
});
export const transferredAnswer = z.object({ leader: z.int() });

export const problemAnswer = z.looseObject({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  detail: z.string(),
  code: z.enum(Object.keys(PROBLEM_STATUS) as [ProblemCode, ...ProblemCode[]]),
  outcome: z.enum(['notCommitted', 'unknown']),
});

/** `{ key }` or `{ keyBase64 }`; the same for values. */
export function bytesIn<Name extends string>(name: Name, bytes: Uint8Array): Record<string, string> {
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  return isUtf8(buffer)
    ? { [name]: buffer.toString('utf8') }
    : { [`${name}Base64`]: buffer.toString('base64') };
}
