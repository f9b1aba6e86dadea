/**
 * Faster ways to read and write the messages of which a busy node has most. They do what the table in messages.ts says,
 * field by field, without its loops over names. What they cannot read or write is left to the table: it knows what is
 * wrong, and where.
 */
import type { ByteReader } from './byte-reader.js';
import { FieldFault } from './byte-reader.js';
import type { ByteWriter } from './byte-writer.js';
import type { Layout } from './field-kinds.js';
import { MESSAGES, type MessageName, type MessageOf, type OutboundOf } from './messages.js';

type HotReads = { readonly [Name in MessageName]?: (reader: ByteReader) => MessageOf<Name> };
type HotWrites = { readonly [Name in MessageName]?: (writer: ByteWriter, message: OutboundOf<Name>) => void };

type Operation = MessageOf<'write'>['operations'][number];
type OperationResult = MessageOf<'writeReply'>['results'][number];

/** The codes of an enumeration, found in the layout of a message: `[]` is an element of a list. */
class Codes<Name extends string> {
  readonly #byName: Readonly<Record<string, number>>;
  readonly #names: (string | undefined)[] = [];

  constructor(of: Layout, ...path: readonly string[]) {
    const { kind, codes } = path.reduce(inside, of) as Extract<Layout, { kind: 'enumeration' }>;
    if (kind !== 'enumeration') throw new TypeError(`${path.join('.')} is no enumeration`);
    this.#byName = codes;
    for (const [name, code] of Object.entries(codes)) this.#names[code] = name;
  }

  read(reader: ByteReader): Name {
    const name = this.#names[reader.u8()];
    if (name === undefined) throw new FieldFault('unknown value');
    return name as Name;
  }

