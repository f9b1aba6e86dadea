/**
 * Sends snapshots to members that need entries which the log no longer has: one checkpoint of the state machine, shared
 * by all transfers that are under way, removed after the last.
 */
import type { Env, File, Logger, Timer } from '../env/env.js';
import { errorCode, errorMessage, isNoSpace } from '../env/errors.js';
import type { NodeId, SnapshotBase } from '../raft/types.js';
import { crc32 } from '../record/checksum.js';
import type { SnapshotFile, SnapshotWanted, Transport } from './snapshot-messages.js';

export interface SnapshotLimits {
  readonly maxChunkBytes: number;
  /** Of each transfer. */
  readonly maxBytesPerSecond: number;
  /** A transfer that makes no progress for so long is given up. */
  readonly stallTimeoutMs: number;
}

export interface SnapshotSenderParts {
  readonly env: Env;
  readonly logger: Logger;
  /** Where checkpoints are made. */
  readonly directory: string;
  readonly limits: SnapshotLimits;
  readonly transport: Transport;
  readonly term: () => number;
  /** Makes a checkpoint in a new directory; resolves to what it holds. */
  readonly checkpoint: (directory: string) => Promise<SnapshotBase>;
  /** Throws `CORRUPTION` if a checkpoint is damaged. */
  readonly check: (directory: string) => Promise<void>;
  /** This node cannot make a snapshot, or no whole one: another should lead, or the member is never helped. */
  readonly damaged: () => void;
  /** Its state machine takes nothing more until it is opened again, and nobody took over: this node must restart. */
  readonly hopeless: (error: unknown) => void;
  /** The snapshot of this entry is being sent to that node. */
  readonly offered: (node: NodeId, index: number) => void;
  /** The transfer has ended. */
  readonly sent: (node: NodeId, index: number, ok: boolean) => void;
}

interface Checkpoint {
  readonly id: number;
  readonly snapshot: SnapshotBase;
  readonly directory: string;
  readonly files: readonly SnapshotFile[];
  readonly sizeBytes: number;
  readonly open: (File | undefined)[];
}

interface Transfer {
  readonly node: NodeId;
  /** Until the next chunk may be sent, or the receiver must have answered. */
  timer: Timer | undefined;
  /** Offers made since the receiver was heard last. */
  unanswered: number;
  /** Before this time the next chunk would exceed the rate. */
  nextChunkMs: number;
  /** The file of the last chunk, and where in it that ended. */
  sent: { readonly file: number; readonly offset: number };
  /** The last chunk is on its way. */
  isThrough: boolean;
  /** After this time it does not count any more that the receiver says it is busy. */
  busyUntilMs: number | undefined;
}

/** Within the time after which a silent receiver is given up. */
const MAX_OFFERS = 5;
const MOST_DOUBLINGS = 6;
/** So many snapshots in a row that could not be made because the state machine is read-only are enough. */
const MOST_READ_ONLY_TRIES = 20;
/** A receiver may be busy for so many times as long as it may be silent, and longer with a large snapshot to check. */
const MAX_BUSY_STALLS = 10;
const LEAST_CHECKED_BYTES_PER_SECOND = 1024 * 1024;
/** A receiver that stalls is sent smaller chunks, down to this: its link may be narrow. */
const LEAST_CHUNK_BYTES = 64 * 1024;

export class SnapshotSender {
  readonly #parts: SnapshotSenderParts;
  readonly #transfers = new Map<NodeId, Transfer>();
  /** For receivers that have stalled since they last had a whole snapshot. */
  readonly #chunkBytes = new Map<NodeId, number>();
  /** Not before this time another node is asked to lead: that one may be no better, and ask this one back. */
  #mayYieldMs = 0;
  #yields = 0;
  #readOnlyTries = 0;
  #checkpoint: Checkpoint | undefined;
  #making: Promise<void> | undefined;
  #made = 0;
  #closed = false;

  constructor(parts: SnapshotSenderParts) {
    this.#parts = parts;
  }

  /** Starts a transfer; `oldestIndex`: an older checkpoint would not help. */
  begin(node: NodeId, oldestIndex: number): void {
    if (this.#closed || this.#transfers.has(node)) return;
    const transfer: Transfer = {
      node,
      timer: undefined,
      unanswered: 0,
      nextChunkMs: 0,
      sent: { file: 0, offset: 0 },
      isThrough: false,
      busyUntilMs: undefined,
    };
    this.#transfers.set(node, transfer);
    this.#expectProgress(transfer);
    if (this.#checkpoint && this.#checkpoint.snapshot.index >= oldestIndex) this.#offer(node);
    else
      this.#making ??= this.#make().finally(() => {
        this.#making = undefined;
        this.#removeUnused();
      });
  }

