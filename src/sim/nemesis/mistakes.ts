/**
 * Mistakes of operators: an edited node.json; data folders that are emptied, copied, or of another cluster. In the end
 * they correct what is not destroyed. They destroy only what the cluster survives (survival.ts), and do nothing that no
 * node can notice (README, Limits).
 */

import { DATA_DIRECTORY, type NodeJsonEdit, wrongNodeJson } from '../run/node-json.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { RunMachine } from '../run/run-machine.js';
import { type FaultOf, faultsOf } from '../setting/fault-names.js';
import { SimDisk } from '../world/disk.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { LEAST_VOTERS } from './operator.js';
import { WrongCommands } from './wrong-commands.js';

export class Mistakes {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #commands: WrongCommands;
  readonly #mistakes: Record<FaultOf<'mistakes'>, () => Promise<void>>;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
    this.#commands = new WrongCommands(cluster, random);
    this.#mistakes = {
      editedNodeJson: () => this.#editNodeJson(),
      emptiedFolder: () => this.#emptyFolder(),
      partlyEmptiedFolder: () => this.#emptyParts(),
      copiedFolder: () => this.#copyFolder(),
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

  /** Operators correct their mistakes. */
  correct(): void {
    this.#cluster.copies.end();
    for (const machine of this.#cluster.machines) {
      machine.isOff = false;
      if (machine.isForeign) this.#cluster.giveUp(machine);
      else if (machine.edit) this.correctNodeJson(machine);
    }
  }

