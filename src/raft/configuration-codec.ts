/**
 * Configurations and configuration changes as bytes: the body of a `configuration` entry, and part of a log's base.
 * Integers are little-endian.
 *
 *     change          transition u8 (1 auto, 2 joint, 3 jointExplicit) | changes u32 | member change ...
 *     member change   type u8 (1 addVoter, 2 addLearner, 3 remove) | node u32 | context bytes u32 (0xffffffff: none)
 *                     | context
 *     configuration   autoLeave u8 | 4 × ( count u32 | node u32 ... ): voters, outgoing, learners, learnersNext
 *                     | contexts u32 | ( node u32 | context bytes u32 | context ) ...
 *                     | index u64 (not in logs of version 0.1: 0)
 */
import { RaftreeError } from '../env/errors.js';
import type { Configuration, ConfigurationChange, NodeChange, Transition } from './configuration.js';

const TRANSITIONS: readonly Transition[] = ['auto', 'joint', 'jointExplicit'];
const TYPES: readonly NodeChange['type'][] = ['addVoter', 'addLearner', 'remove'];
const NO_CONTEXT = 0xffff_ffff;

export function encodeChange({ changes, transition }: ConfigurationChange): Buffer {
  const parts: Buffer[] = [Buffer.of(TRANSITIONS.indexOf(transition) + 1), uint32(changes.length)];
  for (const change of changes) {
    parts.push(Buffer.of(TYPES.indexOf(change.type) + 1), uint32(change.node));
    const context = change.type === 'remove' ? undefined : change.context;
    if (context === undefined) parts.push(uint32(NO_CONTEXT));
    else parts.push(text(context));
  }
  return Buffer.concat(parts);
}

/** Throws `CORRUPTION` for bytes that `encodeChange` did not write. */
export function decodeChange(bytes: Uint8Array): ConfigurationChange {
  const reader = new Reader(bytes);
  const transition = TRANSITIONS[reader.uint8() - 1];
  const count = reader.uint32();
  const changes: NodeChange[] = [];
  for (let i = 0; i < count; i++) {
    const type = TYPES[reader.uint8() - 1];
    const node = reader.uint32();
    const contextBytes = reader.uint32();
    const context = contextBytes === NO_CONTEXT ? undefined : reader.text(contextBytes);
    if (!type) throw unreadable();
    changes.push(context === undefined || type === 'remove' ? { type, node } : { type, node, context });
  }
  if (!transition) throw unreadable();
  reader.end();
  return { changes, transition };
}

export function encodeConfiguration(configuration: Configuration): Buffer {
  const { index, voters, outgoing, learners, learnersNext, autoLeave, contexts } = configuration;
  const parts: Buffer[] = [Buffer.of(autoLeave ? 1 : 0)];
  for (const ids of [voters, outgoing, learners, learnersNext])
    parts.push(uint32(ids.length), ...ids.map(uint32));
  const entries = Object.entries(contexts);
  parts.push(uint32(entries.length));
  for (const [id, context] of entries) parts.push(uint32(Number(id)), text(context));
  const place = Buffer.allocUnsafe(8);
  place.writeBigUInt64LE(BigInt(index), 0);
  return Buffer.concat([...parts, place]);
}

/** Throws `CORRUPTION` for bytes that `encodeConfiguration` did not write. */
export function decodeConfiguration(bytes: Uint8Array): Configuration {
  const reader = new Reader(bytes);
  const autoLeave = reader.uint8() === 1;
  const lists = Array.from({ length: 4 }, () => {
    const count = reader.uint32();
    const ids: number[] = [];
    for (let i = 0; i < count; i++) ids.push(reader.uint32());
    return ids;
  });
  const [voters = [], outgoing = [], learners = [], learnersNext = []] = lists;
  const contexts: Record<number, string> = {};
  const contextCount = reader.uint32();
  for (let i = 0; i < contextCount; i++) {
    const id = reader.uint32();
    contexts[id] = reader.text(reader.uint32());
  }
  const index = reader.isAtEnd ? 0 : reader.uint53();
  reader.end();
  return { index, voters, outgoing, learners, learnersNext, autoLeave, contexts };
}

function uint32(value: number): Buffer {
  const bytes = Buffer.allocUnsafe(4);
  bytes.writeUInt32LE(value, 0);
  return bytes;
}

function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'utf8');
  return Buffer.concat([uint32(bytes.length), bytes]);
}

class Reader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  uint8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  uint32(): number {
    return this.#bytes.readUInt32LE(this.#take(4));
  }

  uint53(): number {
    const value = Number(this.#bytes.readBigUInt64LE(this.#take(8)));
    if (!Number.isSafeInteger(value)) throw unreadable();
    return value;
  }

  get isAtEnd(): boolean {
    return this.#at === this.#bytes.length;
  }

  text(count: number): string {
    const start = this.#take(count);
    return this.#bytes.toString('utf8', start, start + count);
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw unreadable();
  }

  #take(count: number): number {
    const start = this.#at;
    if (start + count > this.#bytes.length) throw unreadable();
    this.#at += count;
    return start;
  }
}

function unreadable(): RaftreeError {
  return new RaftreeError(
    'CORRUPTION',
    'a configuration in the Raft log cannot be read: it was written by another version',
  );
}
