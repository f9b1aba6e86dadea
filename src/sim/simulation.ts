/**
 * One run: a cluster under load has the faults that its seed has chosen. Then all faults end, and three things must
 * hold: the cluster makes progress, its replicas become equal, and the clients' history is correct. The same seed and
 * commit give the same run.
 */

import type { RaftreeClient } from '../client/client.js';
import { areConverged, checkAtRest, unsettledPart } from './at-rest.js';
import { EarlyMistakes } from './nemesis/early-mistakes.js';
import { Merges } from './nemesis/merges.js';
import { Mistakes } from './nemesis/mistakes.js';
import { Moves } from './nemesis/moves.js';
import { Nemesis } from './nemesis/nemesis.js';
import { Operator } from './nemesis/operator.js';
import { Splits } from './nemesis/splits.js';
import { Strangers } from './nemesis/strangers.js';
import { Coverage } from './rules/coverage.js';
import type { Fail } from './rules/fail.js';
import { History } from './rules/history.js';
import { callsAbout, checkHistory } from './rules/history-rules.js';
import { checkRedis } from './rules/redis-rules.js';
import { toText } from './rules/trace.js';
import { DATA_DIRECTORY } from './run/node-json.js';
import { useProbe } from './run/probes.js';
import { RunCluster } from './run/run-cluster.js';
import type { FaultName } from './setting/fault-names.js';
import { type Profile, settingOf, undisturbed } from './setting/setting.js';
import { type Schedule, Stage } from './stage.js';
import { RedisClients } from './workload/redis-clients.js';
import { Watchers } from './workload/watchers.js';
import { Whims } from './workload/whims.js';
import { Workload } from './workload/workload.js';
import { SeededRandom } from './world/seeded-random.js';

export interface RunOptions {
  readonly seed: number;
  readonly profile?: Profile;
  /** In place of the faults that the seed would choose. */
  readonly faults?: readonly FaultName[];
  /** In place of random faults. */
  readonly schedule?: Schedule | undefined;
  /** Receives every event as a line of JSON. */
  readonly sink?: (line: string) => void;
}

export interface RunResult {
  readonly seed: number;
  /** The broken rule, with a report; undefined if all rules held. */
  readonly failure: { readonly rule: string; readonly detail: string; readonly report: string } | undefined;
  readonly coverage: Readonly<Record<string, number>>;
  readonly virtualMs: number;
  readonly events: number;
  readonly calls: number;
  /** The steps that the schedule reached. */
  readonly reached: readonly string[];
}

/** A source of faults. */
interface Troubles {
  run(): Promise<void>;
  stop(): void;
}

interface Clients {
  readonly workload: Workload;
  readonly watchers: Watchers;
  readonly redisClients: RedisClients;
}

/** Bounds of the liveness phase, in virtual time: far more than a healthy cluster needs. */
const EARLY_MS = 60_000;
const START_MS = 30_000;
const CALLS_END_MS = 30_000;
/** A node is silent as long as an earlier process promised, with timeouts that an operator had set too long: 43 s. */
const PROGRESS_MS = 75_000;
const CONVERGENCE_MS = 60_000;
const WATCHES_MS = 30_000;
/** Beside a damaged disk: what is under way then ends by itself, or never. */
const UNDER_WAY_MS = 3000;
const LOOK_EVERY_MS = 10;
const REPORTED_EVENTS = 80;
/** A schedule that takes longer is stuck. */
const SCHEDULE_MS = 60_000;

