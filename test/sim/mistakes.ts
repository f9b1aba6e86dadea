/**
 * Operators who err: node.json edited, data folders emptied, copied or of another cluster. All that is not destroyed they set
 * right in the end. They destroy what the cluster survives (survival.ts), and nothing of which README says that nobody can notice it.
 */
import { SimDisk } from '../../src/env/sim/disk.js';
import type { SeededRandom } from '../../src/env/sim/seeded-random.js';
import type { Cluster } from './cluster.js';
import { type FaultOf, faultsOf } from './fault-names.js';
import type { SimulatedMachine } from './machine.js';
import { DATA_DIRECTORY, wrongNodeJson } from './node-json.js';
import { WrongCommands } from './wrong-commands.js';

export class Mistakes {
  readonly #cluster: Cluster;
  readonly #random: SeededRandom;
  readonly #commands: WrongCommands;
  readonly #mistakes: Record<FaultOf<'mistakes'>, () => Promise<void>>;
  #stopped = false;

  constructor(cluster: Cluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
    this.#commands = new WrongCommands(cluster, random);
    this.#mistakes = {
      editedNodeJson: () => this.#editNodeJson(),
      emptiedFolder: () => this.#emptyFolder(),
      partlyEmptiedFolder: () => this.#emptyParts(),
      foreignNode: () => this.#foreignNode(),
      wrongCommand: () => this.#commands.next(),
    };
  }

  async run(): Promise<void> {
    const { faults, mistakeEveryMs } = this.#cluster.setting;
    const own = faultsOf(['mistakes'], faults);
    if (own.length === 0) return;
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * mistakeEveryMs);
      if (this.#stopped) break;
      void this.#mistakes[this.#random.pick(own)]();
    }
    await this.#commands.close();
  }

  stop(): void {
    this.#stopped = true;
  }

  /** Operators find out what is wrong, and set it right. */
  correct(): void {
    for (const machine of this.#cluster.machines) {
      machine.isOff = false;
      if (machine.isForeign) this.#cluster.giveUp(machine);
      else if (machine.edit) this.#correctNodeJson(machine);
    }
  }

  #note(what: string, { host }: SimulatedMachine): void {
    this.#cluster.trace.record('world', what, { host });
  }

  #whileMs(most: number): Promise<void> {
    return this.#cluster.sleep(50 + this.#random.float() ** 2 * most);
  }

  // node.json

  async #editNodeJson(): Promise<void> {
    const { machines, setting, coverage } = this.#cluster;
    const candidates = machines.filter(
      (one) => !one.edit && !one.isOff && !one.isDamaged && one.state !== 'lost' && one.state !== 'closing',
    );
    if (candidates.length === 0 || machines.length === 1) return;
    const machine = this.#random.pick(candidates);
    const { raft } = { ...setting, ...machine.settings };
    const hasBegun = (one: SimulatedMachine) => one.starts > 0 && this.#isKnown(one);
    const edit = wrongNodeJson(
      { machine, machines, hasBegun, raft, ...this.#cluster.nodeJson(machine) },
      this.#random,
    );
    coverage.count('node.json edited');
    this.#note(`node.json: ${edit.what}`, machine);
    machine.edit = edit;
    machine.beganWrong = machine.disk.contentOf(`${DATA_DIRECTORY}/identity.json`) === undefined;
    if (machine.starts === 0) this.#cluster.start(machine);
    else this.#cluster.kill(machine);
    await this.#whileMs(8000);
    if (machine.edit === edit) this.#correctNodeJson(machine);
  }

  #correctNodeJson(machine: SimulatedMachine): void {
    const { changes } = machine.edit ?? {};
    machine.edit = undefined;
    this.#note('node.json is right again', machine);
    this.#cluster.kill(machine);
    if (!machine.beganWrong || (changes?.nodeId ?? changes?.clusterId) === undefined) return;
    // What it has begun is of a node that there is not, and nothing is lost with it.
    machine.beganWrong = false;
    machine.disk = new SimDisk();
  }

  // Data folders

  /**
   * One that the cluster can do without, after it has been off for so long that nobody takes it for a voter that is there.
   * Undefined if there is none, or the others have changed meanwhile.
   */
  async #switchedOff(): Promise<SimulatedMachine | undefined> {
    const { machines, survival, setting } = this.#cluster;
    const isDispensable = (machine: SimulatedMachine) =>
      machine.state === 'up' && !machine.edit && !machine.isDamaged && survival.canDoWithout(machine);
    const candidates = machines.filter((machine) => isDispensable(machine) && this.#isKnown(machine));
    if (candidates.length === 0) return undefined;
    const machine = this.#random.pick(candidates);
    machine.isOff = true;
    this.#cluster.kill(machine, 'switched off');
    await this.#cluster.sleep(FORGOTTEN_AFTER_TIMEOUTS * setting.raft.electionTimeoutMaxMs);
    if (!machine.isOff) return undefined;
    machine.isOff = false;
    if (this.#stopped || machine.isDamaged || !survival.canDoWithout(machine)) {
      this.#cluster.start(machine);
      return undefined;
    }
    return machine;
  }

  /** Whoever never met its disk could not know another one from it. */
  #isKnown({ id }: SimulatedMachine): boolean {
    return this.#cluster.machines.every(({ id: other, disk, starts }) => {
      const known = disk.contentOf(`${DATA_DIRECTORY}/peers.json`);
      if (other === id || starts === 0) return true;
      return known !== undefined && `${id}` in (JSON.parse(known.toString()) as Record<string, string>);
    });
  }

  async #emptyFolder(): Promise<void> {
    const machine = await this.#switchedOff();
    if (!machine) return;
    this.#cluster.coverage.count('data folders emptied');
    this.#note('data folder emptied', machine);
    machine.isDamaged = true;
    machine.isReplaced = true;
    machine.disk = new SimDisk();
    this.#cluster.start(machine);
  }

  async #emptyParts(): Promise<void> {
    const machine = await this.#switchedOff();
    if (!machine) return;
    const files = machine.disk.files(DATA_DIRECTORY);
    const pattern = this.#random.pick(PARTS);
    const chosen = files.filter((path) => pattern.test(path));
    const removed = this.#random.chance(0.5) ? chosen : chosen.filter(() => this.#random.chance(0.3));
    if (removed.length > 0) {
      this.#cluster.coverage.count('parts of data folders emptied');
      this.#cluster.removeFiles(machine, removed);
    }
    this.#cluster.start(machine);
  }

  // Other clusters

  /** A node that has begun a cluster of its own, of the same name, is added by mistake. */
  async #foreignNode(): Promise<void> {
    const { machines, coverage } = this.#cluster;
    const unused = machines.filter(({ starts, edit }) => starts === 0 && !edit);
    if (unused.length === 0) return;
    const machine = this.#random.pick(unused);
    coverage.count('nodes of other clusters');
    this.#note('begins a cluster of its own', machine);
    this.#cluster.startForeign(machine);
    await this.#whileMs(4000);
    if (!machine.isForeign) return;
    await this.#commands.add(machine);
    await this.#whileMs(6000);
    if (machine.isForeign) this.#cluster.giveUp(machine);
  }
}

/** Whoever was heard from counts as being there for less than so many election timeouts. */
const FORGOTTEN_AFTER_TIMEOUTS = 8;

const PARTS = [
  /\/raft\//,
  /\/raft\/raft-\d+\.log$/,
  /\/groups\//,
  /\.sst$/,
  /\/MANIFEST/,
  /\/identity\.json$/,
  /\/peers\.json$/,
  /\/LOCK/,
];
