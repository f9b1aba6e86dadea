/**
 * An append-only log of records in numbered files (`<name>-00000001.log` …). The WAL and the Raft log each are one.
 *
 * Group commit: all payloads that arrive while one group is being written form the next group. A group is one record,
 * one write and at most one sync.
 *
 * - The last record of a file says that its successor exists. The file is synced before its successor gets a record.
 * - With `recycles`, an obsolete file is renamed to a new one, so that durable writes change no metadata. The removal
 *   of its old name is durable before anything is written to it. Its old records have another file number.
 *   `removeBeforeLater` gives it its new name before the new file is needed. Old bytes behind its end are not cut off.
 * - With `syncStepBytes`, payloads that need not be durable are synced in the background from time to time.
 * - With `preallocateBytes`, a durable write that extends the file also writes that many zeros behind its end, so that
 *   the next durable writes change no metadata.
 * - A payload that its owner calls single, and that comes alone, is written and synced in this thread while the disk is
 *   quick: that saves two changes of the thread, a fifth of the time that one writer waits.
 * - Recovery truncates what it discards and syncs that before anything is appended.
 * - After a failed sync no append is accepted (`LOG_FAILED`). On a full disk (`LOG_NO_SPACE`) the file is truncated to
 *   the last whole group, and the next append tries again. If file descriptors run out, the current file grows beyond
 *   its size instead of a new file.
 */
import type { Env, File } from '../env/env.js';
import { errorMessage, isDiskFull, isFailedSync, isOutOfDescriptors, RaftreeError } from '../env/errors.js';
import { LogFiles } from './log-files.js';
import { readWhole } from './read-whole.js';
import {
  corruption,
  encodeEnd,
  encodeRecord,
  isBefore,
  type Payload,
  type Position,
  sizeOf,
} from './record.js';
import { type RecordFile, type Recovery, recoverRecords } from './recovery.js';
import { type RecoveredLog, settleRecovered, syncRecovered } from './settle.js';

export interface RecordLogOptions {
  readonly env: Env;
  readonly directory: string;
  /** File names begin with it; the number follows. */
  readonly name: string;
  /** When a file has reached this size, a new one is started. */
  readonly maxFileBytes: number;
  /** A group that has reached this size is closed. */
  readonly maxGroupBytes: number;
  /**
   * Files below this number are deleted unread: the owner no longer needs them. If there are any files, this one must
   * exist.
   */
  readonly oldestNeeded?: number;
  /**
   * Every file from `oldestNeeded` up to this number must exist; all but the last must be complete. The owner has seen
   * this file in use.
   */
  readonly newestKnown?: number;
  /** Where the owner knows that the log ended, synced. Records that are missing before this place are damage. */
  readonly syncedThrough?: Position;
  /** Whether obsolete files are kept and overwritten as new ones. Default: false. */
  readonly recycles?: boolean;
  /**
   * Larger files are not recycled, so that one large payload does not fix their size. Default: twice `maxFileBytes`.
   */
  readonly maxSpareBytes?: number;
  /** A durable write beyond the end of the file extends it by this many zeros. Default: 0. */
  readonly preallocateBytes?: number;
  /** Payloads that need not be durable are synced in the background after this many bytes. Default: never. */
  readonly syncStepBytes?: number;
  /** The first payload of every new file: what a reader needs if all earlier files are deleted. */
  readonly preamble?: () => Payload;
  /** Told how long each durable write took. */
  readonly madeDurable?: ((durationMs: number, sizeBytes: number) => void) | undefined;
  /** Receives the payloads that recovery finds, in order. */
  readonly recovered: (payload: Buffer, position: Position) => void;
}

const NO_ZEROS: Buffer = Buffer.alloc(0);
/**
 * Up to this size a group that need not be durable is written synchronously, which is faster than an asynchronous
 * write.
 */
const MAX_SYNCHRONOUS_BYTES = 256 * 1024;
/** A single payload up to this size may be written and synced in this thread. */
const MAX_BLOCKING_BYTES = 64 * 1024;
/** After a durable write that took longer than this, the thread waits for none of the next ones. */
const QUICK_WRITE_MS = 2;
const WRITES_AFTER_SLOW_ONE = 16;