  write(writer: ByteWriter, name: Name): void {
    writer.u8(this.#byName[name] ?? unknownName());
  }
}

function inside(layout: Layout, name: string): Layout {
  if (layout.kind === 'list') return inside(layout.element, name);
  if (layout.kind === 'optional') return inside(layout.value, name);
  const found = layout.kind === 'struct' ? layout.fields[name] : undefined;
  if (!found) throw new TypeError(`there is no field ${name}`);
  return found;
}

function unknownName(): never {
  throw new FieldFault('unknown name');
}

const OPERATIONS = MESSAGES.write.fields.operations.layout;
const ACTIONS = new Codes<Operation['action']>(OPERATIONS, 'action');
const CONDITIONS = new Codes<Operation['condition']>(OPERATIONS, 'condition');
const CHANGES = new Codes<NonNullable<Operation['life']>['change']>(OPERATIONS, 'life', 'change');
const WHENS = new Codes<NonNullable<Operation['life']>['when']>(OPERATIONS, 'life', 'when');
const STATUSES = new Codes<OperationResult['status']>(MESSAGES.writeReply.fields.results.layout, 'status');
const OPERATION_BYTES = 23;
const RESULT_BYTES = 11;
const LISTED_BYTES = 8;

function bool(reader: ByteReader): boolean {
  const value = reader.u8();
  if (value > 1) throw new FieldFault('no bool');
  return value === 1;
}

function countOf(reader: ByteReader, elementBytes: number): number {
  const count = reader.u32();
  if (count * elementBytes > reader.remaining) throw new FieldFault('too many elements');
  return count;
}

function listed(reader: ByteReader): MessageOf<'messages'>['messages'] {
  const messages: MessageOf<'messages'>['messages'] = [];
  for (let left = countOf(reader, LISTED_BYTES); left > 0; left--)
    messages.push({ number: reader.u32(), body: reader.bytes() });
  return messages;
}

export const HOT_READS: HotReads = {
  write(reader) {
    const requestId = reader.u32();
    const tablet = reader.u32();
    const sessionId = reader.u53();
    const sequence = reader.u53();
    const acknowledgedThrough = reader.u53();
    const after = reader.u53();
    const operations: Operation[] = [];
    for (let left = countOf(reader, OPERATION_BYTES); left > 0; left--) {
      const operation: Operation = {
        action: ACTIONS.read(reader),
        key: reader.bytes(),
        value: reader.bytes(),
        condition: CONDITIONS.read(reader),
        conditionValue: reader.bytes(),
        conditionVersion: reader.u53(),
      };
      if (bool(reader)) {
        operation.life = { change: CHANGES.read(reader), ttlMs: reader.u53(), when: WHENS.read(reader) };
      }
      operations.push(operation);
    }
    return { type: 'write', requestId, tablet, sessionId, sequence, acknowledgedThrough, after, operations };
  },
  writeReply(reader) {
    const requestId = reader.u32();
    const applied = bool(reader);
    const index = reader.u53();
    const results: OperationResult[] = [];
    for (let left = countOf(reader, RESULT_BYTES); left > 0; left--) {
      const result: OperationResult = {
        status: STATUSES.read(reader),
        existed: bool(reader),
        version: reader.u53(),
      };
      if (bool(reader)) result.value = reader.bytes();
      results.push(result);
    }
    return { type: 'writeReply', requestId, applied, index, results };
  },
  appendReply: (reader) => ({
    type: 'appendReply',
    group: reader.u32(),
    term: reader.u53(),
    accepted: bool(reader),
    matchIndex: reader.u53(),
    rejectedIndex: reader.u53(),
    hintIndex: reader.u53(),
    hintTerm: reader.u53(),
  }),
  heartbeat: (reader) => ({
    type: 'heartbeat',
    group: reader.u32(),
    term: reader.u53(),
    commitIndex: reader.u53(),
    round: reader.u53(),
  }),
  heartbeatReply: (reader) => ({
    type: 'heartbeatReply',
    group: reader.u32(),
    term: reader.u53(),
    round: reader.u53(),
    promisedMs: reader.u32(),
  }),
  messages: (reader) => ({ type: 'messages', messages: listed(reader) }),
  appends: (reader) => ({ type: 'appends', messages: listed(reader) }),
  fragment: (reader) => ({
    type: 'fragment',
    of: reader.u32(),
    remaining: reader.u32(),
    bytes: reader.bytes(),
  }),
};

export const HOT_WRITES: HotWrites = {
  write(writer, { requestId, tablet, sessionId, sequence, acknowledgedThrough, after, operations }) {
    writer.u32(requestId);
    writer.u32(tablet);
    writer.u53(sessionId);
    writer.u53(sequence);
    writer.u53(acknowledgedThrough);
    writer.u53(after);
    writer.u32(operations.length);
    for (const { action, key, value, condition, conditionValue, conditionVersion, life } of operations) {
      ACTIONS.write(writer, action);
      writer.bytes(key);
      writer.bytes(value);
      CONDITIONS.write(writer, condition);
      writer.bytes(conditionValue);
      writer.u53(conditionVersion);
      writer.u8(life === undefined ? 0 : 1);
      if (life === undefined) continue;
      CHANGES.write(writer, life.change);
      writer.u53(life.ttlMs);
      WHENS.write(writer, life.when);
    }
  },
  writeReply(writer, { requestId, applied, index, results }) {
    writer.u32(requestId);
    writer.u8(applied ? 1 : 0);
    writer.u53(index);
    writer.u32(results.length);
    for (const { status, existed, version, value } of results) {
      STATUSES.write(writer, status);
      writer.u8(existed ? 1 : 0);
      writer.u53(version);
      writer.u8(value === undefined ? 0 : 1);
      if (value !== undefined) writer.bytes(value);
    }
  },
  heartbeat(writer, { group, term, commitIndex, round }) {
    writer.u32(group);
    writer.u53(term);
    writer.u53(commitIndex);
    writer.u53(round);
  },
  heartbeatReply(writer, { group, term, round, promisedMs }) {
    writer.u32(group);
    writer.u53(term);
    writer.u53(round);
    writer.u32(promisedMs);
  },
  messages: (writer, { messages }) => list(writer, messages),
  appends: (writer, { messages }) => list(writer, messages),
};

function list(writer: ByteWriter, messages: OutboundOf<'messages'>['messages']): void {
  writer.u32(messages.length);
  for (const { number, body } of messages) {
    writer.u32(number);
    writer.bytes(body);
  }
}
