/**
 * Copies of members' data folders that run beside the original, with its id, on a host of their own. Nodes notice a
 * copy by the number of its start, which the original has used already (README, Limits). The cluster is not at fault if
 * a copy cannot be noticed. So a copy is stopped before a node starts that could not notice it.
 */
import type { SimDisk } from '../world/disk.js';
import { DATA_DIRECTORY, listed } from './node-json.js';
import type { RunCluster } from './run-cluster.js';
import { RunMachine } from './run-machine.js';

export class Copies {
  readonly #cluster: RunCluster;
  /** The number of starts of each copied folder. */
  readonly #running = new Map<RunMachine, number>();

  constructor(cluster: RunCluster) {
    this.#cluster = cluster;
  }

  /** Its node.json is that of the original, with other addresses. It is not started again. */
  start(original: RunMachine, disk: SimDisk): RunMachine {
    const { setting, trace } = this.#cluster;
    const copy = new RunMachine(original.id, setting.maxDiskMs, `${original.host}copy`);
    const { nodes, joins } = this.#cluster.nodeJson(original);
    const others = nodes.filter(({ id }) => id !== copy.id);
    copy.edit = { what: 'a copy', changes: { nodes: [...others, listed(copy)], join: joins } };
    copy.isDamaged = true;
    copy.disk = disk;
    const starts = startsOf(disk);
    trace.record('world', 'copied folder', { host: original.host, starts });
    this.#running.set(copy, starts);
    this.#cluster.turnOn(copy);
    copy.isOff = true;
    return copy;
  }

  /** All, or those of one node. */
  end(id?: number): void {
    for (const copy of this.#running.keys()) {
      if (id !== undefined && copy.id !== id) continue;
      this.#running.delete(copy);
      this.#cluster.kill(copy);
    }
  }

  /** A node that starts now and has not met a later run of the original could mistake the copy for it. */
  starts(machine: RunMachine): void {
    for (const [{ id }, starts] of this.#running)
      if (id !== machine.id && startsKnown(machine, id) <= starts) this.end(id);
  }

  isRunning({ id }: RunMachine): boolean {
    return [...this.#running.keys()].some((copy) => copy.id === id);
  }

  /** The next start of this folder was used already, and all other nodes know that durably. */
  isNoticed(original: RunMachine, disk: SimDisk): boolean {
    const before = startsOf(disk);
    return this.#cluster.machines
      .filter(({ id, starts, state }) => id !== original.id && starts > 0 && state !== 'lost')
      .every((other) => startsKnown(other, original.id) > before);
  }
}

interface KnownRun {
  readonly starts?: number;
}

/** The number of starts of another node's folder, as this node has noted it. */
function startsKnown({ disk }: RunMachine, id: number): number {
  const known = disk.contentOf(`${DATA_DIRECTORY}/peers.json`);
  const runs = JSON.parse(known?.toString() ?? '{}') as Record<string, KnownRun>;
  return runs[id]?.starts ?? 0;
}

function startsOf(folder: SimDisk): number {
  const identity = folder.contentOf(`${DATA_DIRECTORY}/identity.json`);
  return (JSON.parse(identity?.toString() ?? '{}') as KnownRun).starts ?? 0;
}
