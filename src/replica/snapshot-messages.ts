/**
 * How a snapshot is transferred: as the files of a directory, in chunks, at the receiver's pace.
 *
 *     sender                                  receiver
 *       | -- snapshotOffer: base, files ---------> |
 *       | <--------- snapshotWanted: file, offset -|   the first byte that it lacks, of an earlier attempt too
 *       | -- snapshotChunk: bytes, checksum -----> |
 *       | <--------- snapshotWanted: file, offset -|   … and so on; `file` = number of files: it has everything
 *
 * A receiver that is busy (a slow disk, the check of the whole) answers another offer with an offset beyond the end of
 * the file. That means: send nothing now, this node is alive.
 */
import type { SnapshotBase, WireMessage } from '../raft/types.js';

export interface SnapshotFile {
  readonly name: string;
  readonly sizeBytes: number;
}

export interface SnapshotOffer {
  readonly type: 'snapshotOffer';
  /** The sender's. */
  readonly term: number;
  /** Random id of these files. Two checkpoints of one entry may have different bytes. */
  readonly checkpoint: number;
  readonly snapshot: SnapshotBase;
  readonly files: readonly SnapshotFile[];
}

export interface SnapshotWanted {
  readonly type: 'snapshotWanted';
  readonly term: number;
  readonly checkpoint: number;
  readonly file: number;
  readonly offset: number;
}

export interface SnapshotChunk {
  readonly type: 'snapshotChunk';
  readonly term: number;
  readonly checkpoint: number;
  readonly file: number;
  readonly offset: number;
  /** CRC-32 of the bytes. */
  readonly checksum: number;
  readonly bytes: Uint8Array;
}

export type SnapshotTransferMessage = SnapshotOffer | SnapshotWanted | SnapshotChunk;
/** Everything that replicas of a group say to each other. */
export type ReplicaMessage = WireMessage | SnapshotTransferMessage;

export function isSnapshotTransfer(message: ReplicaMessage): message is SnapshotTransferMessage {
  return SNAPSHOT_TRANSFER_TYPES.has(message.type);
}

const SNAPSHOT_TRANSFER_TYPES: ReadonlySet<ReplicaMessage['type']> = new Set([
  'snapshotOffer',
  'snapshotWanted',
  'snapshotChunk',
]);