export async function simulate(options: RunOptions): Promise<RunResult> {
  const { seed, profile = 'all', faults = [], schedule, sink } = options;
  const random = new SeededRandom(seed);
  const chosen = settingOf(random, new SeededRandom(~seed >>> 0), profile, faults);
  const setting = schedule?.setting(undisturbed(chosen)) ?? chosen;
  const coverage = new Coverage();
  const cluster = new RunCluster(setting, random, coverage, sink);
  const history = new History();
  const workloadSeed = random.uint32();
  const nemesis = new Nemesis(cluster, new SeededRandom(random.uint32()));
  const operator = new Operator(cluster, new SeededRandom(random.uint32()));
  const whims = new Whims(
    new SeededRandom(~workloadSeed >>> 0),
    coverage,
    cluster.world.scheduler,
    setting.workload.isHasty,
  );
  const workload = new Workload(cluster, new SeededRandom(workloadSeed), history, setting.workload, whims);
  const stage = new Stage(cluster, new SeededRandom(random.uint32()), workload);
  const mistakes = new Mistakes(cluster, new SeededRandom(random.uint32()));
  const strangers = new Strangers(cluster, new SeededRandom(random.uint32()));
  const earlyMistakes = new EarlyMistakes(cluster, new SeededRandom(random.uint32()), mistakes);
  const redisClients = new RedisClients(cluster, new SeededRandom(~workloadSeed >>> 1));
  const watchers = new Watchers(cluster, new SeededRandom(random.uint32()), setting.workload);
  const splits = new Splits(cluster, new SeededRandom(random.uint32()));
  const moves = new Moves(cluster, new SeededRandom(random.uint32()));
  const merges = new Merges(cluster, new SeededRandom(random.uint32()));
  const troubles: Troubles[] = schedule
    ? [{ run: () => stage.play(schedule), stop: () => stage.stop() }]
    : [nemesis, operator, mistakes, strangers, splits, moves, merges];
  useProbe(cluster.probe);
  try {
    const heal = () => {
      mistakes.correct();
      nemesis.heal();
    };
    await phases(
      cluster,
      earlyMistakes,
      { workload, watchers, redisClients },
      heal,
      troubles,
      schedule ? SCHEDULE_MS : setting.durationMs,
    );
    if (!cluster.broken) {
      const fail: Fail = (rule, detail) => cluster.fail(rule, detail);
      checkHistory(history, cluster.references, fail, setting.workload.hasLeaseReads);
      checkRedis(redisClients.calls, cluster.references, fail);
    }
  } finally {
    cluster.isSupervised = false;
    cluster.copies.end();
    for (const machine of cluster.machines) cluster.kill(machine, 'end');
    useProbe(undefined);
  }
  const { references } = cluster;
  if (references.tablets.length > 1) coverage.count('clusters of several tablets');
  coverage.count(
    'retries deduplicated',
    references.sum(({ sessions }) => sessions.repeated),
  );
  coverage.count(
    'writes out of order',
    references.sum(({ sessions }) => sessions.outOfOrder),
  );
  coverage.count(
    'sessions dropped',
    references.sum(({ sessions }) => sessions.dropped),
  );
  coverage.count(
    'lives ended',
    references.sum(({ livesEnded }) => livesEnded),
  );
  coverage.count(
    'tablets thawed',
    references.sum(({ thaws }) => thaws),
  );
  const { broken, trace, nowMs } = cluster;
  return {
    seed,
    failure: broken && { ...broken, report: report(options, cluster, history) },
    coverage: coverage.toObject(),
    virtualMs: nowMs,
    events: trace.count,
    calls: history.calls.length,
    reached: stage.reached,
  };
}

