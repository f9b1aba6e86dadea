/** Processes that are killed, stopped, paused or without power, and clocks that are wrong. */
import type { RunMachine } from '../run/run-machine.js';
import type { FaultOf } from '../setting/fault-names.js';
import { type Act, Faults } from './faults.js';

export class ProcessFaults extends Faults {
  readonly acts: Readonly<Record<FaultOf<'crash'>, Act>> = {
    kill: () => this.#kill(this.anyMachine()),
    killLeader: () => this.#kill(this.cluster.someLeader(this.random)),
    killBetweenOperations: () => this.#killBetweenOperations(),
    powerCut: () => this.#powerCut(),
    powerCutOfSome: () => this.#powerCutOfSome(),
    powerCutOfAll: () => this.#powerCutOfAll(),
    orderlyRestart: () => this.#orderlyRestart(),
    pause: () => this.#pause(),
    pauseLeader: () => this.#pauseLeader(),
    shortStall: () => this.#shortStall(),
    clockDrift: () => this.#clockDrift(),
    wallClockJump: () => this.#wallClockJump(),
    clockJump: () => this.#clockJump(),
  };

  #kill(machine: RunMachine | undefined): void {
    if (!machine?.process) return;
    this.cluster.coverage.count('kills');
    this.cluster.kill(machine);
  }

  #killBetweenOperations(): void {
    const machine = this.runningMachine();
    if (!machine) return;
    const isPowerCut = this.random.chance(0.6);
    machine.condition.fuse = {
      operations: this.random.between(1, 60),
      burnt: () => {
        this.cluster.coverage.count('kills between disk operations');
        if (isPowerCut) this.cluster.cutPower(machine);
        else this.cluster.kill(machine);
      },
    };
  }

  #powerCut(): void {
    const machine = this.prominentMachine();
    if (machine.state === 'lost') return;
    this.cluster.coverage.count('power cuts');
    this.cluster.cutPower(machine);
  }

  /** Several machines lose power, and perhaps a little later the leader. */
  async #powerCutOfSome(): Promise<void> {
    const { machines, coverage } = this.cluster;
    const some = machines.filter(({ state }) => state !== 'lost' && this.random.chance(0.5));
    coverage.count('power cuts of some');
    for (const machine of some) this.cluster.cutPower(machine);
    if (this.random.chance(0.5)) return;
    await this.whileMs(500);
    const leader = this.cluster.someLeader(this.random);
    if (leader) this.cluster.cutPower(leader);
  }

  #powerCutOfAll(): void {
    this.cluster.coverage.count('power cuts of all');
    for (const machine of this.cluster.machines) if (machine.state !== 'lost') this.cluster.cutPower(machine);
  }

  async #orderlyRestart(): Promise<void> {
    const machine = this.runningMachine();
    if (machine?.state !== 'up') return;
    this.cluster.coverage.count('orderly restarts');
    await this.cluster.close(machine);
  }

  async #pause(): Promise<void> {
    const machine = this.prominentMachine();
    if (!machine.process || machine.isPaused) return;
    this.cluster.coverage.count('pauses');
    this.cluster.pause(machine);
    const { process } = machine;
    await this.whileMs(5000);
    if (machine.process === process) this.cluster.resume(machine);
  }

  /**
   * Pauses the leader until the others have elected another. In half of the cases it is cut off from them when it
   * resumes, but clients still reach it.
   */
  async #pauseLeader(): Promise<void> {
    const machine = this.cluster.someLeader(this.random);
    if (!machine || machine.isPaused) return;
    const { process, host } = machine;
    const { network } = this.cluster.world;
    const others = this.cluster.machines.filter((other) => other !== machine && this.random.chance(0.8));
    const isCutOff = this.random.chance(0.5);
    this.cluster.coverage.count('leaders paused');
    this.cluster.pause(machine);
    if (isCutOff) for (const other of others) this.cutBetween([host], [other.host]);
    const { electionTimeoutMaxMs } = this.cluster.setting.raft;
    await this.cluster.sleep(electionTimeoutMaxMs * (1.5 + this.random.float() * 2));
    if (machine.process === process) this.cluster.resume(machine);
    await this.cluster.sleep(this.random.float() * 300);
    if (!isCutOff) return;
    for (const other of others) {
      network.mend(host, other.host);
      network.mend(other.host, host);
    }
  }

  /** A pause of about an election timeout, or much shorter. Then timers run before sockets are read. */
  async #shortStall(): Promise<void> {
    const machine = this.prominentMachine();
    const { process } = machine;
    if (!process || machine.isPaused) return;
    this.cluster.coverage.count('short stalls');
    this.cluster.pause(machine);
    await this.cluster.sleep(
      this.cluster.setting.raft.electionTimeoutMinMs * (0.2 + this.random.float() * 1.2),
    );
    if (machine.process === process) this.cluster.resume(machine, 'timers first');
  }

  async #clockDrift(): Promise<void> {
    const { process } = this.prominentMachine();
    if (!process) return;
    const rate = 0.96 + this.random.float() * 0.08;
    this.cluster.coverage.count('clock drifts');
    this.note('clock drift', { rate });
    process.clock.setRate(rate);
    await this.whileMs(10_000);
    process.clock.setRate(1);
  }

  #wallClockJump(): void {
    const machine = this.anyMachine();
    const byMs = (this.random.float() - 0.5) * 7_200_000;
    this.cluster.coverage.count('wall clock jumps');
    this.note('wall clock jump', { host: machine.host, byMs });
    machine.process?.clock.jumpWall(byMs);
  }

  /** Leases rely on clocks that do not jump: with this fault the workload makes no lease reads. */
  #clockJump(): void {
    const { process, host } = this.prominentMachine();
    if (!process) return;
    const byMs = this.random.float() ** 2 * 20_000;
    this.cluster.coverage.count('clock jumps');
    this.note('clock jump', { host, byMs });
    process.clock.jump(byMs);
  }
}
