/** An explicit snapshot: a state of the engine that can be read until it is closed. */
import { type AbstractLevel, AbstractSnapshot } from 'abstract-level';
import type { Snapshot } from '../lsm/read/snapshot-list.js';
import type { Format } from './formats.js';

export interface SnapshotOptions {
  /** The database that closes the snapshot when it is closed itself: this one, or a sublevel of it. */
  readonly owner: AbstractLevel<Format, unknown, unknown>;
}

/** The published types leave the constructor's parameter out. */
const SnapshotBase = AbstractSnapshot as unknown as new (options: SnapshotOptions) => AbstractSnapshot;

export class LevelSnapshot extends SnapshotBase {
  readonly engineSnapshot: Snapshot;

  constructor(engineSnapshot: Snapshot, options: SnapshotOptions) {
    super(options);
    this.engineSnapshot = engineSnapshot;
  }

  async _close(): Promise<void> {
    this.engineSnapshot.release();
  }
}

/** The state for a read: that of a snapshot, or the current one. */
export function readOptions(options: { readonly snapshot?: unknown }): { snapshot?: Snapshot } {
  const { snapshot } = options;
  return snapshot instanceof LevelSnapshot ? { snapshot: snapshot.engineSnapshot } : {};
}
