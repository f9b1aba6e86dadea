/** A share of a processor for a process, by the CPU controller of cgroup version 1. */
import * as fs from 'node:fs';
import * as path from 'node:path';

const CPU = '/sys/fs/cgroup/cpu';
const USAGE = '/sys/fs/cgroup/cpuacct';
export const PERIOD_MS = 20;
const PERIOD_US = 1000 * PERIOD_MS;

export class Quota {
  readonly #name: string;

  /** Throws if this system does not let us limit processes so. */
  constructor(name: string, pid: number) {
    this.#name = name;
    for (const root of new Set([CPU, fs.realpathSync(USAGE)])) {
      fs.mkdirSync(path.join(root, name), { recursive: true });
      fs.writeFileSync(path.join(root, name, 'cgroup.procs'), String(pid));
    }
  }

  static isPossible(): boolean {
    return fs.existsSync(path.join(CPU, 'cpu.cfs_quota_us')) || fs.existsSync(path.join(CPU, 'cpu.shares'));
  }

  /** Of one processor; undefined: no limit. */
  limit(share: number | undefined): void {
    fs.writeFileSync(path.join(CPU, this.#name, 'cpu.cfs_period_us'), String(PERIOD_US));
    const quota = share === undefined ? -1 : Math.round(share * PERIOD_US);
    fs.writeFileSync(path.join(CPU, this.#name, 'cpu.cfs_quota_us'), String(quota));
  }

  /** Processor time of all that ran in it, in ms. */
  get usedMs(): number {
    return Number(fs.readFileSync(path.join(USAGE, this.#name, 'cpuacct.usage'), 'utf8')) / 1e6;
  }

  /** After the process has ended. */
  remove(): void {
    for (const root of new Set([CPU, fs.realpathSync(USAGE)])) {
      const folder = path.join(root, this.#name);
      if (fs.existsSync(folder)) fs.rmdirSync(folder);
    }
  }
}