  /** The receiver names the first byte that it lacks. */
  wanted(node: NodeId, { checkpoint: id, file, offset }: SnapshotWanted): void {
    const transfer = this.#transfers.get(node);
    const checkpoint = this.#checkpoint;
    if (!transfer || checkpoint?.id !== id) return;
    if (file >= checkpoint.files.length) {
      this.#end(transfer, true);
      return;
    }
    if (offset > (checkpoint.files[file]?.sizeBytes ?? 0)) {
      this.#isBusy(transfer, checkpoint);
      return;
    }
    transfer.unanswered = 0;
    transfer.busyUntilMs = undefined;
    // It had everything, and has thrown it away.
    if (transfer.isThrough && file === 0 && offset === 0) void this.#doubt(transfer, checkpoint);
    const { env } = this.#parts;
    const waitMs = transfer.nextChunkMs - env.clock.nowMs();
    transfer.timer?.cancel();
    if (waitMs <= 0) this.#sendChunk(transfer, checkpoint, file, offset);
    else {
      transfer.timer = env.timers.after(waitMs, () => {
        if (this.#transfers.get(node) === transfer) this.#sendChunk(transfer, checkpoint, file, offset);
      });
    }
  }

  /** How much of its snapshot a node was sent; undefined if it is sent none. */
  progressOf(node: NodeId): { readonly sentBytes: number; readonly snapshotBytes: number } | undefined {
    const sent = this.#transfers.get(node)?.sent;
    const checkpoint = this.#checkpoint;
    if (!sent || !checkpoint) return undefined;
    const sentBytes = bytesOf(checkpoint.files.slice(0, sent.file)) + sent.offset;
    return { sentBytes, snapshotBytes: checkpoint.sizeBytes };
  }

  /** Ends a transfer that there may be: the node has come to the log, or what it is sent is of no use any more. */
  end(node: NodeId, ok: boolean): void {
    const transfer = this.#transfers.get(node);
    if (transfer) this.#end(transfer, ok);
  }

  /** Gives up all transfers: this node does not lead any more. */
  stop(): void {
    for (const transfer of this.#transfers.values()) transfer.timer?.cancel();
    this.#transfers.clear();
    this.#removeUnused();
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.stop();
    await this.#making;
    this.#removeUnused();
  }

  async #make(): Promise<void> {
    const { env, logger, checkpoint } = this.#parts;
    const directory = `${this.#parts.directory}/send-${++this.#made}`;
    const older = this.#checkpoint;
    try {
      const snapshot = await checkpoint(directory);
      const files = env.fs.list(directory).map((name) => {
        const file = env.fs.open(`${directory}/${name}`, 'read');
        const sizeBytes = file.sizeBytes();
        file.close();
        return { name, sizeBytes };
      });
      if (older) this.#remove(older);
      this.#readOnlyTries = 0;
      this.#checkpoint = {
        id: env.random.uint32() * 2 ** 20 + this.#made,
        snapshot,
        directory,
        files,
        sizeBytes: bytesOf(files),
        open: files.map(() => undefined),
      };
      if (this.#closed) return;
      logger.info({ index: snapshot.index, files: files.length }, 'made a snapshot');
      for (const node of this.#transfers.keys()) this.#offer(node);
    } catch (error) {
      logger.error({ error: errorMessage(error) }, 'no snapshot could be made; it is tried again');
      this.#removeDirectory(directory);
      this.#giveUpLater();
      // With space it will be made.
      if (errorCode(error) !== 'BUSY' && !isNoSpace(error)) this.#yieldLead();
      if (errorCode(error) === 'LSM_READ_ONLY' && ++this.#readOnlyTries >= MOST_READ_ONLY_TRIES)
        this.#parts.hopeless(error);
    }
  }

  /** Was it damaged on the way, or is it this node's own state that is? */
  async #doubt(transfer: Transfer, { directory }: Checkpoint): Promise<void> {
    const { logger, check } = this.#parts;
    transfer.isThrough = false;
    try {
      await check(directory);
    } catch (error) {
      // The directory may have been removed meanwhile: that says nothing.
      if (this.#closed || this.#checkpoint?.directory !== directory || errorCode(error) !== 'CORRUPTION')
        return;
      logger.error(
        { error: errorMessage(error) },
        'a snapshot made here is damaged; another node should lead',
      );
      this.#yieldLead();
    }
  }

  /** Each time less soon again, until a transfer succeeds. */
  #yieldLead(): void {
    const { env, limits, damaged } = this.#parts;
    const nowMs = env.clock.nowMs();
    if (nowMs < this.#mayYieldMs) return;
    this.#mayYieldMs = nowMs + limits.stallTimeoutMs * 2 ** Math.min(this.#yields++, MOST_DOUBLINGS);
    damaged();
  }

  /** Not at once: whoever still needs a snapshot asks for one again as soon as it is told. */
  #giveUpLater(): void {
    const { env, limits } = this.#parts;
    for (const transfer of this.#transfers.values()) {
      transfer.timer?.cancel();
      transfer.timer = env.timers.after(limits.stallTimeoutMs / MAX_OFFERS, () => {
        if (this.#transfers.get(transfer.node) === transfer) this.#end(transfer, false);
      });
    }
  }

  #offer(node: NodeId): void {
    if (!this.#checkpoint) return;
    const { id: checkpoint, snapshot, files } = this.#checkpoint;
    this.#parts.offered(node, snapshot.index);
    this.#parts.transport.send(node, {
      type: 'snapshotOffer',
      term: this.#parts.term(),
      checkpoint,
      snapshot,
      files,
    });
  }

  #sendChunk(transfer: Transfer, checkpoint: Checkpoint, file: number, offset: number): void {
    const { env, limits, transport, logger } = this.#parts;
    const described = checkpoint.files[file];
    if (!described) return;
    const bytes = Buffer.allocUnsafe(
      Math.min(this.#chunkBytesFor(transfer.node), described.sizeBytes - offset),
    );
    try {
      checkpoint.open[file] ??= env.fs.open(`${checkpoint.directory}/${described.name}`, 'read');
      const count = checkpoint.open[file]?.readSync(bytes, offset) ?? 0;
      if (count < bytes.length) throw new Error(`${described.name} became shorter`);
    } catch (error) {
      logger.error({ error: errorMessage(error) }, 'a snapshot cannot be read');
      this.#end(transfer, false);
      return;
    }
    const isLast = file === checkpoint.files.length - 1 && offset + bytes.length === described.sizeBytes;
    if (isLast) transfer.isThrough = true;
    transfer.sent = { file, offset: offset + bytes.length };
    transfer.nextChunkMs = env.clock.nowMs() + (bytes.length / limits.maxBytesPerSecond) * 1000;
    transport.send(transfer.node, {
      type: 'snapshotChunk',
      term: this.#parts.term(),
      checkpoint: checkpoint.id,
      file,
      offset,
      checksum: crc32(bytes),
      bytes,
    });
    this.#expectProgress(transfer);
  }

  /** It is there, but not for ever. */
  #isBusy(transfer: Transfer, { sizeBytes }: Checkpoint): void {
    const { env, limits } = this.#parts;
    const nowMs = env.clock.nowMs();
    const checkMs = (sizeBytes / LEAST_CHECKED_BYTES_PER_SECOND) * 1000;
    transfer.busyUntilMs ??= nowMs + MAX_BUSY_STALLS * limits.stallTimeoutMs + checkMs;
    if (nowMs < transfer.busyUntilMs) transfer.unanswered = 0;
  }

