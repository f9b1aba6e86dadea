/** One machine of a run, what its disk is like, and what goes wrong there. */

import type { StorageEngine } from '../../engines/storage-engine.js';
import { SimulatedMachine } from '../cluster/machine.js';
import type { Coverage } from '../rules/coverage.js';
import type { OwnSettings } from '../setting/setting.js';
import { type Fault, type FileOperation, systemError } from '../world/file-operation.js';
import type { SeededRandom } from '../world/seeded-random.js';
import type { NodeJsonEdit } from './node-json.js';

/** What the disk of one machine is like at the moment. */
export interface DiskCondition {
  minMs: number;
  maxMs: number;
  stalledUntilMs: number;
  isFull: boolean;
  failSyncs: number;
  failReads: number;
  /** After so many more operations `burnt` is called, in the middle of whatever is going on. */
  fuse: { operations: number; readonly burnt: () => void } | undefined;
}

export function healthyDisk(maxMs: number): DiskCondition {
  return {
    minMs: 0.05,
    maxMs,
    stalledUntilMs: 0,
    isFull: false,
    failSyncs: 0,
    failReads: 0,
    fuse: undefined,
  };
}

/** `lost`: its disk is damaged and it refuses to start; it stays down. */
export type MachineState = 'down' | 'starting' | 'up' | 'closing' | 'lost';

export class RunMachine extends SimulatedMachine {
  engine: StorageEngine | undefined;
  state: MachineState = 'down';
  isPaused = false;
  starts = 0;
  /** Its disk, or some of it, is not what it was: it may refuse to go on, for ever. */
  isDamaged = false;
  /** Its disk has done that by itself, no operator. */
  hasBrokenDisk = false;
  /** Its operator has removed it, and lets it join again. */
  joinsAgain = false;
  /** Its disk is an empty one. */
  isReplaced = false;
  /** Its operator has switched it off: nobody starts it. */
  isOff = false;
  /** What an operator has done to its node.json. */
  edit: NodeJsonEdit | undefined;
  /** It had no data folder yet when its node.json was edited. */
  beganWrong = false;
  /** What it found when it was started last. */
  startedWith: NodeJsonEdit | undefined;
  /** It belongs to another cluster of the same name, whose history is not compared. */
  isForeign = false;
  /** Its disk has failed operations since it was started: it may refuse to go on, until it is restarted. */
  hasFailedOperations = false;
  readonly condition: DiskCondition;
  /** Where its node.json differs from the others' when it is started next. */
  settings: OwnSettings = {};
  /** While its state machine is held: what is to go on when it is let go. */
  heldApplies: (() => void)[] | undefined;

  constructor(id: number, maxDiskMs: number, host?: string) {
    super(id, host);
    this.condition = healthyDisk(maxDiskMs);
  }

  get processName(): string {
    return `${this.host}#${this.starts}`;
  }
}

/** What happens in place of an operation of its disk. */
export function faultOf(
  machine: RunMachine,
  { kind, path }: FileOperation,
  random: SeededRandom,
  coverage: Coverage,
): Fault {
  const { condition } = machine;
  if (kind === 'create' && /raft-\d+\.log$/.test(path)) coverage.count('log segments started');
  if (condition.fuse && --condition.fuse.operations <= 0) {
    const { burnt } = condition.fuse;
    condition.fuse = undefined;
    burnt();
    return undefined;
  }
  if (condition.isFull && (kind === 'write' || kind === 'create' || kind === 'mkdir')) {
    machine.hasFailedOperations = true;
    return kind === 'write' && random.chance(0.5) ? 'short' : systemError('ENOSPC', kind, path);
  }
  if (condition.failSyncs > 0 && kind === 'sync') {
    condition.failSyncs--;
    machine.hasFailedOperations = true;
    coverage.count('syncs failed');
    return 'lose';
  }
  if (condition.failReads > 0 && kind === 'read') {
    condition.failReads--;
    machine.hasFailedOperations = true;
    coverage.count('reads failed');
    return systemError('EIO', 'read', path);
  }
  return undefined;
}