async function phases(
  cluster: RunCluster,
  earlyMistakes: EarlyMistakes,
  { workload, watchers, redisClients }: Clients,
  heal: () => void,
  troubles: readonly Troubles[],
  durationMs: number,
): Promise<void> {
  const early = earlyMistakes.start();
  if (early && !(await settles(cluster, EARLY_MS, early, 'operators correct what they did before the birth')))
    return;
  if (!(await reaches(cluster, START_MS, () => cluster.isComplete, 'the cluster starts'))) return;

  workload.start();
  redisClients.start();
  watchers.start();
  let crash: unknown;
  let isOver = false;
  void Promise.all(troubles.map((trouble) => trouble.run())).then(
    () => {
      isOver = troubles.length === 1;
    },
    (error: unknown) => {
      crash = error;
    },
  );
  await cluster.world.scheduler.runUntil(
    () => cluster.broken !== undefined || crash !== undefined || isOver,
    cluster.nowMs + durationMs,
  );
  if (crash !== undefined) throw crash;
  if (cluster.broken) return;

  if (new Set(cluster.references.tablets.map((tablet) => cluster.leaderOf(tablet))).size > 1)
    cluster.coverage.count('leaders of tablets on different nodes');
  for (const trouble of troubles) trouble.stop();
  heal();
  watchers.hurry();
  const ended = Promise.all([workload.stop(), redisClients.stop()]);
  if (
    !(await settles(cluster, CALLS_END_MS, ended, 'every call of the clients ends', 'even without a quorum'))
  )
    return;
  const client = cluster.client(PROGRESS_MS, { env: cluster.host('c0').env });
  const progress = Promise.all(
    cluster.references.tablets
      .map((tablet) => cluster.references.lastKeyOf(tablet))
      .map((key) => client.put(key, `last ${key};`).then(() => client.get(key))),
  );
  if (!(await settles(cluster, PROGRESS_MS, progress, 'the healed cluster takes a write and a read'))) return;
  const converged = () => areConverged(cluster);
  if (
    !(await reaches(cluster, CONVERGENCE_MS, converged, 'all members with whole disks hold the same state'))
  )
    return;
  // A tablet that was split goes when all members have its parts.
  const isWhole = cluster.machines.every(({ isDamaged, state }) => !isDamaged && state !== 'lost');
  const areGone = () =>
    cluster.references.ended.every((tablet) =>
      cluster.machines.every(
        ({ store, disk }) =>
          !store?.group(tablet) && disk.files(`${DATA_DIRECTORY}/groups/${tablet}`).length === 0,
      ),
    );
  if (isWhole && !(await reaches(cluster, CONVERGENCE_MS, areGone, 'tablets that have ended go'))) return;
  const told = () => `watchers are told all changes (${watchers.waiting})`;
  if (!(await reaches(cluster, WATCHES_MS, () => watchers.isComplete, told))) return;
  if (!(await settles(cluster, WATCHES_MS, watchers.end(), 'all watches end'))) return;
  // Last of all: the balancer may have begun something meanwhile.
  const isSettled = () => unsettledPart(cluster) === undefined && converged() && areGone();
  const what = () => `the map is what the logs say: ${unsettledPart(cluster)}`;
  if (isWhole && !(await reaches(cluster, CONVERGENCE_MS, isSettled, what))) return;
  // With a damaged disk something may be under way for ever.
  if (!isWhole)
    await cluster.world.scheduler.runUntil(nowAndThen(cluster, isSettled), cluster.nowMs + UNDER_WAY_MS);
  const atRest = async () => {
    while (!(await checkAtRest(cluster, isSettled()))) await cluster.sleep(LOOK_EVERY_MS);
  };
  const rest = Promise.all([atRest(), checkScans(cluster, client)]);
  await settles(cluster, PROGRESS_MS, rest, 'the healed cluster is read');
}

/** A client that scans is given what the tablets hold. Keys whose lives may end meanwhile do not count. */
async function checkScans(cluster: RunCluster, client: RaftreeClient): Promise<void> {
  const { references } = cluster;
  const expected = references.keys
    .sort()
    .map((key) => ({ key, state: references.ofKey(key).stateAt(key, Number.POSITIVE_INFINITY) }))
    .filter(({ state }) => state && state.deadlineMs === undefined)
    .map(({ key, state }) => `${key} ${state?.version} ${state?.value.toString('latin1')}`);
  for (const reverse of [false, true]) {
    const found: string[] = [];
    for await (const { key, value, version, remainingMs } of client.scan({ reverse }))
      if (remainingMs === undefined) found.push(`${key} ${version} ${value.toString('latin1')}`);
    if (reverse) found.reverse();
    const at = expected.findIndex((entry, i) => found[i] !== entry);
    if (at < 0 && found.length === expected.length) continue;
    const [wanted, told] = [expected[at], found[at < 0 ? expected.length : at]];
    const how = reverse ? 'in reverse' : 'in order';
    cluster.fail(
      'true scans',
      `a scan ${how} gives ${told?.slice(0, 60)} where ${wanted?.slice(0, 60)} is due`,
    );
  }
}

/** To look at all nodes after each event is too much work. */
function nowAndThen(cluster: RunCluster, condition: () => boolean): () => boolean {
  let nextLookMs = 0;
  return () => {
    if (cluster.nowMs < nextLookMs) return false;
    nextLookMs = cluster.nowMs + LOOK_EVERY_MS;
    return condition();
  };
}

