/**
 * The operations of one write(): they become visible, and survive, together or not at all. As a payload of the WAL:
 *
 *     batch      first sequence u64 | operations u32 | operation ...
 *     operation  key bytes u32 | value bytes u32, 0xffffffff for a deletion | key | value
 *
 * Integers are little-endian. The n-th operation has the first sequence plus n.
 */
import { corruption, readUint53, writeUint53 } from '../../record/record.js';
import { copyBytes, Slabs } from '../base/bytes.js';
import { invalid } from '../base/errors.js';
import type { Memtable } from '../memtable/memtable.js';

export interface PutOperation {
  readonly type: 'put';
  readonly key: Uint8Array;
  readonly value: Uint8Array;
}

export interface DeleteOperation {
  readonly type: 'delete';
  readonly key: Uint8Array;
}

export type Operation = PutOperation | DeleteOperation;

export const MAX_KEY_BYTES: number = 64 * 1024;
export const MAX_VALUE_BYTES: number = 256 * 1024 * 1024;
export const MAX_BATCH_BYTES: number = 512 * 1024 * 1024;
const BATCH_HEADER_BYTES = 12;
const OPERATION_HEADER_BYTES = 8;
const DELETION = 0xffffffff;
/** Callers never get this memory: they could transfer it to a thread while a batch waits for its write. */
const payloads = new Slabs();

/**
 * The memory of one large batch is used again. New memory of that size costs several times the copy to it, because the
 * system gives pages of zeros.
 */
const [REUSED_LEAST_BYTES, REUSED_MOST_BYTES, REUSED_STEP_BYTES] = [128 * 1024, 1024 * 1024, 64 * 1024];
let spare: Buffer | undefined;

function allocate(sizeBytes: number): Buffer {
  if (!isReusable(sizeBytes)) return payloads.allocate(sizeBytes);
  const known = spare && spare.length >= sizeBytes ? spare : undefined;
  if (known) spare = undefined;
  const stepped = Math.ceil(sizeBytes / REUSED_STEP_BYTES) * REUSED_STEP_BYTES;
  return (known ?? Buffer.allocUnsafeSlow(stepped)).subarray(0, sizeBytes);
}

/** Whether a payload of this size should be given to `reuse`. */
export function isReusable(sizeBytes: number): boolean {
  return sizeBytes >= REUSED_LEAST_BYTES && sizeBytes <= REUSED_MOST_BYTES;
}

/** Takes a payload of `encodeBatch` that nobody reads any more. */
export function reuse(payload: Buffer): void {
  const memory = Buffer.from(payload.buffer, payload.byteOffset);
  if (spare === undefined || memory.length > spare.length) spare = memory;
}

/** The size of a batch as a payload. Throws `LSM_INVALID` for an operation that is not accepted. */
export function batchBytes(operations: readonly Operation[]): number {
  let bytes = BATCH_HEADER_BYTES;
  for (const operation of operations) {
    const { key } = operation;
    if (!(key instanceof Uint8Array)) throw invalid('a key must be a Uint8Array');
    if (key.length > MAX_KEY_BYTES) {
      throw invalid(`a key of ${key.length} bytes is too long; up to ${MAX_KEY_BYTES} are accepted`);
    }
    bytes += OPERATION_HEADER_BYTES + key.length;
    if (operation.type === 'put') {
      const { value } = operation;
      if (!(value instanceof Uint8Array)) throw invalid('a value must be a Uint8Array');
      if (value.length > MAX_VALUE_BYTES) {
        throw invalid(`a value of ${value.length} bytes is too long; up to ${MAX_VALUE_BYTES} are accepted`);
      }
      bytes += value.length;
    } else if (operation.type !== 'delete') {
      throw invalid('an operation must be a put or a delete');
    }
  }
  if (operations.length === 0) throw invalid('a batch must have at least one operation');
  if (bytes > MAX_BATCH_BYTES) {
    throw invalid(`a batch of ${bytes} bytes is too large; up to ${MAX_BATCH_BYTES} are accepted`);
  }
  return bytes;
}

/** `sizeBytes` is the result of `batchBytes`. The first sequence is set later, when it is known. */
export function encodeBatch(operations: readonly Operation[], sizeBytes: number): Buffer {
  const bytes = allocate(sizeBytes);
  bytes.writeUInt32LE(operations.length, 8);
  let at = BATCH_HEADER_BYTES;
  for (const operation of operations) {
    const { key } = operation;
    bytes.writeUInt32LE(key.length, at);
    bytes.writeUInt32LE(operation.type === 'put' ? operation.value.length : DELETION, at + 4);
    at += OPERATION_HEADER_BYTES;
    bytes.set(key, at);
    at += key.length;
    if (operation.type === 'put') {
      bytes.set(operation.value, at);
      at += operation.value.length;
    }
  }
  return bytes;
}