interface Append {
  readonly payload: Payload;
  readonly sizeBytes: number;
  readonly durable: boolean;
  readonly single: boolean;
  readonly resolve: (position: Position) => void;
  readonly reject: (error: unknown) => void;
}

export class RecordLog {
  readonly recovery: Recovery;
  readonly #options: RecordLogOptions;
  readonly #files: LogFiles;
  #oldest: number;
  /** Sizes of the files before the current one. */
  readonly #endedBytes = new Map<number, number>();
  #current: number;
  #offset: number;
  /** Size of the current file. From `#offset` up to it there are zeros or old bytes. */
  #allocated: number;
  /** Where a recycled file's old bytes end; 0 if the file is new. */
  #oldBytesEnd = 0;
  /** False after a full disk: then only needed bytes are written. */
  #preallocates = true;
  #durableThrough: Position;
  #isRotating = false;
  /** Bytes written to the current file since its last sync began. */
  #unsyncedBytes = 0;
  #syncing: Promise<void> | undefined;
  /** Files that recovery found and that `settleRecovered` has not yet made ready for appends. */
  #unsettled: readonly number[] = [];
  #queue: (Append | 'rotate')[] = [];
  #queuedBytes = 0;
  #writing: Promise<void> | undefined;
  #scheduled = false;
  #mustRotate = false;
  #failure: RaftreeError | undefined;
  #closed = false;
  #syncedEnd: Position | undefined;
  #syncs = 0;
  /** Durable writes for which this thread does not wait, as one before them was slow. */
  #unblockedWrites = 0;
  #zeros = NO_ZEROS;
  /** Used again for each record: one is written at a time. New memory for each would keep the collector busy. */
  #scratchBytes = NO_ZEROS;
  readonly #scratch = (sizeBytes: number): Buffer => {
    if (this.#scratchBytes.length < sizeBytes) this.#scratchBytes = Buffer.allocUnsafeSlow(2 * sizeBytes);
    return this.#scratchBytes.subarray(0, sizeBytes);
  };

  /** Runs recovery. Throws `CORRUPTION`, or the system's error. The directory must exist. */
  static open(options: RecordLogOptions): RecordLog {
    return new RecordLog(options);
  }

