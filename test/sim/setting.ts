/** What a seed decides before anything happens: the cluster, its limits, its load, and which faults it will meet. */
import type { SeededRandom } from '../../src/env/sim/seeded-random.js';
import type { LsmOptions } from '../../src/lsm/options.js';
import type { NodeConfig } from '../../src/server/config.js';
import { FAULTS, type FaultName } from './fault-names.js';
import type { WorkloadOptions } from './workload.js';

export interface Setting {
  readonly nodes: number;
  readonly minDelayMs: number;
  readonly maxDelayMs: number;
  readonly raft: NodeConfig['raft'];
  readonly storage: Partial<NodeConfig['storage']>;
  readonly tree: Partial<LsmOptions>;
  readonly workload: WorkloadOptions;
  /** How long faults happen. */
  readonly durationMs: number;
  /** The mean time from one fault to the next. */
  readonly faultEveryMs: number;
  readonly faults: readonly FaultName[];
}

export const PROFILES = ['all', 'calm', 'network', 'crash', 'disk'] as const;
export type Profile = (typeof PROFILES)[number];

const KIB = 1024;

/** Swarm testing: each seed meets some of the faults, so that a frequent one does not always hide a rare one. */
export function settingOf(random: SeededRandom, profile: Profile): Setting {
  const heartbeatMs = random.pick([50, 100, 200]);
  const electionTimeoutMinMs = heartbeatMs * random.between(4, 8);
  const possible = FAULTS.filter((fault) => profile === 'all' || fault.profile === profile);
  const share = random.pick([0.25, 0.5, 0.8]);
  return {
    nodes: random.chance(0.7) ? 3 : 5,
    minDelayMs: 0.2,
    maxDelayMs: random.pick([1, 3, 15]),
    raft: {
      heartbeatMs,
      electionTimeoutMinMs,
      electionTimeoutMaxMs: electionTimeoutMinMs * 2,
    },
    storage: {
      treeLog: random.chance(0.3) ? 'buffered' : 'none',
      writeBufferBytes: random.pick([8, 16, 48]) * KIB,
      blockCacheBytes: random.pick([0, 64]) * KIB,
      raftSegmentBytes: random.pick([16, 48]) * KIB,
      maxRaftLogBytes: random.pick([48, 128]) * KIB,
    },
    tree: {
      blockBytes: 512,
      level0Trigger: 2,
      level0StopTrigger: random.pick([4, 12]),
      maxFileBytes: 8 * KIB,
      levelBaseBytes: 32 * KIB,
      maxManifestBytes: 4 * KIB,
    },
    workload: {
      clients: random.between(3, 6),
      keys: random.between(2, 8),
      maxThinkMs: random.pick([20, 80, 200]),
      maxValueBytes: random.pick([50, 800, 3000]),
    },
    durationMs: random.between(8_000, 16_000),
    faultEveryMs: random.pick([300, 800, 2000]),
    faults: possible.filter(() => random.chance(share)).map(({ name }) => name),
  };
}
