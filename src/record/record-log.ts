/**
 * A series of numbered files (`<name>-00000001.log` …) of records, appended to in groups: everything that arrived
 * while the last group was being written becomes the next one, with one write and at most one sync. WAL and Raft log
 * are each one of these.
 *
 *   - A file is ended by a record that says that its successor exists, and synced before its successor receives a
 *     record.
 *   - With `recycles`, a file that is not needed any more becomes the next new one, so that durable writes change no
 *     metadata. Its old name is durably gone before anything is written to it. What it held has another file number.
 *     Where files are removed while other events run, it gets its new name before that is needed. What it holds behind
 *     its end is not cut off.
 *   - With `syncStepBytes`, what need not be durable is synced now and then, while others are written.
 *   - With `preallocateBytes`, a durable write that extends the file writes so many zeros behind itself, for the same
 *     reason.
 *   - What a recovery discards is cut off, and the cut synced, before anything is appended.
 *   - After a failed sync nothing is appended any more (`LOG_FAILED`); after a full disk (`LOG_NO_SPACE`) the tail is
 *     cut back to the last whole group and the next append tries again. Where there is no descriptor for a new file, the
 *     present one grows beyond its size.
 */
import { type Env, type File, SYNC_CALL } from '../env/env.js';
import { errorMessage, isDiskFull, isOutOfDescriptors, RaftreeError } from '../env/errors.js';
import { LogFiles } from './log-files.js';
import { readWhole } from './read-whole.js';
import { corruption, encodeEnd, encodeRecord, type Payload, type Position, sizeOf } from './record.js';
import { type RecordFile, type Recovery, recoverRecords } from './recovery.js';

export interface RecordLogOptions {
  readonly env: Env;
  readonly directory: string;
  /** What the files are called before their number. */
  readonly name: string;
  /** A file that has reached this size is succeeded by a new one. */
  readonly maxFileBytes: number;
  /** A group is closed when it has reached this size. */
  readonly maxGroupBytes: number;
  /**
   * Files below this number are deleted unread: their owner no longer needs them. The one named must exist, if any
   * does.
   */
  readonly oldestNeeded?: number;
  /**
   * The files from there up to this one must exist, and all but this one be complete; their owner has seen it begun.
   */
  readonly newestKnown?: number;
  /** Whether a few files that are not needed any more are kept, to be written over as new ones; false. */
  readonly recycles?: boolean;
  /**
   * A file larger than this is not kept for that: one large payload would have its size kept for ever; twice
   * `maxFileBytes`.
   */
  readonly maxSpareBytes?: number;
  /** A durable write beyond the end of the file makes it longer by this; 0. */
  readonly preallocateBytes?: number;
  /** After so many bytes that need not be durable they are synced all the same, while others are written; never. */
  readonly syncStepBytes?: number;
  /** Gives the first payload of every new file: what a reader must know if all earlier files are deleted. */
  readonly preamble?: () => Payload;
  /** Receives the payloads that recovery finds, in order. */
  readonly recovered: (payload: Buffer, position: Position) => void;
}

const NO_ZEROS: Buffer = Buffer.alloc(0);
/** A group up to this size that need not be durable is written at once: it takes less time than to wait for it. */
const MAX_SYNCHRONOUS_BYTES = 256 * 1024;

interface Append {
  readonly payload: Payload;
  readonly sizeBytes: number;
  readonly durable: boolean;
  readonly resolve: (position: Position) => void;
  readonly reject: (error: unknown) => void;
}

export class RecordLog {
  readonly recovery: Recovery;
  readonly #options: RecordLogOptions;
  readonly #files: LogFiles;
  #oldest: number;
  /** The sizes of the files before the current one. */
  readonly #endedBytes = new Map<number, number>();
  #current: number;
  #offset: number;
  /** The end of what the current file has allocated: from `#offset` up to it are zeros or old bytes. */
  #allocated: number;
  /** The end of what the current file held under another number; 0 if it is a new one. */
  #oldBytesEnd = 0;
  /** False after a full disk: no more is asked for than is needed. */
  #preallocates = true;
  #durableThrough: Position;
  #isRotating = false;
  /** Written to the current file since the last sync of it began. */
  #unsyncedBytes = 0;
  #syncing: Promise<void> | undefined;
  /** The files that recovery found, until they are fit to be appended to. */
  #unsettled: readonly number[] = [];
  #queue: (Append | 'rotate')[] = [];
  #queuedBytes = 0;
  #writing: Promise<void> | undefined;
  #scheduled = false;
  #mustRotate = false;
  #failure: RaftreeError | undefined;
  #closed = false;
  #zeros = NO_ZEROS;

