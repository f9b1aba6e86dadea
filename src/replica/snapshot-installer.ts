/**
 * Installs a snapshot that has arrived whole:
 *
 *     arrived    all files are durable in a directory; the core is asked whether the snapshot is of use
 *     install    the core takes it: one record of the Raft log names the directory. This is the commit point
 *     restore    the state machine opens the directory; then the core hears that all up to the snapshot is applied
 *
 * The record may be written before the state machine has taken over an earlier snapshot. Until it has, the directories
 * of both are kept, because a crash may lead back to either.
 */
import type { DiskSpace } from '../env/disk-space.js';
import type { Logger } from '../env/env.js';
import { errorCode, RaftreeError } from '../env/errors.js';
import type { AppendBatch, NodeId, SnapshotBase } from '../raft/types.js';
import type { GroupLog } from '../raft-log/raft-log.js';
import type { GroupStateMachine } from './group-state-machine.js';
import type { CorePort } from './ports.js';
import type { StateDirectories } from './state-directories.js';
import { stateDirectoryName } from './state-directories.js';

/** What applies entries to the state machine, as an installation uses it. */
export interface ApplierPort {
  pause(): void;
  resume(): void;
  forgetWaiting(): void;
  alone<T>(run: () => Promise<T>): Promise<T>;
}

export interface SnapshotInstallerParts {
  readonly logger: Logger;
  readonly log: Pick<GroupLog, 'base' | 'install'>;
  readonly stateMachine: Pick<
    GroupStateMachine<unknown>,
    'appliedIndex' | 'restore' | 'succession' | 'companion'
  >;
  /** Makes the groups exist that follow from this one. */
  readonly succeed: () => Promise<void>;
  readonly applier: ApplierPort;
  readonly core: Pick<CorePort, 'step' | 'fail'>;
  readonly diskSpace: DiskSpace;
  readonly directories: StateDirectories;
}

const WRITER = 'snapshot';

export class SnapshotInstaller {
  readonly #parts: SnapshotInstallerParts;
  /** The snapshot that the core is asked about. */
  #arrived: { readonly snapshot: SnapshotBase; readonly name: string } | undefined;
  /** Directories that the log names, or is writing a record of, and that the state machine has not taken over yet. */
  readonly #installed: string[] = [];
  #restoring: Promise<void> = Promise.resolve();
  #closed = false;
  #completed = 0;

  /** Removes the directories that a crash left. */
  constructor(parts: SnapshotInstallerParts) {
    this.#parts = parts;
    parts.directories.removeUnused(['state', 'send', 'receive'], [parts.log.base.directory]);
  }

  /** Settles, and never rejects, when no snapshot is being taken over. */
  get restoring(): Promise<void> {
    return this.#restoring;
  }

  /** All of the snapshot's bytes are durable under this name. The core decides with the next output. */
  arrived(from: NodeId, term: number, snapshot: SnapshotBase, name: string): void {
    this.decided();
    this.#arrived = { snapshot, name };
    this.#parts.core.step({ type: 'message', from, message: { type: 'snapshot', term, snapshot } });
  }

  /** The core's output is carried out. If it did not take the snapshot that arrived, the directory is removed. */
  decided(): void {
    const arrived = this.#arrived;
    this.#arrived = undefined;
    const { log, directories } = this.#parts;
    if (arrived && arrived.name !== log.base.directory) directories.remove(arrived.name);
  }

  /** Resolves when the record is durable. Rejects as the log does. */
  install(batch: AppendBatch, snapshot: SnapshotBase): Promise<void> {
    const { log, applier, core } = this.#parts;
    const name = stateDirectoryName(snapshot);
    const installed = log.install({ ...snapshot, directory: name }, batch);
    applier.pause();
    applier.forgetWaiting();
    this.#installed.push(name);
    // With a slow disk several may be installed before the first is taken over: one after the other.
    const before = this.#restoring;
    this.#restoring = installed
      .then(() => before)
      .then(() => this.#restore(snapshot, name))
      .catch((error: unknown) => {
        // The record is written again when there is space.
        if (errorCode(error) === 'LOG_NO_SPACE') applier.resume();
        else core.fail(error);
      })
      .then(() => before);
    return installed;
  }

  /** Snapshots taken over since the start. */
  get completed(): number {
    return this.#completed;
  }

  /** A takeover that waits for space is given up. */
  close(): void {
    this.#closed = true;
  }

  async #restore(snapshot: SnapshotBase, name: string): Promise<void> {
    const { stateMachine, logger, applier, core, diskSpace, directories } = this.#parts;
    const attempt = async () => {
      if (!this.#closed) await stateMachine.restore(directories.pathOf(name));
    };
    await applier.alone(() => diskSpace.untilWritten(WRITER, attempt));
    if (this.#closed) return;
    if (stateMachine.appliedIndex !== snapshot.index) {
      throw new RaftreeError(
        'CORRUPTION',
        `the snapshot of entry ${snapshot.index} holds the state of entry ${stateMachine.appliedIndex}`,
      );
    }
    // Of a group that has ended, or has a companion: this node does what the others have done.
    if (stateMachine.succession ?? stateMachine.companion) await applier.alone(() => this.#parts.succeed());
    if (this.#closed) return;
    this.#completed++;
    logger.info({ index: snapshot.index }, 'took over a snapshot');
    this.#installed.splice(0, this.#installed.indexOf(name) + 1);
    this.#removeUnused(name);
    applier.resume();
    core.step({ type: 'applied', index: snapshot.index });
  }

  /** Keeps the directories of the state machine, of the log and of what has just arrived. */
  #removeUnused(ofStateMachine: string): void {
    const { log, directories } = this.#parts;
    const used = [ofStateMachine, log.base.directory, ...this.#installed];
    if (this.#arrived) used.push(this.#arrived.name);
    directories.removeUnused(['state'], used);
  }
}
