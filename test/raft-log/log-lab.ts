/** A Raft log on a simulated disk, and the history that it must be a prefix of after any crash. */
import type { Env, Timers } from '../../src/env/env.js';
import { type Configuration, configurationOf } from '../../src/raft/configuration.js';
import { decodeChange, encodeChange } from '../../src/raft/configuration-codec.js';
import { changedBy } from '../../src/raft/membership.js';
import type { AppendBatch, Entry, HardState } from '../../src/raft/types.js';
import { type GroupLog, RaftLog, type RaftLogOptions } from '../../src/raft-log/raft-log.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { SimFileSystemOptions } from '../../src/sim/world/file-operation.js';
import { roomEnv } from '../../src/sim/world/room-env.js';
import type { SeededRandom } from '../../src/sim/world/seeded-random.js';

const DIRECTORY = '/raft';
export const CONFIGURATION = configurationOf([1, 2, 3], { 2: 'how to reach node 2' });
/** Of every group's state machine, to begin with. */
export const STATE = 'state-0-0';

export function newDisk(): SimDisk {
  const disk = new SimDisk();
  disk.mount().makeDirectory(DIRECTORY);
  return disk;
}

/** The end of a turn comes with the promises: as deterministic as the real one, and a hundred times faster. */
function promptEnv(disk: SimDisk, files: SimFileSystemOptions): Env {
  const env = roomEnv(1, disk, files);
  const timers: Timers = { ...env.timers, endOfTurn: (run) => void Promise.resolve().then(run) };
  return { ...env, timers };
}

export function openLog(
  disk: SimDisk,
  options: Partial<RaftLogOptions> & { readonly files?: SimFileSystemOptions } = {},
): RaftLog {
  const { files = {}, ...rest } = options;
  return RaftLog.open({
    env: promptEnv(disk, files),
    directory: DIRECTORY,
    maxSegmentBytes: 650,
    maxGroupCommitBytes: 4096,
    maxCachedBytes: 1024 * 1024,
    preallocateBytes: 256,
    ...rest,
  });
}

export function segmentsOf(disk: SimDisk): string[] {
  return disk
    .mount()
    .list(DIRECTORY)
    .filter((name) => name.endsWith('.log'))
    .map((name) => `${DIRECTORY}/${name}`);
}

export function entry(term: number, text: string): Entry {
  return { term, kind: 'command', body: Buffer.from(text) };
}

export function batchOf(
  first: number,
  entries: readonly Entry[],
  hardState: Partial<HardState> = {},
): AppendBatch {
  return {
    batch: 0,
    hardState: { term: entries.at(-1)?.term ?? 1, vote: 1, commit: 0, ...hardState },
    first,
    entries,
    snapshot: undefined,
  };
}

/** A group's log as text: base, hard state, entries. */
export function render(group: GroupLog): string {
  const { base, hardState, lastIndex } = group;
  const entries = lastIndex > base.index ? group.entries(base.index + 1, lastIndex) : [];
  const { index, term, configuration, directory } = base;
  return renderState({ hardState, baseIndex: index, baseTerm: term, configuration, directory, entries });
}

interface GroupState {
  readonly hardState: HardState;
  readonly baseIndex: number;
  readonly baseTerm: number;
  readonly configuration: Configuration;
  readonly directory: string;
  readonly entries: readonly Entry[];
}

function renderState(state: GroupState): string {
  const { hardState, baseIndex, baseTerm, configuration, directory, entries } = state;
  const { term, vote, commit } = hardState;
  const shown = entries.map(
    (item) => `${item.term}:${item.kind}:${Buffer.from(item.body).toString('latin1')}`,
  );
  const members = `${configuration.voters} and ${configuration.learners}`;
  return `${directory} after ${baseIndex}/${baseTerm} of ${members}; term ${term} vote ${vote} commit ${commit}; ${shown.join(' ')}`;
}

const FRESH: GroupState = {
  hardState: { term: 0, vote: 0, commit: 0 },
  baseIndex: 0,
  baseTerm: 0,
  configuration: CONFIGURATION,
  directory: STATE,
  entries: [],
};

export interface ScriptOptions {
  readonly steps: number;
  readonly maxBodyBytes: number;
  /** How often a step is a snapshot that replaces the log; 0. */
  readonly installs?: number;
  /** How often a step is not of the first group; by default all groups have as many. */
  readonly others?: number;
}

/**
 * A random life of several groups that share a log: batches that append or replace, votes, commits, cuts and, if asked
 * for, snapshots, many of them under way at once. Every step has a number; `states[n]` is what the groups are after the
 * first n steps.
 */
export class Script {
  readonly #log: RaftLog;
  readonly #random: SeededRandom;
  readonly #options: ScriptOptions;
  readonly #now: Map<number, GroupState>;
  readonly states: string[] = [];
  /** Steps begun. */
  begun = 0;
  /** The first this many steps are acknowledged. */
  acknowledged = 0;

