/** Nodes of Raftree, of this build or of another one, each a process that `raftree start` would make. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import type { RaftreeClient } from '../../../src/client/client.js';
import type { NodeConfigInput } from '../../../src/server/config.js';
import { clientOf } from '../clients/build-client.js';
import type { Target } from '../clients/connection.js';
import { BenchError, Daemon, portsFrom, untilReady } from '../processes.js';
import {
  type LoopDelay,
  leaderFirst,
  type Place,
  rolesOf,
  type System,
  type SystemView,
  type WindowReport,
} from './system.js';

export const OWN_MAIN = fileURLToPath(new URL('../../../src/cli/main.js', import.meta.url));
const PROBE = fileURLToPath(new URL('../probe.cjs', import.meta.url));
const START_LIMIT_MS = 30_000;
const ANSWER_LIMIT_MS = 10_000;

export interface RaftreeOptions extends Place {
  readonly name: string;
  /** dist/src/cli/main.js of the build to start. */
  readonly main: string;
  readonly nodes: number;
  /** Settings of node.json beside those of the cluster itself. */
  readonly settings: Partial<NodeConfigInput>;
  /** Options of Node.js. */
  readonly nodeOptions: readonly string[];
  /** Where CPU profiles of the measured time go, if they are wanted. */
  readonly profiles: string | undefined;
}

interface ProbeMessage {
  readonly probe?: 'threads' | 'window';
  readonly runtime?: readonly string[];
  readonly pool?: readonly string[];
  readonly loopDelayMs?: LoopDelay;
}

/** One node's probe: see `probe.cts`. */
class Probe {
  readonly #daemon: Daemon;
  readonly #names = new Map<number, string>();
  readonly #workers: number[] = [];
  #answered: ((delay: LoopDelay | undefined) => void) | undefined;

  constructor(daemon: Daemon) {
    this.#daemon = daemon;
    daemon.onMessage((message) => this.#receive(message as ProbeMessage));
  }

  get knowsThreads(): boolean {
    return this.#names.size > 0;
  }

  /** Threads that the runtime and its pool had not started are the program's own, numbered as they are met. */
  threadName(threadId: number): string {
    if (threadId === this.#daemon.pid) return 'main';
    const name = this.#names.get(threadId);
    if (name !== undefined) return name;
    if (!this.#workers.includes(threadId)) this.#workers.push(threadId);
    return `worker ${this.#workers.indexOf(threadId) + 1}`;
  }

  begin(profile: boolean): void {
    this.#daemon.send({ probe: 'begin', profile });
  }

  end(profileFile: string | undefined): Promise<LoopDelay | undefined> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(undefined), ANSWER_LIMIT_MS);
      this.#answered = (delay) => {
        clearTimeout(timer);
        resolve(delay);
      };
      this.#daemon.send({ probe: 'end', profileFile });
    });
  }

  #receive({ probe, runtime = [], pool = [], loopDelayMs }: ProbeMessage): void {
    if (probe === 'window') this.#answered?.(loopDelayMs);
    if (probe !== 'threads') return;
    for (const thread of runtime) this.#names.set(Number(thread), 'V8');
    for (const thread of pool) this.#names.set(Number(thread), 'pool');
  }
}

export class RaftreeSystem implements System {
  readonly name: string;
  readonly #options: RaftreeOptions;
  #daemons: Daemon[] = [];
  #probes: Probe[] = [];
  #endpoints: string[] = [];
  #client: RaftreeClient | undefined;
  #windows = 0;
  #counts: { readonly entries: number; readonly syncs: number } | undefined;

  constructor(options: RaftreeOptions) {
    this.name = options.name;
    this.#options = options;
  }

  get daemons(): readonly Daemon[] {
    return this.#daemons;
  }

  async start(): Promise<void> {
    const { nodes: count, main, basePort, directory, settings, nodeOptions } = this.#options;
    const ports = await portsFrom(2 * count, basePort);
    const nodes = Array.from({ length: count }, (_, i) => ({
      id: i + 1,
      client: `127.0.0.1:${ports[i]}`,
      peer: `127.0.0.1:${ports[count + i]}`,
    }));
    this.#endpoints = nodes.map(({ client }) => client);
    fs.mkdirSync(directory, { recursive: true });
    this.#daemons = nodes.map(({ id }) => {
      const config: NodeConfigInput = {
        clusterId: 'bench',
        nodeId: id,
        dataDirectory: `n${id}`,
        nodes,
        log: { level: 'warn' },
        ...settings,
      };
      const file = path.join(directory, `n${id}.json`);
      fs.writeFileSync(file, JSON.stringify(config, undefined, 2));
      return new Daemon({
        label: `${this.name}, node ${id}`,
        command: process.execPath,
        parameters: [...nodeOptions, '--require', PROBE, main, 'start', file],
        directory,
        channel: true,
      });
    });
    this.#probes = this.#daemons.map((daemon) => new Probe(daemon));
    const Client = await clientOf(main);
    const client = new Client({ endpoints: this.#endpoints, timeoutMs: 2_000 });
    this.#client = client;
    await untilReady(this.#daemons, this.name, START_LIMIT_MS, async () => {
      await client.put('bench', 'ready');
      return this.#probes.every((probe) => probe.knowsThreads);
    });
  }

  async stop(): Promise<void> {
    await this.#client?.close();
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
  }

  supports(): boolean {
    return true;
  }

  async inspect(): Promise<SystemView> {
    const leaderId = (await this.#client?.status())?.leaderId;
    if (!leaderId) throw new BenchError(`${this.name} has no leader`);
    const leads = this.#endpoints.map((_, i) => i + 1 === leaderId);
    const roles = rolesOf(leads);
    const processes = this.#daemons.map((daemon, i) => ({
      daemon,
      role: roles[i] ?? '',
      threadName: (threadId: number) => this.#probes[i]?.threadName(threadId),
    }));
    return {
      processes: leaderFirst(processes, leads),
      target: { kind: 'raftree', main: this.#options.main, endpoints: leaderFirst(this.#endpoints, leads) },
    };
  }

  async beginWindow({ target }: SystemView): Promise<void> {
    this.#windows++;
    for (const probe of this.#probes) probe.begin(this.#options.profiles !== undefined);
    this.#counts = await this.#countsOf(target);
  }

  /** Of the leader. Builds that do not count syncs say nothing of them. */
  async #countsOf({ endpoints }: Target): Promise<{ readonly entries: number; readonly syncs: number }> {
    const status: { commitIndex: number; logSyncs?: number } | undefined = await this.#client?.status(
      endpoints[0],
    );
    return { entries: status?.commitIndex ?? 0, syncs: status?.logSyncs ?? 0 };
  }

  async endWindow({ processes, target }: SystemView): Promise<WindowReport> {
    const { profiles } = this.#options;
    const delays = await Promise.all(
      this.#daemons.map(async (daemon, i): Promise<[string, LoopDelay][]> => {
        const role = processes.find((one) => one.daemon === daemon)?.role ?? '';
        const file = `${this.name}-${this.#windows}-${role.replace(' ', '-')}.cpuprofile`;
        const delay = await this.#probes[i]?.end(profiles && path.join(profiles, file));
        return delay ? [[role, delay]] : [];
      }),
    );
    const [before, after] = [this.#counts, await this.#countsOf(target)];
    const syncs = after.syncs - (before?.syncs ?? after.syncs);
    const entriesPerSync = syncs > 0 && before ? (after.entries - before.entries) / syncs : undefined;
    return { loopDelayMs: Object.fromEntries(delays.flat()), entriesPerSync };
  }
}
