/**
 * Sends snapshots to members that need entries which the log no longer has. All transfers at one time share one
 * checkpoint of the state machine. It is removed after the last.
 */
import type { Env, File, Logger, Timer } from '../env/env.js';
import { errorCode, errorMessage, isNoSpace } from '../env/errors.js';
import type { NodeId, SnapshotBase } from '../raft/types.js';
import { crc32 } from '../record/checksum.js';
import type { LeadershipYields } from './leadership-yields.js';
import type { CorePort, Transport } from './ports.js';
import type { SnapshotHolds } from './snapshot-holds.js';
import type { SnapshotFile, SnapshotTransferMessage, SnapshotWanted } from './snapshot-messages.js';
import type { SnapshotPace } from './snapshot-pace.js';
import type { SnapshotTurn, SnapshotTurns } from './snapshot-turns.js';
import type { StateDirectories } from './state-directories.js';

export interface SnapshotLimits {
  readonly maxChunkBytes: number;
  /** Of all transfers of the node together (snapshot-pace.ts). */
  readonly maxBytesPerSecond: number;
  /** A transfer without progress for this time is given up. */
  readonly stallTimeoutMs: number;
}

/** Where snapshots come from. */
export interface CheckpointSource {
  /** Makes a checkpoint of what is applied in a new directory. Rejects with `BUSY` if it cannot be made now. */
  checkpoint(directory: string): Promise<SnapshotBase>;
  /** Throws `CORRUPTION` if a checkpoint is damaged. */
  check(directory: string): Promise<void>;
}

export interface SnapshotSenderParts {
  readonly env: Env;
  readonly logger: Logger;
  readonly directories: StateDirectories;
  readonly limits: SnapshotLimits;
  readonly pace: SnapshotPace;
  readonly turns: SnapshotTurns;
  readonly transport: Transport;
  readonly source: CheckpointSource;
  readonly core: CorePort;
  /** A node that can make no snapshot, or no undamaged one, gives its leadership to another. */
  readonly yields: LeadershipYields;
  readonly holds: Pick<SnapshotHolds, 'hold' | 'release'>;
}

interface Checkpoint {
  readonly id: number;
  readonly snapshot: SnapshotBase;
  /** Of its directory. */
  readonly name: string;
  readonly files: readonly SnapshotFile[];
  readonly sizeBytes: number;
  readonly open: (File | undefined)[];
}

interface Transfer {
  readonly node: NodeId;
  /** Nothing is offered, and no checkpoint made for it, before it is given. */
  readonly turn: SnapshotTurn;
  /** Until the next chunk may be sent, or the receiver must have answered. */
  timer: Timer | undefined;
  /** Offers since the receiver's last answer. */
  unanswered: number;
  /** The file of the last chunk, and the end of the chunk in it. */
  sent: { readonly file: number; readonly offset: number };
  /** The last chunk was sent. */
  isThrough: boolean;
  /** After this time a receiver that says it is busy counts as silent. */
  busyUntilMs: number | undefined;
}

/** Offers to a silent receiver before it is given up. */
const MAX_OFFERS = 5;
/** After so many failed snapshots in a row because the state machine is read-only, the replica fails. */
const MOST_READ_ONLY_TRIES = 20;
/** How long a receiver may be busy, in stall timeouts. The time to check a large snapshot comes on top. */
const MAX_BUSY_STALLS = 10;
const LEAST_CHECKED_BYTES_PER_SECOND = 1024 * 1024;
/** A receiver that stalled gets smaller chunks, down to this size: its link may be slow. */
const LEAST_CHUNK_BYTES = 64 * 1024;

export class SnapshotSender {
  readonly #parts: SnapshotSenderParts;
  readonly #transfers = new Map<NodeId, Transfer>();
  /** Of receivers that have stalled since their last complete snapshot. */
  readonly #chunkBytes = new Map<NodeId, number>();
  #readOnlyTries = 0;
  #checkpoint: Checkpoint | undefined;
  #making: Promise<void> | undefined;
  #made = 0;
  #closed = false;
  #completed = 0;

  constructor(parts: SnapshotSenderParts) {
    this.#parts = parts;
  }