  constructor(log: RaftLog, groups: readonly number[], random: SeededRandom, options: ScriptOptions) {
    this.#log = log;
    this.#random = random;
    this.#options = options;
    this.#now = new Map(groups.map((id) => [id, FRESH]));
    this.states.push(this.#render());
  }

  async run(): Promise<void> {
    let running: Promise<void>[] = [];
    for (let step = 0; step < this.#options.steps; step++) {
      const id = this.#pick();
      if (this.#random.chance(this.#options.installs ?? 0)) running.push(this.#install(id));
      else running.push(this.#random.chance(0.15) ? this.#compact(id) : this.#append(id));
      const pause = this.#random.float();
      if (pause < 0.3) {
        await Promise.all(running);
        running = [];
      } else if (pause < 0.6) {
        for (let turns = this.#random.between(1, 12); turns > 0; turns--) await Promise.resolve();
      }
    }
    await Promise.all(running);
  }

  #pick(): number {
    const groups = [...this.#now.keys()];
    const { others } = this.#options;
    if (others === undefined) return this.#random.pick(groups);
    return this.#random.chance(others) ? this.#random.pick(groups.slice(1)) : (groups[0] ?? 0);
  }

  #append(id: number): Promise<void> {
    const random = this.#random;
    const state = this.#stateOf(id);
    const { baseIndex, hardState } = state;
    const last = baseIndex + state.entries.length;
    const replaces = random.chance(0.2) && last > hardState.commit;
    const term = hardState.term + (replaces || random.chance(0.1) ? 1 : 0);
    const first = replaces ? random.between(Math.max(hardState.commit, baseIndex) + 1, last) : last + 1;
    const entries = this.#entries(id, term, random.between(replaces ? 1 : 0, 3));
    const kept = entries.length > 0 ? state.entries.slice(0, first - 1 - baseIndex) : state.entries;
    const next: GroupState = {
      ...state,
      entries: [...kept, ...entries],
      hardState: {
        term,
        vote: random.between(0, 3),
        // It often stays behind, so that a snapshot finds a tail that is not committed.
        commit: random.chance(0.5)
          ? hardState.commit
          : random.between(hardState.commit, Math.max(hardState.commit, first - 1)),
      },
    };
    return this.#step(id, next, () =>
      this.#groupOf(id).append({ batch: 0, hardState: next.hardState, first, entries, snapshot: undefined }),
    );
  }

  #compact(id: number): Promise<void> {
    const state = this.#stateOf(id);
    const index = this.#random.between(state.baseIndex, Math.max(state.baseIndex, state.hardState.commit));
    const dropped = index - state.baseIndex;
    if (dropped === 0) return Promise.resolve();
    const next: GroupState = {
      ...state,
      baseIndex: index,
      baseTerm: state.entries[dropped - 1]?.term ?? 0,
      configuration: state.entries
        .slice(0, dropped)
        .reduce(
          (before, { kind, body }, i) =>
            kind === 'configuration'
              ? changedBy(before, state.baseIndex + i + 1, decodeChange(body))
              : before,
          state.configuration,
        ),
      entries: state.entries.slice(dropped),
    };
    return this.#step(id, next, () => this.#groupOf(id).compact(index));
  }

  /**
   * A snapshot of what the leader of a newer term has, and perhaps the first entries behind it. It ends in the middle
   * of what the log holds and never committed, if there is such a tail, or beyond it: nothing of the tail may stay.
   */
  #install(id: number): Promise<void> {
    const random = this.#random;
    const state = this.#stateOf(id);
    const term = state.hardState.term + 1;
    const { commit } = state.hardState;
    const tail = state.baseIndex + state.entries.length - commit;
    const index =
      commit + (tail > 1 && random.chance(0.7) ? random.between(1, tail - 1) : random.between(1, 5));
    const entries = this.#entries(id, term, random.chance(0.3) ? random.between(1, 2) : 0);
    const configuration = configurationOf([1, random.between(2, 9)]);
    const directory = `state-${index}-${term}`;
    const next: GroupState = {
      baseIndex: index,
      baseTerm: term,
      configuration,
      directory,
      entries,
      hardState: { term, vote: 0, commit: index },
    };
    const snapshot = { index, term, configuration };
    const batch = { batch: 0, hardState: next.hardState, first: index + 1, entries, snapshot };
    return this.#step(id, next, () => this.#groupOf(id).install({ ...snapshot, directory }, batch));
  }

  #entries(id: number, term: number, count: number): Entry[] {
    const random = this.#random;
    return Array.from({ length: count }, (_, i) => {
      if (random.chance(0.1)) {
        const change = { type: 'addLearner', node: random.between(4, 9) } as const;
        return { term, kind: 'configuration', body: encodeChange({ changes: [change], transition: 'auto' }) };
      }
      return entry(
        term,
        `${id}.${this.begun}.${i}${'x'.repeat(random.between(0, this.#options.maxBodyBytes))}`,
      );
    });
  }

  async #step(id: number, next: GroupState, carryOut: () => Promise<void>): Promise<void> {
    this.#now.set(id, next);
    this.states.push(this.#render());
    const step = ++this.begun;
    await carryOut();
    this.acknowledged = Math.max(this.acknowledged, step);
  }

  #stateOf(id: number): GroupState {
    return this.#now.get(id) ?? FRESH;
  }

  #groupOf(id: number): GroupLog {
    return groupOf(this.#log, id);
  }

  #render(): string {
    return [...this.#now.values()].map(renderState).join('\n');
  }
}

export function groupOf(log: RaftLog, id: number): GroupLog {
  const group = log.group(id);
  if (!group) throw new Error(`the log has no group ${id}`);
  return group;
}

export function renderAll(log: RaftLog, groups: readonly number[]): string {
  return groups.map((id) => render(groupOf(log, id))).join('\n');
}
