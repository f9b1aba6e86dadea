/**
 * Two tablets are merged while a leader is cut off, a disk is full, a follower lags, all lose their power, or
 * another merge is ordered. Other stores with tablets have lost data or served old one there (ARCHITECTURE.md, Tests).
 */
import { RaftreeClientError } from '../../../src/client/client-error.js';
import { encodeMergeStep } from '../../../src/kv/merge.js';
import { membersOfMerge } from '../../../src/meta/merges.js';
import type { MergeIntent } from '../../../src/meta/records.js';
import { placementByHash, placementByRange } from '../../../src/placement/placement.js';
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import type { Setting } from '../../../src/sim/setting/setting.js';
import { type Schedule, type Stage, threeQuickNodes } from '../../../src/sim/stage.js';

const CALL_MS = 10_000;
const BETWEEN_CALLS_MS = 100;
const LEASE_READS = 10;
const LEASE_READ_MS = 50;

/** A merge that is not decided is given up after twice the longest election timeout. */
function setting(more: (chosen: Setting) => Partial<Setting> = () => ({})): Schedule['setting'] {
  return (chosen) => {
    const { keys, maxValueBytes } = chosen.workload;
    const workload = { ...chosen.workload, keys: Math.max(4, keys), clients: 3, maxThinkMs: 30 };
    const quick: Setting = {
      ...threeQuickNodes(chosen),
      placement: keys % 2 === 0 ? placementByHash(3) : placementByRange(['k2', 's1']),
      raft: { heartbeatMs: 50, electionTimeoutMinMs: 300, electionTimeoutMaxMs: 600 },
      ...{ storage: {}, limits: {}, maxAppendBytes: 1024 * 1024, maxSessions: 10_000 },
      // Orders may come late, and clients wait while a tablet is frozen.
      mergeEveryMs: 1000,
      workload: { ...workload, maxValueBytes: Math.min(maxValueBytes, 800) },
    };
    return { ...quick, ...more(quick) };
  };
}

/** What the schedules do with the first two tablets. */
class Merging {
  readonly #stage: Stage;
  readonly left: number;
  readonly right: number;
  #hosts = 0;

  constructor(stage: Stage) {
    const [left = 0, right = 0] = stage.cluster.references.tablets;
    this.#stage = stage;
    this.left = left;
    this.right = right;
  }

  /** The code of the answer; `ok`. */
  async order(left = this.left, right = this.right): Promise<string> {
    const { cluster } = this.#stage;
    const { env } = cluster.host(`merger${++this.#hosts}`);
    const client = cluster.client(CALL_MS, { env });
    try {
      await client.mergeTablets(left, right);
      return 'ok';
    } catch (error) {
      if (!(error instanceof RaftreeClientError)) throw error;
      return error.code;
    } finally {
      await client.close();
    }
  }

  /** Orders it again and again, until the log of the left one has it. */
  async untilMerged(left = this.left, right = this.right): Promise<boolean> {
    const { references } = this.#stage.cluster;
    const isMerged = () => !references.tablets.includes(left);
    let isOver = false;
    const ordering = (async () => {
      while (!isOver && !isMerged()) {
        await this.order(left, right);
        await this.#stage.sleep(BETWEEN_CALLS_MS);
      }
    })();
    const isDone = await this.#stage.until(isMerged);
    isOver = true;
    await ordering;
    return isDone;
  }

  get intent(): MergeIntent | undefined {
    const intent = this.#stage.cluster.leader?.node?.meta?.state.intents.get(this.left);
    return intent?.type === 'merge' ? intent : undefined;
  }

  /** Orders it again and again, until the map has it in this stage. */
  async reaches(wanted: MergeIntent['stage']): Promise<boolean> {
    const isThere = () => this.intent?.stage === wanted;
    let isOver = false;
    void (async () => {
      while (!isOver) {
        await this.order();
        await this.#stage.sleep(BETWEEN_CALLS_MS);
      }
    })();
    const isReached = await this.#stage.until(isThere);
    isOver = true;
    return isReached;
  }

  isFrozenOn(machines: readonly RunMachine[]): boolean {
    return machines.every(({ store }) =>
      [this.left, this.right].every((id) => store?.group(id)?.stateMachine.freeze !== undefined),
    );
  }

