/** What a seed decides before anything happens: the cluster, its limits, its load, and which faults it will meet. */

import type { LsmOptions } from '../../lsm/options.js';
import { ONE_TABLET, type Placement, placementByHash, placementByRange } from '../../placement/placement.js';
import type { NodeConfig } from '../../server/config.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { FAULTS, type FaultName } from './fault-names.js';

export interface WorkloadOptions {
  readonly clients: number;
  readonly keys: number;
  readonly maxThinkMs: number;
  /** Values are padded up to this. */
  readonly maxValueBytes: number;
  readonly hasLeaseReads: boolean;
  /** Keys get deadlines. */
  readonly hasLives: boolean;
  /** Entries per page of a scan. */
  readonly pageEntries: number;
  /** Some calls are aborted, or have little time. */
  readonly isHasty: boolean;
  /** The most outstanding writes of one session. */
  readonly window: number;
}

export interface Setting {
  /** The first members. */
  readonly nodes: number;
  /** Machines that may become members. */
  readonly spares: number;
  readonly changesMembers: boolean;
  /** How the keys are divided into tablets. */
  readonly placement: Placement;
  /** The mean time between two splits of tablets; 0: there are none. */
  readonly splitEveryMs: number;
  /** The mean time between two orders to merge tablets; 0: there are none. */
  readonly mergeEveryMs: number;
  /** The mean time between two orders to move replicas or to drain nodes; 0: there are none. */
  readonly moveEveryMs: number;
  /** How soon the cluster moves replicas, leaders and votes by itself. */
  readonly balance: Pick<NodeConfig['balance'], 'everyMs' | 'deadAfterMs'>;
  /** Nodes have different settings, and new ones after a restart (`otherSettings`). */
  readonly mixesSettings: boolean;
  /** The mean time between two actions of the operator; 0: there is no operator. */
  readonly operateEveryMs: number;
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  /** The longest operation of a healthy disk. */
  readonly maxDiskMs: number;
  /** The longest time until a machine that is down is started again. */
  readonly maxRestartMs: number;
  /** With this chance the state machine applies a range of entries late, by up to so long. */
  readonly lateApply: { readonly chance: number; readonly maxMs: number };
  readonly raft: Omit<NodeConfig['raft'], 'quietAfterMs'>;
  readonly quietAfterMs: number;
  readonly storage: Partial<NodeConfig['storage']>;
  readonly tree: Partial<LsmOptions>;
  /** Bytes of entries in one append message, and in one range to apply. */
  readonly maxAppendBytes: number;
  readonly maxSessions: number;
  readonly limits: Partial<NodeConfig['limits']>;
  /** The nodes have a cluster secret. */
  readonly hasSecret: boolean;
  /** Clients of Redis write, too. */
  readonly hasRedisClients: boolean;
  readonly workload: WorkloadOptions;
  /** How long faults happen. */
  readonly durationMs: number;
  /** The mean times between two faults, two mistakes of operators, two actions of strangers. */
  readonly faultEveryMs: number;
  readonly mistakeEveryMs: number;
  readonly strangeEveryMs: number;
  readonly faults: readonly FaultName[];
}

export const PROFILES = [
  'all',
  'calm',
  'network',
  'crash',
  'disk',
  'members',
  'mistakes',
  'strangers',
  'splits',
  'moves',
  'merges',
] as const;
export type Profile = (typeof PROFILES)[number];

const KIB = 1024;
const MIB = 1024 * KIB;

/** Damage happens to one machine only where members change. So it is chosen more often there. */
function shareOf(fault: FaultName, share: number, changesMembers: boolean): number {
  if (fault === 'clockJump') return share / 2;
  const isDamage = fault === 'bitFlip' || fault === 'replacedDisk';
  return isDamage && changesMembers ? Math.max(share, 0.6) : share;
}

const isOutsideOfMachines = ({ profile }: { readonly profile: string }) =>
  profile === 'mistakes' || profile === 'strangers';

/**
 * Swarm testing: each seed has only some of the faults, so that frequent faults do not hide rare ones. `aside` is a
 * second source of chance: its draws do not move those of `random`.
 */