  private constructor(options: RecordLogOptions) {
    this.#options = options;
    this.#files = new LogFiles(options);
    const numbers = this.#files.clearObsolete(options.oldestNeeded);
    const preallocates = (options.preallocateBytes ?? 0) > 0;
    const behind = options.recycles ? 'old bytes' : preallocates ? 'zeros' : undefined;
    const files = numbers.map(
      (number): RecordFile => ({
        number,
        path: this.#files.path(number),
        ...(behind ? { behind } : {}),
        read: () => {
          const content = readWhole(options.env.fs, this.#files.path(number));
          this.#endedBytes.set(number, content.length);
          return content;
        },
      }),
    );
    const [oldest, newest] = [options.oldestNeeded ?? 1, options.newestKnown ?? 0];
    this.recovery = recoverRecords(files, options.recovered, {
      oldest,
      newest: newest < oldest ? 0 : newest,
      ...(options.syncedThrough && { syncedThrough: options.syncedThrough }),
      path: (number) => this.#files.path(number),
    });
    const { end } = this.recovery;
    this.#oldest = numbers[0] ?? Math.max(1, options.oldestNeeded ?? 1);
    this.#current = numbers.length > 0 ? end.file : this.#oldest - 1;
    this.#offset = end.offset;
    this.#allocated = end.offset;
    // Not the start of an empty last file: that would not say where the file before it ends.
    this.#durableThrough =
      numbers.length > 0 ? this.recovery.lastRecordEnd : { file: this.#current, offset: 0 };
    this.#unsettled = numbers;
    try {
      this.#settleAll();
    } catch (error) {
      // The disk is full, but the log can be read. The next append settles it first.
      if (!isDiskFull(error)) throw error;
      syncRecovered(this.#recovered);
    }
    const { lastRecordEnd } = this.recovery;
    for (const number of numbers) {
      if (number >= end.file) this.#endedBytes.delete(number);
      else if (number === lastRecordEnd.file) this.#endedBytes.set(number, lastRecordEnd.offset);
    }
  }

  /** The file of the next group, unless it is full. */
  get currentFile(): number {
    return this.#current;
  }

  /** Up to here everything is durable. Undefined until `close` has synced it, and if nothing could be written. */
  get syncedEnd(): Position | undefined {
    return this.#syncedEnd;
  }

  get oldestFile(): number {
    return this.#oldest;
  }

  /** Groups of payloads that were made durable, each by one sync, since the log was opened. */
  get syncs(): number {
    return this.#syncs;
  }

  /** Bytes given to `append` and not yet written. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get failure(): RaftreeError | undefined {
    return this.#failure;
  }

  /**
   * Appends a payload. Resolves to its position when it is written (it survives a kill of the process) and, if
   * `durable`, synced together with everything before it. Appends resolve in order. The bytes must not change until
   * then. `single`: little else is going on, so this thread may wait for the disk.
   *
   * Rejects with `LOG_NO_SPACE` (neither this nor any later queued payload was written; try again later), `LOG_FAILED`
   * (may or may not survive; reopen the log) or `LOG_CLOSED`.
   */
  append(payload: Payload, durable: boolean, single = false): Promise<Position> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#closed) return Promise.reject(new RaftreeError('LOG_CLOSED', 'the log is closed'));
    return new Promise((resolve, reject) => {
      const sizeBytes = sizeOf(payload);
      this.#queuedBytes += sizeBytes;
      this.#queue.push({ payload, sizeBytes, durable, single, resolve, reject });
      this.#schedule();
    });
  }

  /** Creates the first file durably if there is none. Throws the system's error. Do not call it during appends. */
  async begin(): Promise<void> {
    if (this.#files.get(this.#current) || this.#unsettled.length > 0) return;
    this.#allocated = await this.#files.create(this.#current + 1);
    this.#oldBytesEnd = this.#allocated;
    this.#current++;
    this.#offset = 0;
  }

  /** Later appends go to a new file. */
  rotate(): void {
    if (this.#queue.at(-1) !== 'rotate') this.#queue.push('rotate');
  }

  /**
   * Deletes the files below `number`, but never the current one. With a preamble, it also keeps the file before the
   * current one until the current one's preamble is durable. Syncs the directory after each file: after a power cut the
   * files that reappear have no gap. Throws the system's errors; then call it again.
   */
  removeBefore(number: number): void {
    const { env, directory } = this.#options;
    for (const end = this.#endOfRemovable(number); this.#oldest < end; this.#oldest++) {
      const isSpare = this.#files.giveUp(this.#oldest, (path) => env.fs.unlink(path));
      this.#endedBytes.delete(this.#oldest);
      env.fs.syncDirectory(directory);
      if (isSpare) this.#files.addSpare(this.#oldest);
    }
  }

  /** Like `removeBefore`, but asynchronous. Only one call at a time. */
  async removeBeforeLater(number: number): Promise<void> {
    const { env, directory } = this.#options;
    for (; this.#oldest < this.#endOfRemovable(number); this.#oldest++) {
      let unlinked: Promise<void> | undefined;
      const isSpare = this.#files.giveUp(this.#oldest, (path) => {
        unlinked = env.fs.unlinkLater(path);
      });
      await unlinked;
      this.#endedBytes.delete(this.#oldest);
      await env.fs.syncDirectoryLater(directory);
      if (!isSpare) continue;
      this.#files.addSpare(this.#oldest);
      if (!this.#isRotating && !this.#closed) this.#files.prepare(this.#current + 1);
    }
  }

  #endOfRemovable(number: number): number {
    // The file that is still to be settled may be the one before the last.
    if (this.#unsettled.length > 0) return this.#oldest;
    const lastKept = this.#options.preamble ? this.#durableThrough.file : this.#current;
    return Math.min(number, lastKept);
  }

  /** Reads bytes of a payload that was appended. Throws `CORRUPTION` if the file is too short. */
  read(position: Position, sizeBytes: number): Buffer {
    const target = Buffer.allocUnsafe(sizeBytes);
    const file = this.#files.use(position.file);
    if (file.readSync(target, position.offset) < sizeBytes) {
      throw corruption(file.path, position.offset, `${sizeBytes} bytes were expected`);
    }
    return target;
  }

  /** Bytes of all files. Files found at opening count with the zeros or old bytes behind their end. */
  sizeBytes(): number {
    let bytes = this.#offset;
    for (const size of this.#endedBytes.values()) bytes += size;
    return bytes;
  }

  /** Writes what is queued, syncs and closes. Rejects with the system's error if a payload may not be durable. */
  async close(): Promise<void> {
    this.#closed = true;
    while (this.#writing || this.#queue.some((item) => item !== 'rotate')) {
      await (this.#writing ?? new Promise<void>((turn) => this.#options.env.timers.endOfTurn(turn)));
    }
    const prepared = await this.#files.takePrepared().catch(() => undefined);
    await this.#syncing;
    try {
      const file = this.#files.get(this.#current);
      if (file && !this.#failure) {
        await this.#syncEnd(file);
        if (prepared) this.#files.discard(prepared.number);
      }
    } finally {
      this.#files.closeAll();
    }
  }

  /** A full disk may refuse the truncation or the sync. Nothing is lost if every payload was durable before. */
  async #syncEnd(file: File): Promise<void> {
    const end = { file: this.#current, offset: this.#offset };
    try {
      this.#cutAllocated(file);
    } catch {
      // The zeros or old bytes stay, as after a crash.
    }
    try {
      await file.sync();
      if (this.#unsettled.length === 0) this.#syncedEnd = end;
    } catch (error) {
      if (this.#offset > 0 && isBefore(this.#durableThrough, end)) throw error;
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing) return;
    this.#scheduled = true;
    // At the end of the turn: all callers that run in this turn join the same group.
    this.#options.env.timers.endOfTurn(() => {
      this.#scheduled = false;
      if (this.#writing) return;
      this.#writing = this.#drain().finally(() => {
        this.#writing = undefined;
        if (this.#queue.some((item) => item !== 'rotate')) this.#schedule();
      });
    });
  }

  async #drain(): Promise<void> {
    for (;;) {
      const group = this.#takeGroup();
      if (group.length === 0) return;
      let positions: Position[];
      try {
        positions = await this.#writeGroup(group);
      } catch (error) {
        for (const item of group) item.reject(error);
        // Payloads queued behind the failed group must not be written before it.
        this.#rejectQueue(error);
        continue;
      }
      for (let i = 0; i < group.length; i++) (group[i] as Append).resolve(positions[i] as Position);
      // The callers resolved here run first: what they append now joins the next group.
      await new Promise<void>((turn) => this.#options.env.timers.endOfTurn(turn));
    }
  }

  #takeGroup(): Append[] {
    const group: Append[] = [];
    let bytes = 0;
    let taken = 0;
    for (const item of this.#queue) {
      if (item === 'rotate') {
        if (group.length > 0) break;
        this.#mustRotate = true;
        taken++;
        continue;
      }
      if (group.length > 0 && bytes + item.sizeBytes > this.#options.maxGroupBytes) break;
      group.push(item);
      bytes += item.sizeBytes;
      taken++;
    }
    this.#queue = this.#queue.slice(taken);
    this.#queuedBytes -= bytes;
    return group;
  }

  async #writeGroup(group: readonly Append[]): Promise<Position[]> {
    // A background sync may have failed since the group was queued.
    if (this.#failure) throw this.#failure;
    try {
      this.#settleAll();
    } catch (error) {
      throw isDiskFull(error) ? noSpace(error) : this.#fail(error);
    }
    const durable = group.some((item) => item.durable);
    const payloads = group.map((item) => item.payload);
    let created = false;
    if (this.#mustRotate || !this.#files.get(this.#current) || this.#offset >= this.#options.maxFileBytes) {
      const isDue = this.#offset > 0 || !this.#files.get(this.#current);
      if (isDue) created = await this.#startNextFile();
      this.#mustRotate = isDue && !created;
    }
    const preamble = this.#offset === 0 || created ? this.#options.preamble?.() : undefined;
    if (preamble) payloads.unshift(preamble);
    const file = this.#files.use(this.#current);
    const start = this.#offset;
    const isOverOldBytes = start < this.#oldBytesEnd;
    const record = encodeRecord(this.#current, this.#durableThrough, payloads, isOverOldBytes, this.#scratch);
    const recordEnd = start + record.sizeBytes;
    const zeros = durable && recordEnd > this.#allocated ? this.#zerosBehind(recordEnd) : NO_ZEROS;
    try {
      if (durable) {
        const { madeDurable, env } = this.#options;
        const chunks = zeros.length > 0 ? [...record.chunks, zeros] : record.chunks;
        const isBlocking = zeros.length === 0 && (await this.#mayBlock(group, record.sizeBytes));
        const startMs = env.clock.nowMs();
        try {
          if (isBlocking) file.writeDurableNow(chunks, start);
          else await this.#writeDurable(file, chunks, start);
        } finally {
          // A full disk may be slow, too.
          if (env.clock.nowMs() - startMs > QUICK_WRITE_MS) this.#unblockedWrites = WRITES_AFTER_SLOW_ONE;
          else if (this.#unblockedWrites > 0) this.#unblockedWrites--;
        }
        madeDurable?.(env.clock.nowMs() - startMs, record.sizeBytes);
      } else if (record.sizeBytes <= MAX_SYNCHRONOUS_BYTES) file.writeSync(record.chunks, start);
      else await file.write(record.chunks, start);
    } catch (error) {
      throw await this.#afterFailedWrite(file, start, error);
    }
    if (durable) {
      // Bytes before this group may be in a background sync. If it fails, this group is not known to be durable either.
      await this.#syncing;
      if (this.#failure) throw this.#failure;
    }
    this.#offset = recordEnd;
    this.#allocated = Math.max(this.#allocated, recordEnd + zeros.length);
    if (durable) this.#syncs++;
    if (durable) this.#durableThrough = { file: this.#current, offset: this.#offset };
    else this.#syncNowAndThen(file, record.sizeBytes);
    const offsets = preamble ? record.payloadOffsets.slice(1) : record.payloadOffsets;
    return offsets.map((offset) => ({ file: this.#current, offset: start + offset }));
  }

  /** Whether this thread writes the group. Then all that was to be sent in this turn has been sent. */
  async #mayBlock(group: readonly Append[], sizeBytes: number): Promise<boolean> {
    const isSingle = group.length === 1 && group[0]?.single === true && sizeBytes <= MAX_BLOCKING_BYTES;
    if (!isSingle || this.#unblockedWrites > 0 || this.#unsyncedBytes > 0 || this.#syncing) return false;
    await new Promise<void>((turn) => this.#options.env.timers.endOfTurn(turn));
    return this.#queue.length === 0 && !this.#failure;
  }

  /** Makes the chunks durable together with everything before them. `File.writeDurable` covers only its own bytes. */
  async #writeDurable(file: File, chunks: readonly Uint8Array[], start: number): Promise<void> {
    if (this.#unsyncedBytes === 0) return file.writeDurable(chunks, start);
    await file.write(chunks, start);
    await file.sync();
    this.#unsyncedBytes = 0;
  }

  /** Keeps the last sync of a file short: later appends wait for it. */
  #syncNowAndThen(file: File, writtenBytes: number): void {
    this.#unsyncedBytes += writtenBytes;
    if (this.#syncing || this.#unsyncedBytes < (this.#options.syncStepBytes ?? Number.POSITIVE_INFINITY))
      return;
    this.#unsyncedBytes = 0;
    this.#syncing = file
      .sync()
      .catch((error: unknown) => {
        this.#fail(error);
      })
      .finally(() => {
        this.#syncing = undefined;
      });
  }

  #zerosBehind(recordEnd: number): Buffer {
    const { preallocateBytes = 0, maxFileBytes } = this.#options;
    if (!this.#preallocates || preallocateBytes === 0) return NO_ZEROS;
    const bytes = Math.min(preallocateBytes, maxFileBytes - recordEnd);
    if (this.#zeros.length < bytes) this.#zeros = Buffer.alloc(preallocateBytes);
    return bytes > 0 ? this.#zeros.subarray(0, bytes) : NO_ZEROS;
  }

  /** Truncates what was allocated behind the last record. */
  #cutAllocated(file: File): void {
    if (this.#allocated > this.#offset) file.truncate(this.#offset);
    this.#allocated = this.#offset;
  }

  /**
   * Creates the next file and makes its name durable. Then ends the current file with an end record and syncs it. If
   * the next file is lost, recovery sees in the end record that it is missing. Returns false if no file descriptor is
   * left.
   */
  async #startNextFile(): Promise<boolean> {
    this.#isRotating = true;
    try {
      return await this.#rotate();
    } finally {
      this.#isRotating = false;
    }
  }

  async #rotate(): Promise<boolean> {
    const previous = this.#files.get(this.#current);
    const next = this.#current + 1;
    let allocated: number;
    try {
      const prepared = await this.#files.takePrepared();
      allocated = prepared?.allocatedBytes ?? (await this.#files.create(next));
    } catch (error) {
      if (isOutOfDescriptors(error) && previous) return false;
      if (isDiskFull(error) || isOutOfDescriptors(error)) throw noSpace(error);
      throw this.#fail(error);
    }
    if (previous) {
      try {
        await this.#endFile(previous);
      } catch (error) {
        this.#files.forget(next);
        throw error;
      }
    }
    this.#current = next;
    this.#offset = 0;
    this.#allocated = allocated;
    this.#oldBytesEnd = allocated;
    this.#preallocates = true;
    return true;
  }

  async #endFile(file: File): Promise<void> {
    const start = this.#offset;
    const record = encodeEnd(this.#current, this.#durableThrough);
    await this.#syncing;
    if (this.#failure) throw this.#failure;
    try {
      // A recycled file keeps its old bytes behind the end record: truncating it would need another sync.
      if (!this.#options.recycles) this.#cutAllocated(file);
      file.writeSync([record], start);
    } catch (error) {
      throw await this.#afterFailedWrite(file, start, error);
    }
    try {
      await file.sync();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#durableThrough = { file: this.#current, offset: start + record.length };
    this.#endedBytes.set(this.#current, start + record.length);
    this.#unsyncedBytes = 0;
  }

  /**
   * After a write that failed for lack of space, the part of the group that was written is truncated durably: it must
   * not reappear after its callers were told that it was not written. After a failed sync, whatever its code, the log
   * fails: earlier groups may be lost too.
   */
  async #afterFailedWrite(file: File, validEnd: number, error: unknown): Promise<RaftreeError> {
    if (!isDiskFull(error) || isFailedSync(error)) return this.#fail(error);
    this.#preallocates = false;
    try {
      file.truncate(validEnd);
      this.#allocated = validEnd;
      await file.sync();
    } catch (cutError) {
      return this.#fail(cutError);
    }
    return noSpace(error);
  }

  #fail(error: unknown): RaftreeError {
    this.#failure ??= new RaftreeError(
      'LOG_FAILED',
      `writing ${this.#files.path(this.#current)} failed (${errorMessage(error)}); nothing more is written until the log is reopened`,
      { cause: error },
    );
    return this.#failure;
  }

  #rejectQueue(error: unknown): void {
    for (const item of this.#queue) {
      if (item === 'rotate') this.#mustRotate = true;
      else item.reject(error);
    }
    this.#queue = [];
    this.#queuedBytes = 0;
  }

  /** Before the first append after recovery. Throws the system's error, or `CORRUPTION`; may be called again. */
  #settleAll(): void {
    if (this.#unsettled.length === 0) return;
    settleRecovered(this.#recovered);
    this.#unsettled = [];
  }

  get #recovered(): RecoveredLog {
    const { env, directory } = this.#options;
    return { env, directory, files: this.#files, recovery: this.recovery, numbers: this.#unsettled };
  }
}

function noSpace(cause: unknown): RaftreeError {
  return new RaftreeError(
    'LOG_NO_SPACE',
    isOutOfDescriptors(cause)
      ? 'too many files are open, so no file can be created; writing resumes by itself when some are closed'
      : 'the disk is full; free some space, then writing resumes by itself',
    { cause },
  );
}
