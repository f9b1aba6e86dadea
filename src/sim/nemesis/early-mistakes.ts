/**
 * Mistakes of operators before the birth of their cluster: a founder starts with a wrong node.json, or founders lose
 * their data folders during the birth. Then the operators do what the nodes' logs say: if nothing was written yet, they
 * empty all founders and start each of them once. In every case exactly one cluster must come into being.
 */
import { DATA_DIRECTORY } from '../run/node-json.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { RunMachine } from '../run/run-machine.js';
import { SimDisk } from '../world/disk.js';
import type { SeededRandom } from '../world/seeded-random.js';
import type { Mistakes } from './mistakes.js';

/** Each of the two kinds of mistakes is made with this chance. */
const SHARE = 0.3;
/** A node.json is wrong for up to so long. */
const EDITED_MS = 4000;
/** Founders lose their folders within this time after the start. */
const EMPTIED_WITHIN_MS = 100;
/** Long enough for every restart and election. */
const PATIENCE_MS = 20_000;
const LOOK_AGAIN_MS = 50;

export class EarlyMistakes {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #mistakes: Mistakes;

  constructor(cluster: RunCluster, random: SeededRandom, mistakes: Mistakes) {
    this.#cluster = cluster;
    this.#random = random;
    this.#mistakes = mistakes;
  }

  /** Starts the founders; undefined if nothing is done wrong. Resolves when operators have done what they can. */
  start(): Promise<void> | undefined {
    const { founders, setting } = this.#cluster;
    // A single founder needs no others for its birth.
    const isPossible = founders.length > 1;
    const happens = (fault: 'editedNodeJson' | 'emptiedFolder') =>
      isPossible && setting.faults.includes(fault) && this.#random.chance(SHARE);
    const isEdited = happens('editedNodeJson');
    const isEmptied = happens('emptiedFolder');
    const edited = isEdited ? this.#editOne() : undefined;
    for (const machine of founders) this.#cluster.turnOn(machine);
    if (!edited && !isEmptied) return undefined;
    return this.#goOn(edited, isEmptied);
  }

  /** Its first start is with a wrong node.json. */
  #editOne(): RunMachine {
    const machine = this.#random.pick([...this.#cluster.founders]);
    this.#cluster.coverage.count('node.json edited before birth');
    this.#mistakes.edit(machine, () => false);
    return machine;
  }

  async #goOn(edited: RunMachine | undefined, isEmptied: boolean): Promise<void> {
    const emptied = isEmptied ? this.#emptySome() : Promise.resolve([]);
    if (edited) {
      await this.#cluster.sleep(this.#random.float() * EDITED_MS);
      this.#mistakes.correctNodeJson(edited);
    }
    const victims = await emptied;
    if (!(await this.#until(() => this.#cluster.isComplete))) this.#settle(victims);
    await this.#until(() => this.#cluster.isComplete);
    this.#checkBirth();
  }

  /** Empties one founder or two, unless a founder is born already. */
  async #emptySome(): Promise<readonly RunMachine[]> {
    const { founders, setting, coverage } = this.#cluster;
    await this.#cluster.sleep(this.#random.float() ** 2 * EMPTIED_WITHIN_MS);
    if (founders.some((machine) => birthOf(machine)?.phase === 'born')) return [];
    // Where members change, one machine in the whole run may be lost.
    const count = setting.changesMembers ? 1 : this.#random.between(1, 2);
    const first = this.#random.between(0, founders.length - 1);
    const victims = [...founders.slice(first), ...founders.slice(0, first)].slice(0, count);
    coverage.count('data folders emptied before birth');
    for (const machine of victims) this.#empty(machine);
    return victims;
  }

  #empty(machine: RunMachine): void {
    this.#cluster.trace.record('world', 'data folder emptied', { host: machine.host });
    this.#cluster.kill(machine);
    machine.disk = new SimDisk();
  }

  /**
   * Not all founders are there. If nothing was written all of them begin again. Otherwise the emptied ones are lost.
   */
  #settle(victims: readonly RunMachine[]): void {
    const { founders, references, trace } = this.#cluster;
    if (references.all.every(({ lastIndex }) => lastIndex === 0)) {
      trace.record('world', 'all founders are emptied', {});
      for (const machine of founders) this.#empty(machine);
      return;
    }
    if (2 * victims.length >= founders.length)
      this.#cluster.fail('one birth', 'something was written without a majority of the first data folders');
    for (const machine of victims) {
      machine.isDamaged = true;
      machine.isReplaced = true;
    }
  }

  /** All founders that are born have one incarnation. */
  #checkBirth(): void {
    const born = this.#cluster.founders
      .filter(({ isDamaged }) => !isDamaged)
      .flatMap((machine) => birthOf(machine) ?? [])
      .filter(({ phase }) => phase === 'born');
    const incarnations = new Set(born.map(({ incarnation }) => incarnation));
    if (incarnations.size > 1)
      this.#cluster.fail('one birth', `nodes were born as ${[...incarnations].join(' and ')}`);
  }

  async #until(condition: () => boolean): Promise<boolean> {
    const untilMs = this.#cluster.nowMs + PATIENCE_MS;
    while (!condition()) {
      if (this.#cluster.nowMs >= untilMs) return false;
      await this.#cluster.sleep(LOOK_AGAIN_MS);
    }
    return true;
  }
}

interface NotedBirth {
  readonly phase: string;
  readonly incarnation: string;
}

/** The state of the birth in the data folder of a machine. */
function birthOf({ disk }: RunMachine): NotedBirth | undefined {
  const text = disk.contentOf(`${DATA_DIRECTORY}/identity.json`)?.toString();
  return text ? (JSON.parse(text) as { readonly birth?: NotedBirth }).birth : undefined;
}