export function settingOf(
  random: SeededRandom,
  aside: SeededRandom,
  profile: Profile,
  chosen: readonly FaultName[] = [],
): Setting {
  const heartbeatMs = random.pick([40, 80, 160]);
  const electionTimeoutMinMs = heartbeatMs * random.between(3, 8);
  // With close timeouts candidates compete; with a wide spread one of them is first.
  const electionSpreadMs = random.pick([heartbeatMs, electionTimeoutMinMs / 2, electionTimeoutMinMs]);
  const possible = FAULTS.filter((fault) => !isOutsideOfMachines(fault)).filter(
    (fault) => ['all', 'members', 'splits', 'moves', 'merges'].includes(profile) || fault.profile === profile,
  );
  const share = random.pick([0.25, 0.5, 0.8]);
  const hasOperator =
    profile === 'members' || profile === 'mistakes' || (profile === 'all' && random.chance(0.5));
  const changesMembers = hasOperator && random.chance(0.8);
  const faults =
    chosen.length > 0
      ? chosen
      : possible
          .filter(({ name }) => random.chance(shareOf(name, share, changesMembers)))
          .map(({ name }) => name);
  // Some clusters begin with a single node.
  const nodes = changesMembers && random.chance(0.45) ? 1 : random.chance(0.7) ? 3 : 5;
  const setting = {
    nodes,
    spares: changesMembers ? (nodes === 1 ? 4 : 2) : 0,
    mixesSettings: random.chance(0.3),
    changesMembers,
    operateEveryMs: hasOperator ? random.pick([300, 1000, 3000]) : 0,
    minDelayMs: 0.2,
    maxDelayMs: random.pick([1, 5, 30]),
    maxDiskMs: random.pick([0.5, 5, 40]),
    maxRestartMs: random.pick([200, 1000, 4000]),
    lateApply: random.pick([
      { chance: 0, maxMs: 0 },
      { chance: 0.02, maxMs: 2 * electionTimeoutMinMs },
      { chance: 0.3, maxMs: heartbeatMs },
      { chance: 0.1, maxMs: electionTimeoutMinMs },
    ]),
    raft: {
      heartbeatMs,
      electionTimeoutMinMs,
      electionTimeoutMaxMs: Math.ceil(electionTimeoutMinMs + electionSpreadMs),
    },
    storage: storageOf(random),
    tree: {
      blockBytes: 512,
      level0Trigger: 2,
      level0StopTrigger: random.pick([4, 12]),
      maxFileBytes: 8 * KIB,
      levelBaseBytes: 32 * KIB,
      maxManifestBytes: 4 * KIB,
    },
    maxAppendBytes: random.pick([MIB, MIB, 2 * KIB, 1]),
    maxSessions: random.pick([10_000, 10_000, 4]),
    limits: limitsOf(random),
    workload: {
      clients: random.between(3, 6),
      keys: random.between(2, 8),
      maxThinkMs: random.pick([20, 80, 200]),
      maxValueBytes: random.pick([50, 800, 3000]),
      hasLeaseReads: !faults.includes('clockJump'),
      pageEntries: random.pick([1000, 1, 3]),
      window: random.pick([1024, 1024, 1, 3]),
    },
    durationMs: random.between(8_000, 16_000),
    faultEveryMs: random.pick([150, 500, 1500]),
    hasSecret: random.chance(0.75),
  };
  const settled = {
    ...setting,
    mistakeEveryMs: aside.pick([300, 1000, 2500]),
    strangeEveryMs: aside.pick([300, 1000, 3000]),
    faults: chosen.length > 0 ? chosen : [...faults, ...outsideOfMachines(aside, profile)],
    // Last, so that they move no other draw.
    quietAfterMs: aside.pick([0, 0, 1, heartbeatMs]),
    workload: { ...setting.workload, hasLives: aside.chance(0.4), isHasty: aside.chance(0.4) },
  };
  return { ...withTablets(settled, aside, profile), hasRedisClients: aside.chance(0.25) };
}

/** The keys of string operations. */
export const STRING_KEYS = ['s1', 's2', 's3'] as const;
/** The keys that clients of Redis write. */
export const REDIS_KEYS = ['r1', 'r2'] as const;

/** As in a node.json that does not say it: in the time of a run it does next to nothing. */
const SLOW_BALANCE = { everyMs: 10_000, deadAfterMs: 300_000 } as const;
/** Nodes that are restarted late are replaced. */
export const QUICK_BALANCE = { everyMs: 300, deadAfterMs: 2000 } as const;

/**
 * In half of the seeds there are several tablets. In some of these, tablets are split, and replicas move; only there
 * members change, too.
 */