  /** Starts a transfer, when its turn comes. An older checkpoint than `oldestIndex` says would not help. */
  begin(node: NodeId, oldestIndex: () => number): void {
    if (this.#closed || this.#transfers.has(node)) return;
    const transfer: Transfer = {
      node,
      turn: this.#parts.turns.ask(() => this.#start(transfer, oldestIndex())),
      timer: undefined,
      unanswered: 0,
      sent: { file: 0, offset: 0 },
      isThrough: false,
      busyUntilMs: undefined,
    };
    this.#transfers.set(node, transfer);
    if (transfer.turn.isGiven) this.#start(transfer, oldestIndex());
  }

  #start(transfer: Transfer, oldestIndex: number): void {
    this.#expectProgress(transfer);
    if (this.#checkpoint && this.#checkpoint.snapshot.index >= oldestIndex) this.#offer(transfer.node);
    else
      this.#making ??= this.#make().finally(() => {
        this.#making = undefined;
        this.#removeUnused();
      });
  }

  /** Transfers whose turn it is. */
  get #started(): Transfer[] {
    return [...this.#transfers.values()].filter(({ turn }) => turn.isGiven);
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
    // It had all chunks and has discarded them: its check failed.
    if (transfer.isThrough && file === 0 && offset === 0) void this.#doubt(transfer, checkpoint);
    transfer.timer?.cancel();
    this.#sendInTurn(transfer, checkpoint, file, offset);
  }

  #sendInTurn(transfer: Transfer, checkpoint: Checkpoint, file: number, offset: number): void {
    const { env, pace } = this.#parts;
    const { waitMs } = pace;
    if (waitMs <= 0) this.#sendChunk(transfer, checkpoint, file, offset);
    else {
      transfer.timer = env.timers.after(waitMs, () => {
        if (this.#transfers.get(transfer.node) === transfer)
          this.#sendInTurn(transfer, checkpoint, file, offset);
      });
    }
  }

  /** Transfers that the receiver has confirmed, since the start. */
  get completed(): number {
    return this.#completed;
  }

  /** How much of its snapshot a node was sent. Undefined if there is no transfer. */
  progressOf(node: NodeId): { readonly sentBytes: number; readonly snapshotBytes: number } | undefined {
    const sent = this.#transfers.get(node)?.sent;
    const checkpoint = this.#checkpoint;
    if (!sent || !checkpoint) return undefined;
    const sentBytes = bytesOf(checkpoint.files.slice(0, sent.file)) + sent.offset;
    return { sentBytes, snapshotBytes: checkpoint.sizeBytes };
  }

  /** Ends a transfer, if there is one: the node follows the log again, or the snapshot became useless. */
  end(node: NodeId, ok: boolean): void {
    const transfer = this.#transfers.get(node);
    if (transfer) this.#end(transfer, ok);
  }

  /** Gives up all transfers: this node does not lead any more. */
  stop(): void {
    for (const { timer, turn } of this.#transfers.values()) {
      timer?.cancel();
      turn.end();
    }
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
    const { env, logger, source, directories, core } = this.#parts;
    const name = `send-${++this.#made}`;
    const directory = directories.pathOf(name);
    const older = this.#checkpoint;
    try {
      const snapshot = await source.checkpoint(directory);
      const files = env.fs.list(directory).map((fileName) => {
        const file = env.fs.open(`${directory}/${fileName}`, 'read');
        const sizeBytes = file.sizeBytes();
        file.close();
        return { name: fileName, sizeBytes };
      });
      if (older) this.#remove(older);
      this.#readOnlyTries = 0;
      this.#checkpoint = {
        id: env.random.uint32() * 2 ** 20 + this.#made,
        snapshot,
        name,
        files,
        sizeBytes: bytesOf(files),
        open: files.map(() => undefined),
      };
      if (this.#closed) return;
      logger.info({ index: snapshot.index, files: files.length }, 'made a snapshot');
      for (const { node } of this.#started) this.#offer(node);
    } catch (error) {
      logger.error({ error: errorMessage(error) }, 'no snapshot could be made; it is tried again');
      directories.remove(name);
      this.#giveUpLater();
      // A full disk passes: the snapshot is made then.
      if (errorCode(error) !== 'BUSY' && !isNoSpace(error)) this.#parts.yields.yield();
      // The state machine takes nothing more until it is opened again, and no other node took over.
      if (errorCode(error) === 'LSM_READ_ONLY' && ++this.#readOnlyTries >= MOST_READ_ONLY_TRIES)
        core.fail(error);
    }
  }

  /** The receiver discarded the snapshot: checks whether it was damaged here. */
  async #doubt(transfer: Transfer, { name }: Checkpoint): Promise<void> {
    const { logger, source, directories } = this.#parts;
    transfer.isThrough = false;
    try {
      await source.check(directories.pathOf(name));
    } catch (error) {
      // If the directory was removed meanwhile, the check says nothing.
      if (this.#closed || this.#checkpoint?.name !== name || errorCode(error) !== 'CORRUPTION') return;
      logger.error(
        { error: errorMessage(error) },
        'a snapshot made here is damaged; another node should lead',
      );
      this.#parts.yields.yield();
    }
  }

  /** Not at once: a member that still needs a snapshot gets another transfer as soon as this one has ended. */
  #giveUpLater(): void {
    const { env, limits } = this.#parts;
    for (const transfer of this.#started) {
      transfer.timer?.cancel();
      transfer.timer = env.timers.after(limits.stallTimeoutMs / MAX_OFFERS, () => {
        if (this.#transfers.get(transfer.node) === transfer) this.#end(transfer, false);
      });
    }
  }

  #offer(node: NodeId): void {
    if (!this.#checkpoint) return;
    const { id: checkpoint, snapshot, files } = this.#checkpoint;
    this.#parts.holds.hold(node, snapshot.index);
    this.#send(node, {
      type: 'snapshotOffer',
      term: this.#parts.core.term,
      checkpoint,
      snapshot,
      files,
    });
  }

  #sendChunk(transfer: Transfer, checkpoint: Checkpoint, file: number, offset: number): void {
    const { env, pace, directories, logger } = this.#parts;
    const described = checkpoint.files[file];
    if (!described) return;
    const bytes = Buffer.allocUnsafe(
      Math.min(this.#chunkBytesFor(transfer.node), described.sizeBytes - offset),
    );
    try {
      checkpoint.open[file] ??= env.fs.open(
        `${directories.pathOf(checkpoint.name)}/${described.name}`,
        'read',
      );
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
    pace.sent(bytes.length);
    this.#send(transfer.node, {
      type: 'snapshotChunk',
      term: this.#parts.core.term,
      checkpoint: checkpoint.id,
      file,
      offset,
      checksum: crc32(bytes),
      bytes,
    });
    this.#expectProgress(transfer);
  }

  /** The receiver is alive. Within a limit that counts as an answer. */
  #isBusy(transfer: Transfer, { sizeBytes }: Checkpoint): void {
    const { env, limits } = this.#parts;
    const nowMs = env.clock.nowMs();
    const checkMs = (sizeBytes / LEAST_CHECKED_BYTES_PER_SECOND) * 1000;
    transfer.busyUntilMs ??= nowMs + MAX_BUSY_STALLS * limits.stallTimeoutMs + checkMs;
    if (nowMs < transfer.busyUntilMs) transfer.unanswered = 0;
  }

  /**
   * Without an answer a message was lost. The offer is repeated, and the receiver answers what it lacks. After some
   * offers the transfer is given up.
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
    transfer.turn.end();
    this.#transfers.delete(transfer.node);
    if (ok) {
      this.#completed++;
      this.#parts.yields.reset();
    }
    const { core, holds } = this.#parts;
    if (!ok) holds.release(transfer.node);
    const index = this.#checkpoint?.snapshot.index ?? 0;
    core.step({ type: 'snapshotSent', node: transfer.node, index, ok });
    this.#removeUnused();
  }

  #removeUnused(): void {
    if (!this.#checkpoint || this.#started.length > 0 || this.#making) return;
    this.#remove(this.#checkpoint);
    this.#checkpoint = undefined;
  }

  #remove(checkpoint: Checkpoint): void {
    for (const file of checkpoint.open) file?.close();
    this.#parts.directories.remove(checkpoint.name);
  }

  /** Transfers end at the end of the turn in which this node stops leading: until then the term may be another's. */
  #send(to: NodeId, message: SnapshotTransferMessage): void {
    const { core, transport } = this.#parts;
    if (core.role === 'leader') transport.send(to, message);
  }
}

function bytesOf(files: readonly SnapshotFile[]): number {
  return files.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0);
}