  /** Recovers what is there; throws `CORRUPTION`, or the system's error. The directory must exist. */
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
      path: (number) => this.#files.path(number),
    });
    const { end } = this.recovery;
    this.#oldest = numbers[0] ?? Math.max(1, options.oldestNeeded ?? 1);
    this.#current = numbers.length > 0 ? end.file : this.#oldest - 1;
    this.#offset = end.offset;
    this.#allocated = end.offset;
    // Not the beginning of an empty last file: that would not tell where the file before it ends.
    this.#durableThrough =
      numbers.length > 0 ? this.recovery.lastRecordEnd : { file: this.#current, offset: 0 };
    this.#unsettled = numbers;
    try {
      this.#settleAll();
    } catch (error) {
      // It can be read. What is to be done before anything is appended waits until something is.
      if (!isDiskFull(error)) throw error;
    }
    const { lastRecordEnd } = this.recovery;
    for (const number of numbers) {
      if (number >= end.file) this.#endedBytes.delete(number);
      else if (number === lastRecordEnd.file) this.#endedBytes.set(number, lastRecordEnd.offset);
    }
  }

  /** The file that the next group goes to, unless it is full. */
  get currentFile(): number {
    return this.#current;
  }

  get oldestFile(): number {
    return this.#oldest;
  }

  /** Bytes that were given to `append` and are not yet written. */
  get queuedBytes(): number {
    return this.#queuedBytes;
  }

  get failure(): RaftreeError | undefined {
    return this.#failure;
  }

  /**
   * Appends a payload; resolves to its position when it is written (a kill of the process loses nothing) and, if
   * `durable`, synced together with everything before it. Appends resolve in order. The bytes must not change until
   * then.
   *
   * Rejects with `LOG_NO_SPACE` (certainly not written, nor anything queued behind it; try again later),
   * `LOG_FAILED` (may or may not survive; reopen) or `LOG_CLOSED`.
   */
  append(payload: Payload, durable: boolean): Promise<Position> {
    if (this.#failure) return Promise.reject(this.#failure);
    if (this.#closed) return Promise.reject(new RaftreeError('LOG_CLOSED', 'the log is closed'));
    return new Promise((resolve, reject) => {
      const sizeBytes = sizeOf(payload);
      this.#queuedBytes += sizeBytes;
      this.#queue.push({ payload, sizeBytes, durable, resolve, reject });
      this.#schedule();
    });
  }

  /**
   * Makes the first file durably exist, if there is none. Throws the system's error. Not while appends are under way.
   */
  async begin(): Promise<void> {
    if (this.#files.get(this.#current) || this.#unsettled.length > 0) return;
    this.#allocated = await this.#files.create(this.#current + 1);
    this.#oldBytesEnd = this.#allocated;
    this.#current++;
    this.#offset = 0;
  }

  /** What is appended from now on goes to a new file. */
  rotate(): void {
    if (this.#queue.at(-1) !== 'rotate') this.#queue.push('rotate');
  }

  /**
   * Deletes the files below `number`, but never the current one, nor, where files have a preamble, the one before it
   * while the current one's is not durable. The directory is synced after each, so that after a power cut what came
   * back of them has no gap. Throws the system's errors; may then be called again.
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

  /** As `removeBefore`, while other events run. One call at a time. */
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
    // What is to be settled may be the end of an older file.
    if (this.#unsettled.length > 0) return this.#oldest;
    const lastKept = this.#options.preamble ? this.#durableThrough.file : this.#current;
    return Math.min(number, lastKept);
  }

  /** Bytes of a payload that was appended, or part of it. Throws `CORRUPTION` if the file is too short. */
  read(position: Position, sizeBytes: number): Buffer {
    const target = Buffer.allocUnsafe(sizeBytes);
    const file = this.#files.use(position.file);
    if (file.readSync(target, position.offset) < sizeBytes) {
      throw corruption(file.path, position.offset, `${sizeBytes} bytes were expected`);
    }
    return target;
  }

  /** Bytes of records, all files together; of files that were there at opening with what may stand behind their end. */
  sizeBytes(): number {
    let bytes = this.#offset;
    for (const size of this.#endedBytes.values()) bytes += size;
    return bytes;
  }

  /** Writes what was appended, syncs, closes. */
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
        this.#cutAllocated(file);
        await file.sync();
        if (prepared) this.#files.discard(prepared.number);
      }
    } finally {
      this.#files.closeAll();
    }
  }

  #schedule(): void {
    if (this.#scheduled || this.#writing) return;
    this.#scheduled = true;
    // At the end of the turn: whoever is woken together by one group joins the next one together.
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
        // What is queued behind must not overtake what just failed.
        this.#rejectQueue(error);
        continue;
      }
      for (let i = 0; i < group.length; i++) (group[i] as Append).resolve(positions[i] as Position);
      // The resolved run first: what they append now joins the next group.
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
    // A sync in the background may have failed since it was queued.
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
    const record = encodeRecord(this.#current, this.#durableThrough, payloads, isOverOldBytes);
    const recordEnd = start + record.sizeBytes;
    const zeros = durable && recordEnd > this.#allocated ? this.#zerosBehind(recordEnd) : NO_ZEROS;
    try {
      if (durable) {
        await this.#writeDurable(file, zeros.length > 0 ? [...record.chunks, zeros] : record.chunks, start);
      } else if (record.sizeBytes <= MAX_SYNCHRONOUS_BYTES) file.writeSync(record.chunks, start);
      else await file.write(record.chunks, start);
    } catch (error) {
      throw await this.#afterFailedWrite(file, start, error);
    }
    if (durable) {
      // What a sync under way is about stands before this: if it fails, neither is known to be there.
      await this.#syncing;
      if (this.#failure) throw this.#failure;
    }
    this.#offset = recordEnd;
    this.#allocated = Math.max(this.#allocated, recordEnd + zeros.length);
    if (durable) this.#durableThrough = { file: this.#current, offset: this.#offset };
    else this.#syncNowAndThen(file, record.sizeBytes);
    const offsets = preamble ? record.payloadOffsets.slice(1) : record.payloadOffsets;
    return offsets.map((offset) => ({ file: this.#current, offset: start + offset }));
  }

  /** Durable with everything before it: a durable write by itself would cover only its own bytes. */
  async #writeDurable(file: File, chunks: readonly Uint8Array[], start: number): Promise<void> {
    if (this.#unsyncedBytes === 0) return file.writeDurable(chunks, start);
    await file.write(chunks, start);
    await file.sync();
    this.#unsyncedBytes = 0;
  }

  /** So that little is left to be synced when the file ends, while others wait. */
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

  /** Takes back what was allocated behind the last record. */
  #cutAllocated(file: File): void {
    if (this.#allocated > this.#offset) file.truncate(this.#offset);
    this.#allocated = this.#offset;
  }

  /**
   * Begins the next file and makes its name durable; then ends the current one with a record that says so, and syncs
   * it. Whoever finds that record misses the next file if it is lost. False if there is no descriptor for it.
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
      // What a file that is used again holds behind its end need not be cut off, which would have to be synced too.
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
   * A full disk is survived by cutting off what part of the group was written, durably: it must not come back after
   * its callers were told that it is not there. A failed sync is not, whatever its code: it may have lost earlier
   * groups too.
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
      `writing ${this.#files.path(this.#current)} failed (${errorMessage(error)}); nothing more is written until it is reopened`,
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

  /**
   * Cuts off what recovery discarded and makes all that stays durable, so that later records may vouch for it. What
   * no record vouches for yet is written once more: if a sync of it failed, the system may hold it as clean in its
   * cache, so that it reads well and another sync does nothing for it.
   */
  #settleAll(): void {
    const numbers = this.#unsettled;
    if (numbers.length === 0) return;
    const { env, directory } = this.#options;
    const { end, lastRecordEnd } = this.recovery;
    // Of the file before one without records it is not known either.
    if (lastRecordEnd.file < end.file) this.#settle(lastRecordEnd).close();
    const last = this.#settle(end);
    this.#files.forget(end.file);
    this.#files.adopt(end.file, last);
    // The last one first and each for good: a power cut leaves no gap.
    for (const number of numbers.filter((number) => number > end.file).reverse()) {
      env.fs.unlink(this.#files.path(number));
      env.fs.syncDirectory(directory);
    }
    env.fs.syncDirectory(directory);
    this.#unsettled = [];
  }

  /** Makes a file end there, durably. */
  #settle(end: Position): File {
    const { durableThrough } = this.recovery;
    const doubtfulFrom = durableThrough.file === end.file ? durableThrough.offset : 0;
    const file = this.#options.env.fs.open(this.#files.path(end.file), 'modify');
    try {
      this.#settleFile(file, end, doubtfulFrom);
    } catch (error) {
      file.close();
      throw error;
    }
    return file;
  }

  #settleFile(file: File, end: Position, doubtfulFrom: number): void {
    // The last record's padding may be missing; records start aligned.
    if (file.sizeBytes() !== end.offset) file.truncate(end.offset);
    if (doubtfulFrom < end.offset) {
      const doubtful = Buffer.allocUnsafe(end.offset - doubtfulFrom);
      if (file.readSync(doubtful, doubtfulFrom) < doubtful.length) {
        throw corruption(file.path, doubtfulFrom, `${doubtful.length} bytes were expected`);
      }
      file.writeSync([doubtful], doubtfulFrom);
    }
    file.syncNow();
  }
}

function isFailedSync(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'syscall' in error && error.syscall === SYNC_CALL;
}

function noSpace(cause: unknown): RaftreeError {
  return new RaftreeError(
    'LOG_NO_SPACE',
    isOutOfDescriptors(cause)
      ? 'no file can be opened, too many are open; writing goes on by itself when there are fewer'
      : 'the disk is full; free some space, writing then goes on by itself',
    { cause },
  );
}