  #note(what: string, { host }: RunMachine): void {
    this.#cluster.trace.record('world', what, { host });
  }

  #whileMs(most: number): Promise<void> {
    return this.#cluster.sleep(50 + this.#random.float() ** 2 * most);
  }

  // node.json

  async #editNodeJson(): Promise<void> {
    const { machines, coverage } = this.#cluster;
    const candidates = machines.filter(
      (one) => !one.edit && !one.isOff && !one.isDamaged && one.state !== 'lost' && one.state !== 'closing',
    );
    if (candidates.length === 0 || machines.length === 1) return;
    const machine = this.#random.pick(candidates);
    const edit = this.edit(machine, (one) => one.starts > 0 && this.#isKnown(one));
    coverage.count('node.json edited');
    if (machine.starts === 0) this.#cluster.turnOn(machine);
    else this.#cluster.kill(machine);
    await this.#whileMs(8000);
    if (machine.edit === edit) this.correctNodeJson(machine);
  }

  /** It is in force when the machine is started next. `hasBegun`: all others know the data folder of this machine. */
  edit(machine: RunMachine, hasBegun: (machine: RunMachine) => boolean): NodeJsonEdit {
    const { machines, setting } = this.#cluster;
    const { raft } = { ...setting, ...machine.settings };
    const edit = wrongNodeJson(
      { machine, machines, hasBegun, raft, ...this.#cluster.nodeJson(machine) },
      this.#random,
    );
    this.#note(`node.json: ${edit.what}`, machine);
    machine.edit = edit;
    machine.beganWrong = machine.disk.contentOf(`${DATA_DIRECTORY}/identity.json`) === undefined;
    return edit;
  }

  correctNodeJson(machine: RunMachine): void {
    const { changes } = machine.edit ?? {};
    machine.edit = undefined;
    this.#note('node.json is right again', machine);
    this.#cluster.kill(machine);
    if (!machine.beganWrong || (changes?.nodeId ?? changes?.clusterId) === undefined) return;
    // What it has begun belongs to no node of this cluster: nothing is lost with it.
    machine.beganWrong = false;
    machine.disk = new SimDisk();
  }

  /** Whether all others have noted its present data folder. */
  #isKnown({ id }: RunMachine): boolean {
    return this.#cluster.machines.every(({ id: other, disk, starts }) => {
      const known = disk.contentOf(`${DATA_DIRECTORY}/peers.json`);
      if (other === id || starts === 0) return true;
      return known !== undefined && `${id}` in (JSON.parse(known.toString()) as Record<string, string>);
    });
  }

  // Data folders

  /**
   * Switches off a machine that the cluster can do without, until all others count it as silent. Undefined if there is
   * none, or if the cluster needs it by then.
   */
  async #switchedOff(): Promise<RunMachine | undefined> {
    const { machines, survival } = this.#cluster;
    const isDispensable = (machine: RunMachine) =>
      machine.state === 'up' && !machine.edit && !machine.isDamaged && survival.canDoWithout(machine);
    let candidates: RunMachine[] = [];
    for (let looks = 0; candidates.length === 0 && looks < LOOKS; looks++) {
      await this.#cluster.sleep(LOOK_AGAIN_MS);
      if (this.#stopped) return undefined;
      candidates = machines.filter(isDispensable);
    }
    if (candidates.length === 0) return undefined;
    const machine = this.#random.pick(candidates);
    machine.isOff = true;
    this.#cluster.kill(machine, 'switched off');
    await this.#cluster.sleep(this.#silenceMs);
    if (!machine.isOff) return undefined;
    machine.isOff = false;
    if (!this.#stopped && !machine.isDamaged && survival.canDoWithout(machine)) return machine;
    this.#cluster.turnOn(machine);
    return undefined;
  }

  /** A node that was silent for so long counts as silent on every node, by each node's own settings. */
  get #silenceMs(): number {
    const timeouts = this.#cluster.machines.map(({ node }) => node?.config.raft.electionTimeoutMinMs ?? 0);
    return 1.2 * Math.max(...timeouts) + 100;
  }

  /** A member that loses its folder is lost; any other node is as new. */
  async #emptyFolder(): Promise<void> {
    const { coverage, survival } = this.#cluster;
    const machine = await this.#switchedOff();
    if (!machine) return;
    coverage.count('data folders emptied');
    this.#note('data folder emptied', machine);
    machine.isDamaged = survival.isMember(machine);
    machine.isReplaced = true;
    machine.disk = new SimDisk();
    this.#cluster.turnOn(machine);
    if (!machine.isDamaged || this.#random.chance(0.3)) return;
    await this.#whileMs(3000);
    if (!this.#stopped) await this.#addAgain(machine);
  }

  /** As README says: it is removed, starts with an empty folder and `join`, and is added. */
  async #addAgain(machine: RunMachine): Promise<void> {
    if (!(await this.#commands.removeForGood(machine)) || this.#stopped) return;
    this.#note('is to join with an empty folder', machine);
    machine.joinsAgain = true;
    this.#cluster.kill(machine);
    machine.disk = new SimDisk();
    machine.hasBrokenDisk = false;
    this.#cluster.turnOn(machine);
    if (!(await this.#commands.addAgain(machine))) return;
    this.#cluster.coverage.count('emptied nodes added again');
    // The new disk may have been damaged meanwhile.
    machine.isDamaged = machine.hasBrokenDisk;
  }

  async #emptyParts(): Promise<void> {
    const machine = await this.#switchedOff();
    if (!machine) return;
    const files = machine.disk.files(DATA_DIRECTORY);
    const kinds = PARTS.map((pattern) => files.filter((path) => pattern.test(path)));
    const chosen = this.#random.pick(kinds.filter((paths) => paths.length > 0));
    const removed = this.#random.chance(0.5) ? chosen : [this.#random.pick(chosen)];
    this.#cluster.coverage.count('parts of data folders emptied');
    this.#cluster.removeFiles(machine, removed);
    this.#cluster.turnOn(machine);
  }

  /**
   * Starts a copy of a member's folder while the member runs. The member was restarted since the copy was made: a copy
   * of its present run would be noticed only while all others hear the member.
   */
  async #copyFolder(): Promise<void> {
    const { survival, copies, coverage } = this.#cluster;
    const isWhole = (one: RunMachine) =>
      one.state === 'up' &&
      !one.edit &&
      !one.isDamaged &&
      survival.isLeftAlone(one) &&
      !copies.isRunning(one);
    let candidates: RunMachine[] = [];
    for (let looks = 0; candidates.length === 0 && looks < LOOKS; looks++) {
      await this.#cluster.sleep(LOOK_AGAIN_MS);
      if (this.#stopped) return;
      const voters = survival.voters() ?? [];
      // With fewer voters the copy could be a majority of the voters that it knows.
      if (voters.length >= LEAST_VOTERS) candidates = voters.filter(isWhole);
    }
    if (candidates.length === 0) return;
    const machine = this.#random.pick(candidates);
    const { disk } = machine;
    const folder = disk.clone();
    this.#cluster.kill(machine, 'switched off');
    const isNoticed = () => machine.disk === disk && copies.isNoticed(machine, folder);
    for (let looks = 0; !isNoticed(); looks++) {
      await this.#cluster.sleep(LOOK_AGAIN_MS);
      if (this.#stopped || machine.isDamaged || looks > LOOKS) return;
    }
    if (machine.edit || !survival.isLeftAlone(machine) || copies.isRunning(machine)) return;
    coverage.count('data folders copied');
    const copy = copies.start(machine, folder);
    await this.#whileMs(4000);
    copies.end(copy.id);
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

/** How often a good moment is looked for. */
const LOOKS = 60;
const LOOK_AGAIN_MS = 50;

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