function withTablets(
  settled: Omit<
    Setting,
    'placement' | 'splitEveryMs' | 'mergeEveryMs' | 'moveEveryMs' | 'balance' | 'hasRedisClients'
  >,
  random: SeededRandom,
  profile: Profile,
): Omit<Setting, 'hasRedisClients'> {
  const { changesMembers, workload } = settled;
  const hasSeveral = random.chance(0.5);
  const placement = severalTablets(random, workload);
  const isAny = profile === 'all' && hasSeveral;
  const isMoved = profile === 'moves' || (isAny && random.chance(0.3));
  const areChanged = isMoved || profile === 'splits' || profile === 'merges';
  const still = { splitEveryMs: 0, mergeEveryMs: 0, moveEveryMs: 0, balance: SLOW_BALANCE };
  if (!areChanged && (changesMembers || !hasSeveral)) return { ...settled, placement: ONE_TABLET, ...still };
  const isSplit = profile === 'splits' || ((isAny || isMoved || profile === 'merges') && random.chance(0.5));
  const splitEveryMs = isSplit ? random.pick([800, 2000, 4000]) : 0;
  if (!isMoved) {
    const isMerged = profile === 'merges' || (isAny && random.chance(0.5));
    const mergeEveryMs = isMerged ? random.pick([500, 1500, 3000]) : 0;
    return { ...settled, placement, ...still, splitEveryMs, mergeEveryMs };
  }
  // Some node has no replica of a tablet, and some may come.
  const nodes = Math.max(3, settled.nodes);
  return {
    ...{ ...settled, nodes, spares: nodes === 3 ? 2 : 1, splitEveryMs },
    placement: { ...placement, replicas: 3 },
    moveEveryMs: random.pick([200, 600, 1200]),
    balance: random.pick([SLOW_BALANCE, QUICK_BALANCE]),
    mergeEveryMs: isAny && random.chance(0.4) ? random.pick([500, 1500]) : 0,
  };
}

function severalTablets(random: SeededRandom, { keys }: WorkloadOptions): Placement {
  const [isByHash, splits] = [random.chance(0.4), random.between(1, 4)];
  if (isByHash) return placementByHash(splits + 1);
  const boundaries = new Set(
    Array.from({ length: splits }, () => random.pick([`k${random.between(2, keys)}`, ...STRING_KEYS])),
  );
  return placementByRange(
    [`k${random.between(2, keys)}`, ...boundaries].sort().filter((each, i, all) => each !== all[i - 1]),
  );
}

/** In half of the seeds there are mistakes, in half of them strangers. */
function outsideOfMachines(random: SeededRandom, profile: Profile): FaultName[] {
  return (['mistakes', 'strangers'] as const).flatMap((kind) => {
    const isMet = profile === 'all' ? random.chance(0.5) : profile === kind;
    const share = random.pick([0.7, 1]);
    const own = FAULTS.filter((fault) => fault.profile === kind && isMet);
    return own.filter(() => random.chance(share)).map(({ name }) => name);
  });
}

/** For a schedule, which brings its own faults. */
export function undisturbed(setting: Setting): Setting {
  const nodes = Math.max(3, setting.nodes);
  // These two may happen before the birth of a cluster, and so before a schedule begins.
  const faults = setting.faults.filter((fault) => fault !== 'editedNodeJson' && fault !== 'emptiedFolder');
  return {
    ...setting,
    nodes,
    faults,
    mixesSettings: false,
    quietAfterMs: 0,
    placement: ONE_TABLET,
    splitEveryMs: 0,
    moveEveryMs: 0,
    balance: SLOW_BALANCE,
    workload: { ...setting.workload, hasLives: false, isHasty: false },
    lateApply: { chance: 0, maxMs: 0 },
    hasRedisClients: false,
  };
}

/** How one node's settings may differ from those of the others. */
export type OwnSettings = Partial<Pick<Setting, 'raft' | 'storage' | 'limits'>>;

/** Every leader's heartbeats are frequent enough for all nodes. */
export function otherSettings({ raft }: Setting, random: SeededRandom): OwnSettings {
  const factor = random.pick([1, 1.5, 2.5]);
  return {
    raft: {
      heartbeatMs: raft.heartbeatMs,
      electionTimeoutMinMs: Math.ceil(raft.electionTimeoutMinMs * factor),
      electionTimeoutMaxMs: Math.ceil(raft.electionTimeoutMaxMs * factor),
    },
    storage: storageOf(random),
    limits: limitsOf(random),
  };
}

function storageOf(random: SeededRandom): Setting['storage'] {
  return {
    treeLog: random.chance(0.3) ? 'buffered' : 'none',
    writeBufferBytes: random.pick([8, 16, 48]) * KIB,
    blockCacheBytes: random.pick([0, 64]) * KIB,
    raftSegmentBytes: random.pick([16, 48]) * KIB,
    maxRaftLogBytes: random.pick([24, 48, 128]) * KIB,
    maxSnapshotLogBytes: 64 * KIB,
    trailingEntries: random.pick([0, 20, 200]),
    snapshotChunkBytes: random.pick([1, 4, 64]) * KIB,
    snapshotBytesPerSecond: random.pick([128, 4096]) * KIB,
  };
}

function limitsOf(random: SeededRandom): Setting['limits'] {
  return random.chance(0.3) ? { maxUncommittedBytes: 4 * KIB, maxPendingRequests: 2 } : {};
}