/** Runs until the condition holds. If it does not within the bound, the rule `liveness` is broken. */
async function reaches(
  cluster: RunCluster,
  withinMs: number,
  condition: () => boolean,
  what: string | (() => string),
  when: 'given a quorum' | 'even without a quorum' = 'given a quorum',
): Promise<boolean> {
  const untilMs = cluster.nowMs + withinMs;
  const isReached = nowAndThen(cluster, condition);
  await cluster.world.scheduler.runUntil(() => cluster.broken !== undefined || isReached(), untilMs);
  if (cluster.broken) return false;
  if (condition()) return true;
  // After a change of unknown outcome the group may depend on the damaged machine.
  if (when === 'given a quorum' && hasLostItsQuorum(cluster)) cluster.coverage.count('quorums lost');
  else
    cluster.fail(
      'liveness',
      `it did not happen within ${withinMs / 1000} s that ${typeof what === 'string' ? what : what()}: ${standing(cluster)}`,
    );
  return false;
}

/**
 * Whether in a tablet too few voters with whole disks are left, in the newest configuration that one of them knows,
 * because of a broken disk. Operators' mistakes are no excuse: the cluster must not let them leave too few.
 */
function hasLostItsQuorum({ machines, references }: RunCluster): boolean {
  return references.groups.some((tablet) => {
    const whole = machines.filter(({ isDamaged }) => !isDamaged);
    const statuses = whole.flatMap((machine) => machine.statusOf(tablet) ?? []);
    const newest = statuses.sort((a, b) => b.appliedIndex - a.appliedIndex)[0];
    if (!newest) return false;
    return [newest.voters, newest.outgoing].some((voters) => {
      const isBroken = machines.some(({ id, hasBrokenDisk }) => hasBrokenDisk && voters.includes(id));
      return isBroken && 2 * whole.filter(({ id }) => voters.includes(id)).length <= voters.length;
    });
  });
}

async function settles(
  cluster: RunCluster,
  withinMs: number,
  promise: Promise<unknown>,
  what: string,
  when?: Parameters<typeof reaches>[4],
): Promise<boolean> {
  let isDone = false;
  let problem: unknown;
  promise.then(
    () => {
      isDone = true;
    },
    (error: unknown) => {
      problem = error;
      isDone = true;
    },
  );
  const went = await reaches(cluster, withinMs, () => isDone, what, when);
  if (went && problem !== undefined) {
    if (hasLostItsQuorum(cluster)) cluster.coverage.count('quorums lost');
    else cluster.fail('liveness', `${what}: ${String(problem)}`);
    return false;
  }
  return went;
}

function report({ seed, schedule }: RunOptions, cluster: RunCluster, history: History): string {
  const { broken, trace, setting, machines } = cluster;
  const key = /\bk\d+$/.exec(broken?.detail ?? '')?.[0];
  const said = key === undefined ? [] : callsAbout(history, key).slice(-60);
  return [
    `seed ${seed}: broken rule: ${broken?.rule}`,
    `  ${broken?.detail}`,
    `setting: ${JSON.stringify(setting)}`,
    `machines: ${machines.map(({ host, state, isDamaged }) => `${host} ${state}${isDamaged ? ' (damaged)' : ''}`).join(', ')}`,
    ...(said.length > 0 ? [`the last that was said about ${key}:`] : []),
    ...said.map((call) => {
      const i = call.operations.findIndex((operation) => operation.key === key);
      const { kind, value } = call.operations[i] ?? { kind: '', value: '' };
      const times = `${call.calledMs.toFixed(3)} to ${call.returnedMs.toFixed(3)}`;
      const { outcome } = call;
      const told = outcome?.type === 'ok' ? JSON.stringify(outcome.answers[i]).slice(0, 200) : outcome?.type;
      return `  ${times} ${call.client} ${kind} ${value.slice(0, 24)} -> ${told}`;
    }),
    'the last events:',
    ...trace
      .last(REPORTED_EVENTS, ({ what }) => !/^(?:disk|net)\./.test(what))
      .map((event) => `  ${toText(event)}`),
    `again: npm run sim -- --seed ${seed} ${schedule === undefined ? '' : `--schedule ${schedule.name} `}--trace FILE`,
  ].join('\n');
}

function standing({ machines, references }: RunCluster): string {
  return references.all
    .map(({ tablet, lastIndex }) => {
      const each = machines.map((machine) => {
        const { role, appliedIndex, lastIndex: last, voters, learners } = machine.statusOf(tablet) ?? {};
        const members = `${voters?.join()} + ${learners?.join()}`;
        return `${machine.host} ${machine.state} ${role} applied ${appliedIndex} of ${last}, members ${members}`;
      });
      return `${lastIndex} entries of tablet ${tablet} are applied; ${each.join('; ')}`;
    })
    .join('\n');
}
