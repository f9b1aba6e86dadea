/**
 * Disks that are slow, hang, become full, fail, or lose data. Bits are flipped and disks replaced on a minority of the
 * machines only: more damage than that a cluster need not survive.
 */
import type { RunMachine } from '../run/run-machine.js';
import type { FaultOf } from '../setting/fault-names.js';
import { SimDisk } from '../world/disk.js';
import { type Act, Faults } from './faults.js';
import { LEAST_VOTERS } from './operator.js';

export class DiskFaults extends Faults {
  readonly acts: Readonly<Record<FaultOf<'disk'>, Act>> = {
    slowDisk: () => this.#slowDisk(),
    diskStall: () => this.#diskStall(),
    fullDisk: () => this.#fullDisk(),
    failedSync: () => this.#failedSync(),
    failedRead: () => this.#failedRead(),
    bitFlip: () => this.#bitFlip(),
    replacedDisk: () => this.#replaceDisk(),
  };

  /**
   * A machine that may be damaged for ever: a majority must stay whole. Where members change, or some of the nodes hold
   * a tablet, it is one machine in the whole run: enough voters are left to lose one.
   */
  #expendableMachine(): RunMachine | undefined {
    const { machines, setting } = this.cluster;
    const damaged = machines.filter(({ isDamaged }) => isDamaged);
    const isOne = setting.changesMembers || setting.moveEveryMs > 0;
    const budget = isOne ? 1 : (machines.length - 1) >> 1;
    if (setting.nodes === 1 && !this.#hasGrown()) return undefined;
    const one = damaged.length >= budget ? this.random.pick([undefined, ...damaged]) : this.anyMachine();
    return one?.state === 'lost' ? undefined : one;
  }

  /** Whether a group that began with one node can lose any one of its voters. */
  #hasGrown(): boolean {
    const status = this.cluster.leader?.node?.status(0);
    return status !== undefined && status.voters.length >= LEAST_VOTERS && status.outgoing.length === 0;
  }

  async #slowDisk(): Promise<void> {
    const { condition, host } = this.prominentMachine();
    const maxMs = this.random.pick([5, 50, 400]);
    this.cluster.coverage.count('slow disks');
    this.note('slow disk', { host, maxMs });
    condition.maxMs = maxMs;
    await this.whileMs(5000);
    condition.maxMs = this.cluster.setting.maxDiskMs;
  }

  #diskStall(): void {
    const { condition, host } = this.prominentMachine();
    const forMs = this.random.float() ** 2 * 6000;
    this.cluster.coverage.count('disk stalls');
    this.note('disk stall', { host, forMs });
    condition.stalledUntilMs = this.cluster.nowMs + forMs;
  }

  async #fullDisk(): Promise<void> {
    const { condition, host } = this.prominentMachine();
    this.cluster.coverage.count('full disks');
    this.note('full disk', { host });
    condition.isFull = true;
    await this.whileMs(4000);
    this.note('space again', { host });
    condition.isFull = false;
  }

  #failedSync(): void {
    const { condition, host } = this.prominentMachine();
    this.note('a sync will fail', { host });
    condition.failSyncs = 1;
  }

  #failedRead(): void {
    const { condition, host } = this.prominentMachine();
    this.note('reads will fail', { host });
    condition.failReads = this.random.between(1, 5);
  }

  /** In a table, or in an older segment of the Raft log: damage in the last one could look like a torn tail. */
  #bitFlip(): void {
    const machine = this.#expendableMachine();
    if (!machine) return;
    const files = machine.disk.files('/data');
    const segments = files.filter((path) => /raft-\d+\.log$/.test(path));
    const candidates = [...files.filter((path) => path.endsWith('.sst')), ...segments.slice(0, -2)];
    if (candidates.length === 0) return;
    const path = this.random.pick(candidates);
    this.cluster.flipBit(machine, path, this.random.float(), this.random.between(0, 7));
    if (this.cluster.setting.changesMembers) this.cluster.coverage.count('damage while members change');
  }

  /** The machine comes back with its name and an empty disk. Its votes are lost, so the others must refuse it. */
  #replaceDisk(): void {
    const { machines } = this.cluster;
    const machine = this.#expendableMachine();
    // A node that never met the old disk could not notice the new one.
    if (!machine || machine.edit || !machines.every((other) => other === machine || hasMet(other, machine)))
      return;
    this.cluster.coverage.count('disks replaced');
    if (this.cluster.setting.changesMembers) this.cluster.coverage.count('damage while members change');
    this.note('disk replaced', { host: machine.host });
    machine.isDamaged = true;
    machine.hasBrokenDisk = true;
    machine.isReplaced = true;
    if (machine.process) this.cluster.kill(machine);
    machine.disk = new SimDisk();
  }
}

/** Whether one machine has noted the data folder of the other. */
function hasMet({ disk }: RunMachine, { id }: RunMachine): boolean {
  const known = disk.contentOf('/data/peers.json');
  return known !== undefined && `${id}` in (JSON.parse(known.toString()) as object);
}
