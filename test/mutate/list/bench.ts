/** Mutations of the cost model of `bench:scale`: a host that works for nothing foretells what no cluster reaches. */
import { inFile, type Mutation } from '../mutation.js';

const costs = inFile('bench/scale/cost-model.js');
const hosts = inFile('bench/scale/modelled-hosts.js');

export const BENCH_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a modelled host that has used its quota goes on',
    reason: 'the next period is not far',
    patches: [hosts('if (host.leftMs > 0)', 'if (true)')],
    killedBy: ['bench/cost-model'],
  },
  {
    name: 'a modelled host forgets what it has used too much',
    reason: 'each period has its quota',
    patches: [
      hosts('const waited = 1 + Math.floor(-host.leftMs / quotaMs)', 'host.leftMs = 0; const waited = 1'),
    ],
    killedBy: ['bench/cost-model'],
  },
  {
    name: 'a modelled follower acknowledges what it has not synced',
    reason: 'it has it in memory',
    patches: [
      hosts(
        'host.held.set(tablet, last);',
        "host.held.set(tablet, last); emit(tablet.leader, { type: 'acknowledged', tablet, by: host.id, last });",
      ),
    ],
    killedBy: ['bench/cost-model'],
  },
  {
    name: 'one modelled disk syncs for all hosts at the same time',
    reason: 'disks do several things at once',
    patches: [hosts('hasOneDisk ? Math.max(this.#nowMs, this.#diskFreeMs)', 'false ? this.#nowMs')],
    killedBy: ['bench/cost-model'],
  },
  {
    name: 'a modelled host pays for each message that it reads from a connection in one turn',
    reason: 'each came by itself',
    patches: [hosts('work.frames += connections.size', 'work.frames += inbox.length')],
    killedBy: ['bench/cost-model'],
  },
  {
    name: 'a cost may be negative',
    reason: 'it fits better',
    patches: [costs('Math.max(0, before + slope / square)', 'before + slope / square')],
    killedBy: ['bench/cost-model'],
  },
];
