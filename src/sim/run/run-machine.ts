/** One machine of a run, with the condition of its disk and what went wrong there. */

import type { StorageEngine } from '../../engines/storage-engine.js';
import type { RoleStatus } from '../../raft/types.js';
import type { KvStore } from '../../server/kv-group.js';
import { SimulatedMachine } from '../cluster/machine.js';
import type { Coverage } from '../rules/coverage.js';
import type { OwnSettings } from '../setting/setting.js';
import { type Fault, type FileOperation, systemError } from '../world/file-operation.js';
import type { SeededRandom } from '../world/seeded-random.js';
import type { NodeJsonEdit } from './node-json.js';

/** The condition of one machine's disk. */
export interface DiskCondition {
  minMs: number;
  maxMs: number;
  stalledUntilMs: number;
  isFull: boolean;
  failSyncs: number;
  failReads: number;
  /** `burnt` is called before the operation of this number, counted from now. */
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

/** What a replica knows of its group. */
export interface ReplicaStatus {
  readonly role: RoleStatus['role'];
  readonly term: number;
  readonly leader: number;
  readonly appliedIndex: number;
  readonly lastIndex: number;
  readonly voters: readonly number[];
  readonly outgoing: readonly number[];
  readonly learners: readonly number[];
  readonly configurationIndex: number;
}

/** `lost`: its disk is damaged and it refuses to start; it stays down. */
export type MachineState = 'down' | 'starting' | 'up' | 'closing' | 'lost';

export class RunMachine extends SimulatedMachine {
  /** The groups of its present process. */
  store: KvStore | undefined;
  /** Of its present process, by tablet. */
  readonly engines = new Map<number, StorageEngine>();
  /** The names of their directories. */
  readonly directories = new Map<number, string>();
  state: MachineState = 'down';
  isPaused = false;
  starts = 0;
  /** Its disk was damaged: the node may refuse to go on, also after restarts. */
  isDamaged = false;
  /** The disk itself failed; it was no operator. */
  hasBrokenDisk = false;
  /** Its operator has removed the node, and lets it join again. */
  joinsAgain = false;
  /** Its disk is an empty one. */
  isReplaced = false;
  /** Its operator has switched it off: nobody starts it. */
  isOff = false;
  /** What an operator has done to its node.json. */
  edit: NodeJsonEdit | undefined;
  /** It had no data folder yet when its node.json was edited. */
  beganWrong = false;
  /** The edit that was in force at its last start. */
  startedWith: NodeJsonEdit | undefined;
  /** It belongs to another cluster of the same name, whose history is not compared. */
  isForeign = false;
  /** Operations of its disk have failed since its start: the node may refuse to go on until it is restarted. */
  hasFailedOperations = false;
  readonly condition: DiskCondition;
  /** Where its node.json differs from the others' when it is started next. */
  settings: OwnSettings = {};
  /** While its state machine is held: what continues on `releaseApply`. */
  heldApplies: (() => void)[] | undefined;

  constructor(id: number, maxDiskMs: number, host?: string) {
    super(id, host);
    this.condition = healthyDisk(maxDiskMs);
  }

  /** Of its replica of a tablet; undefined while it takes no part there. */
  statusOf(tablet: number): ReplicaStatus | undefined {
    const replica =
      this.state === 'up' || this.state === 'closing' ? this.store?.group(tablet)?.replica : undefined;
    if (!replica) return undefined;
    const { role, term, leader, appliedIndex, lastIndex } = replica;
    const { voters, outgoing, learners, learnersNext, index } = replica.configuration;
    return {
      ...{ role, term, leader, appliedIndex, lastIndex, voters, outgoing },
      learners: [...learners, ...learnersNext],
      configurationIndex: index,
    };
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