const FIRST_BATCH_BYTES = 32 * 1024;

/** A batch of deletions, collected in the form in which they are written. */
export class DeletionBatch {
  #bytes = Buffer.allocUnsafeSlow(FIRST_BATCH_BYTES);
  #end = BATCH_HEADER_BYTES;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  get sizeBytes(): number {
    return this.#end;
  }

  /** Copies a key, `start` to `end` of some bytes. */
  add(bytes: Uint8Array, start: number, end: number): void {
    const after = this.#end + OPERATION_HEADER_BYTES + end - start;
    if (after > this.#bytes.length) {
      const larger = Buffer.allocUnsafeSlow(2 * after);
      this.#bytes.copy(larger, 0, 0, this.#end);
      this.#bytes = larger;
    }
    this.#bytes.writeUInt32LE(end - start, this.#end);
    this.#bytes.writeUInt32LE(DELETION, this.#end + 4);
    this.#end = copyBytes(this.#bytes, this.#end + OPERATION_HEADER_BYTES, bytes, start, end);
    this.#count++;
  }

  /** The payload; as with `encodeBatch`. */
  finish(): Buffer {
    const payload = this.#bytes.subarray(0, this.#end);
    payload.writeUInt32LE(this.#count, 8);
    return payload;
  }
}

export function setFirstSequence(batch: Buffer, firstSequence: number): void {
  writeUint53(batch, firstSequence, 0);
}

/** Inserts an encoded batch, known to be well-formed, into a memtable. */
export function insertEncoded(bytes: Buffer, firstSequence: number, memtable: Memtable): void {
  const end = bytes.length;
  let sequence = firstSequence;
  for (let at = BATCH_HEADER_BYTES; at < end; sequence++) {
    const keyStart = at + OPERATION_HEADER_BYTES;
    const keyEnd = keyStart + bytes.readUInt32LE(at);
    const valueBytes = bytes.readUInt32LE(at + 4);
    if (valueBytes === DELETION) {
      memtable.insert(sequence, bytes, keyStart, keyEnd, bytes, keyEnd, keyEnd - 1);
      at = keyEnd;
    } else {
      at = keyEnd + valueBytes;
      memtable.insert(sequence, bytes, keyStart, keyEnd, bytes, keyEnd, at);
    }
  }
}

/** Inserts operations that are not encoded as a payload. */
export function insertOperations(
  operations: readonly Operation[],
  firstSequence: number,
  memtable: Memtable,
): void {
  let sequence = firstSequence;
  for (const operation of operations) {
    memtable.insertPair(sequence++, operation.key, operation.type === 'put' ? operation.value : undefined);
  }
}

export interface DecodedBatch {
  readonly firstSequence: number;
  readonly lastSequence: number;
  /** Views of the given bytes. */
  readonly operations: readonly Operation[];
}

/** Throws `CORRUPTION` if the payload, although intact, is not a batch. */
export function decodeBatch(bytes: Buffer, path: string, offset: number): DecodedBatch {
  const malformed = () => corruption(path, offset, 'the record there is intact but is not a batch');
  if (bytes.length < BATCH_HEADER_BYTES) throw malformed();
  const firstSequence = readUint53(bytes, 0);
  const count = bytes.readUInt32LE(8);
  const lastSequence = firstSequence + count - 1;
  if (!Number.isSafeInteger(lastSequence) || count === 0) throw malformed();
  const operations: Operation[] = [];
  let at = BATCH_HEADER_BYTES;
  for (let i = 0; i < count; i++) {
    if (at + OPERATION_HEADER_BYTES > bytes.length) throw malformed();
    const keyEnd = at + OPERATION_HEADER_BYTES + bytes.readUInt32LE(at);
    const valueBytes = bytes.readUInt32LE(at + 4);
    const end = valueBytes === DELETION ? keyEnd : keyEnd + valueBytes;
    if (end > bytes.length) throw malformed();
    const key = bytes.subarray(at + OPERATION_HEADER_BYTES, keyEnd);
    operations.push(
      valueBytes === DELETION
        ? { type: 'delete', key }
        : { type: 'put', key, value: bytes.subarray(keyEnd, end) },
    );
    at = end;
  }
  if (at !== bytes.length) throw malformed();
  return { firstSequence, lastSequence, operations };
}
