/** Cuts the log of a group when its plan says so (log-compaction.ts), and flushes the state machine for that. */
import type { Env, Logger } from '../env/env.js';
import { errorCode } from '../env/errors.js';
import type { NodeId, PeerStatus } from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import type { GroupStateMachine } from './group-state-machine.js';
import { type LogLimits, planCompaction } from './log-compaction.js';
import type { CorePort } from './ports.js';
import type { SnapshotHolds } from './snapshot-holds.js';

/** Transfers of snapshots, as the log's cutter uses them. */
export interface TransfersPort {
  /** Ends a transfer, if there is one. */
  end(node: NodeId, ok: boolean): void;
  progressOf(node: NodeId): { readonly sentBytes: number; readonly snapshotBytes: number } | undefined;
}

export interface LogCutterParts {
  readonly env: Env;
  readonly logger: Logger;
  readonly log: GroupLog;
  readonly stateMachine: Pick<GroupStateMachine<unknown>, 'appliedIndex' | 'durableIndex' | 'flush'>;
  readonly core: Pick<CorePort, 'step' | 'fail'>;
  readonly peers: () => readonly PeerStatus[];
  readonly transfers: TransfersPort;
  readonly holds: SnapshotHolds;
  /** After so much silence a member with a snapshot no longer keeps entries in the log. */
  readonly stallTimeoutMs: number;
}

export class LogCutter {
  readonly #parts: LogCutterParts;
  #flushing = false;

  constructor(parts: LogCutterParts) {
    this.#parts = parts;
  }

  /** A flush is under way: the log may be cut when it is done. */
  get isWaiting(): boolean {
    return this.#flushing;
  }

  /** `allMatchedIndex`: every member holds the log up to here. */
  review(allMatchedIndex: number, limits: LogLimits): void {
    const { log, stateMachine, core } = this.#parts;
    const { sizeBytes } = log;
    const { cutThrough, needsFlush } = planCompaction(
      {
        baseIndex: log.base.index,
        lastIndex: log.lastIndex,
        sizeBytes,
        allMatchedIndex,
        appliedIndex: stateMachine.appliedIndex,
        durableIndex: stateMachine.durableIndex,
        heldIndex: this.#heldIndex(limits),
      },
      limits,
    );
    if (needsFlush) this.#flush();
    if (cutThrough === undefined) return;
    log.compact(cutThrough).catch((error: unknown) => {
      if (errorCode(error) !== 'LOG_NO_SPACE') core.fail(error);
    });
    core.step({ type: 'compacted', index: cutThrough });
    this.#giveUpSnapshots(cutThrough, sizeBytes, limits);
  }

  /** Members that are sent a snapshot, or that catch up after one, need the log after this entry. */
  #heldIndex({ trailingEntries }: LogLimits): number | undefined {
    const { env, log, holds, transfers, stallTimeoutMs } = this.#parts;
    if (holds.isEmpty) return undefined;
    const peers = this.#parts.peers();
    // A member that follows the log again needs no snapshot any more.
    for (const { id, state } of peers) if (state === 'replicate') transfers.end(id, true);
    return holds.review(peers, log.lastIndex - trailingEntries, env.clock.nowMs() - stallTimeoutMs);
  }

  /** A snapshot that ends before what was cut is of no use any more: its member needs another. */
  #giveUpSnapshots(cutThrough: number, logBytes: number, { maxSnapshotLogBytes }: LogLimits): void {
    const { logger, transfers, holds } = this.#parts;
    for (const node of holds.cutThrough(cutThrough)) {
      logger.warn(
        { node, ...transfers.progressOf(node), logBytes, maxSnapshotLogBytes },
        `node ${node} needs another snapshot: the log outgrew maxSnapshotLogBytes before it had caught up; ` +
          'raise maxSnapshotLogBytes or snapshotBytesPerSecond, or write less',
      );
      transfers.end(node, false);
    }
  }

  #flush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    const { stateMachine, core } = this.#parts;
    stateMachine
      .flush()
      .catch((error: unknown) => core.fail(error))
      .finally(() => {
        this.#flushing = false;
      });
  }
}