  /**
   * A message was lost if nothing comes: offered again, the receiver names what it lacks. In the end it is given up.
   */
  #expectProgress(transfer: Transfer): void {
    transfer.timer?.cancel();
    const patienceMs = this.#parts.limits.stallTimeoutMs / MAX_OFFERS;
    transfer.timer = this.#parts.env.timers.after(patienceMs, () => {
      if (this.#transfers.get(transfer.node) !== transfer) return;
      if (!this.#making && ++transfer.unanswered >= MAX_OFFERS) {
        this.#stalled(transfer);
        return;
      }
      if (!this.#making) this.#offer(transfer.node);
      this.#expectProgress(transfer);
    });
  }

  #chunkBytesFor(node: NodeId): number {
    return this.#chunkBytes.get(node) ?? this.#parts.limits.maxChunkBytes;
  }

  #stalled(transfer: Transfer): void {
    const { node } = transfer;
    const { limits, logger } = this.#parts;
    const chunkBytes = Math.max(
      Math.min(LEAST_CHUNK_BYTES, limits.maxChunkBytes),
      Math.floor(this.#chunkBytesFor(node) / 2),
    );
    this.#chunkBytes.set(node, chunkBytes);
    logger.warn(
      { node, ...this.progressOf(node), chunkBytes },
      `node ${node} does not answer while it is given a snapshot; it is tried again with chunks of ${chunkBytes} bytes`,
    );
    this.#end(transfer, false);
  }

  #end(transfer: Transfer, ok: boolean): void {
    if (ok) this.#chunkBytes.delete(transfer.node);
    transfer.timer?.cancel();
    this.#transfers.delete(transfer.node);
    if (ok) {
      this.#mayYieldMs = 0;
      this.#yields = 0;
    }
    this.#parts.sent(transfer.node, this.#checkpoint?.snapshot.index ?? 0, ok);
    this.#removeUnused();
  }

  #removeUnused(): void {
    if (!this.#checkpoint || this.#transfers.size > 0 || this.#making) return;
    this.#remove(this.#checkpoint);
    this.#checkpoint = undefined;
  }

  #remove(checkpoint: Checkpoint): void {
    for (const file of checkpoint.open) file?.close();
    this.#removeDirectory(checkpoint.directory);
  }

  #removeDirectory(directory: string): void {
    try {
      this.#parts.env.fs.removeTree(directory);
    } catch (error) {
      // It is in the way of nothing, and goes at the next start.
      this.#parts.logger.warn({ error: errorMessage(error) }, `${directory} could not be removed`);
    }
  }
}

function bytesOf(files: readonly SnapshotFile[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