  /** Both were thawed, and nothing is under way. */
  get isGivenUp(): boolean {
    const { leader, references } = this.#stage.cluster;
    return leader?.node?.meta?.state.intents.size === 0 && references.tablets.includes(this.left);
  }

  /** One that leads neither of the two. */
  get follower(): RunMachine | undefined {
    const others = this.#stage.shuffledFounders(...this.leadersOf(this.left, this.right));
    // Nodes are asked in this order.
    return others.sort((a, b) => a.id - b.id)[0];
  }

  leadersOf(...tablets: readonly number[]): RunMachine[] {
    return tablets.flatMap((id) => this.#stage.cluster.leaderOf(id) ?? []);
  }

  isHereAt({ store }: RunMachine): boolean {
    const { tablets } = this.#stage.cluster.references;
    return tablets.every((id) => store?.group(id)?.failure === undefined && store?.group(id) !== undefined);
  }
}

/** tikv #8034: the lease of a source was read by while the target served. */
export const isolatedMergeLeader: Schedule = {
  name: 'isolatedMergeLeader',
  steps: ['decided', 'merged without a leader', 'it has come along'],
  setting: setting((chosen) => ({ workload: { ...chosen.workload, hasLeaseReads: true } })),
  run: async (stage) => {
    const { cluster, random } = stage;
    const merging = new Merging(stage);
    if (!(await merging.reaches('merging'))) return;
    stage.mark('decided');
    const tablet = random.chance(0.7) ? merging.right : merging.left;
    const leader = cluster.leaderOf(tablet);
    const key = Buffer.from(cluster.references.lastKeyOf(tablet));
    if (!leader) return;
    // Its clients reach it.
    stage.isolate(leader);
    if (!(await stage.until(() => cluster.references.merges > 0))) return;
    stage.mark('merged without a leader');
    const direct = cluster.direct(cluster.host('reader').env);
    for (let i = 0; i < LEASE_READS; i++) {
      const get = { type: 'get', tablet, consistency: 'lease', key, omitValue: false } as const;
      const answer = await direct.ask(leader.endpoint, get, LEASE_READ_MS);
      if (typeof answer !== 'string' && answer.type === 'getReply')
        cluster.fail('a tablet answers until it is merged', `${leader.host} reads tablet ${tablet}`);
    }
    await direct.close();
    stage.mendAll();
    if (await stage.until(() => merging.isHereAt(leader))) stage.mark('it has come along');
  },
};

/** tikv PR 5868: a restart forgot that a tablet was being merged. */
export const frozenRestart: Schedule = {
  name: 'frozenRestart',
  steps: ['frozen', 'decided', 'merged'],
  // After a kill the tree has what its own log has.
  setting: setting(() => ({ storage: { treeLog: 'buffered' } })),
  run: async (stage) => {
    const { cluster, random } = stage;
    const merging = new Merging(stage);
    void merging.order();
    const isFrozen = () => merging.intent?.stage === 'freezing' && merging.isFrozenOn(cluster.founders);
    if (!(await stage.until(isFrozen))) return;
    stage.mark('frozen');
    const isKill = random.chance(0.5);
    for (const machine of cluster.founders) {
      if (isKill) cluster.kill(machine);
      else cluster.cutPower(machine);
    }
    const isDecided = () => cluster.references.merges > 0 || merging.isGivenUp;
    if (!(await stage.until(isDecided))) return;
    stage.mark('decided');
    if (await merging.untilMerged()) stage.mark('merged');
  },
};

/** A disk is full before the freeze, and then before the merge. */
export const fullMerge: Schedule = {
  name: 'fullMerge',
  steps: ['given up', 'decided', 'merged', 'made when there was room'],
  setting: setting(),
  run: async (stage) => {
    const { cluster } = stage;
    const merging = new Merging(stage);
    const [first] = stage.shuffledFounders(...merging.leadersOf(0));
    if (!first) return;
    if (!(await merging.reaches('freezing'))) return;
    first.condition.isFull = true;
    if (!(await stage.until(() => merging.intent?.stage === 'ending' || merging.isGivenUp))) return;
    stage.mark('given up');
    first.condition.isFull = false;
    if (!(await stage.until(() => merging.isGivenUp))) return;
    if (!(await merging.reaches('merging'))) return;
    stage.mark('decided');
    const [second] = stage.shuffledFounders(...merging.leadersOf(0, merging.left));
    if (!second) return;
    second.condition.isFull = true;
    if (!(await stage.until(() => cluster.references.merges > 0))) return;
    stage.mark('merged');
    await stage.sleep(500);
    second.condition.isFull = false;
    if (await stage.until(() => merging.isHereAt(second))) stage.mark('made when there was room');
  },
};

/** A follower is away when the tablets are frozen, and gets that, and what was before it, late. */
export const frozenLaggard: Schedule = {
  name: 'frozenLaggard',
  steps: ['frozen without it', 'merged', 'it has come along'],
  setting: setting(),
  run: async (stage) => {
    const { cluster, random } = stage;
    const merging = new Merging(stage);
    void merging.order();
    if (!(await stage.until(() => merging.intent !== undefined))) return;
    const away = merging.follower;
    if (!away) return;
    // Nobody waits for an answer of a node that is down. One that leads the map is replaced first.
    const { electionTimeoutMaxMs } = cluster.setting.raft;
    const withinMs = electionTimeoutMaxMs * (cluster.leader === away ? 10 : 1);
    away.isOff = true;
    cluster.kill(away);
    const others = cluster.founders.filter((machine) => machine !== away);
    if (!(await stage.until(() => merging.isFrozenOn(others), withinMs))) return;
    stage.mark('frozen without it');
    await stage.sleep(random.float() * 100);
    away.isOff = false;
    cluster.turnOn(away);
    if (!(await merging.untilMerged())) return;
    stage.mark('merged');
    if (await stage.until(() => merging.isHereAt(away))) stage.mark('it has come along');
  },
};

/** Two merges that share a tablet are ordered at once; then what is left is merged. */
export const overlappingMerges: Schedule = {
  name: 'overlappingMerges',
  steps: ['one of them', 'all'],
  setting: setting(),
  run: async (stage) => {
    const { cluster } = stage;
    const { references } = cluster;
    const merging = new Merging(stage);
    const [one = 0, other = 0, third = 0] = references.tablets;
    const answers = await Promise.all([merging.order(one, other), merging.order(other, third)]);
    const isSettled = () => cluster.leader?.node?.meta?.state.intents.size === 0;
    if (!(await stage.until(isSettled)) || references.merges !== 1) return;
    if (answers.filter((answer) => answer === 'ok').length === 1) stage.mark('one of them');
    const [left = 0, right = 0] = references.tablets;
    if (await merging.untilMerged(left, right)) stage.mark('all');
  },
};

/** tikv #6460: a merge that was given up was taken for the next one. */
export const lateFreeze: Schedule = {
  name: 'lateFreeze',
  steps: ['given up', 'the freeze comes late', 'merged'],
  setting: setting(),
  run: async (stage) => {
    const { cluster } = stage;
    const merging = new Merging(stage);
    void merging.order();
    if (!(await stage.until(() => merging.intent !== undefined))) return;
    const { intent } = merging;
    const away = merging.follower;
    if (!away || !intent) return;
    away.isOff = true;
    cluster.kill(away);
    const tablets = [merging.left, merging.right];
    const isOver = (tablet: number) => cluster.references.of(tablet).isOver(intent.attempt);
    if (!(await stage.until(() => tablets.every(isOver) && merging.isGivenUp))) return;
    stage.mark('given up');
    const body = encodeMergeStep({
      ...{ type: 'freeze', attempt: intent.attempt, members: membersOfMerge(intent) },
    });
    const answers = await Promise.all(
      tablets.map(async (tablet) => {
        const replica = cluster.leaderOf(tablet)?.store?.group(tablet)?.replica;
        return (await replica?.proposeTablet(body))?.result.type;
      }),
    );
    if (answers.every((answer) => answer !== undefined)) stage.mark('the freeze comes late');
    // It gets both freezes and the thaw between them together with the next attempt.
    away.isOff = false;
    cluster.turnOn(away);
    if (await merging.untilMerged()) stage.mark('merged');
  },
};

export const MERGE_WINDOWS: readonly Schedule[] = [
  isolatedMergeLeader,
  frozenRestart,
  fullMerge,
  frozenLaggard,
  overlappingMerges,
  lateFreeze,
];
