/** Three etcd processes with etcd's defaults, but for the space that the database may take. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Workload } from '../load/workloads.js';
import { BenchError, Daemon, portsFrom, untilReady } from '../processes.js';
import {
  leaderFirst,
  type Place,
  rolesOf,
  type System,
  type SystemView,
  type WindowReport,
} from './system.js';

const MEMBERS = 3;
const START_LIMIT_MS = 30_000;
/** etcd's default of 2 GiB would end a long run. */
const QUOTA_BYTES = 64 * 1024 ** 3;

interface Counts {
  readonly entries: number;
  readonly syncs: number;
}

export class EtcdSystem implements System {
  readonly name = 'etcd';
  readonly #program: string;
  readonly #directory: string;
  readonly #basePort: number | undefined;
  #daemons: Daemon[] = [];
  #endpoints: string[] = [];
  #before: Counts | undefined;

  constructor(program: string, { directory, basePort }: Place) {
    this.#program = program;
    this.#directory = directory;
    this.#basePort = basePort;
  }

  get daemons(): readonly Daemon[] {
    return this.#daemons;
  }

  async start(): Promise<void> {
    const ports = await portsFrom(2 * MEMBERS, this.#basePort);
    const members = Array.from({ length: MEMBERS }, (_, i) => ({
      name: `e${i + 1}`,
      client: `127.0.0.1:${ports[i]}`,
      peer: `http://127.0.0.1:${ports[MEMBERS + i]}`,
    }));
    this.#endpoints = members.map(({ client }) => client);
    mkdirSync(this.#directory, { recursive: true });
    this.#daemons = members.map(({ name, client, peer }, i) => {
      const parameters = {
        name,
        'data-dir': join(this.#directory, name),
        'listen-client-urls': `http://${client}`,
        'advertise-client-urls': `http://${client}`,
        'listen-peer-urls': peer,
        'initial-advertise-peer-urls': peer,
        'initial-cluster': members.map((member) => `${member.name}=${member.peer}`).join(','),
        'initial-cluster-state': 'new',
        'quota-backend-bytes': QUOTA_BYTES,
        logger: 'zap',
        'log-level': 'warn',
      };
      return new Daemon({
        label: `etcd, member ${i + 1}`,
        command: this.#program,
        parameters: Object.entries(parameters).map(([option, value]) => `--${option}=${value}`),
        directory: this.#directory,
      });
    });
    await untilReady(this.#daemons, 'etcd', START_LIMIT_MS, async () => (await this.#leads()).includes(true));
  }

  async stop(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
  }

  supports(_workload: Workload): boolean {
    return true;
  }

  async inspect(): Promise<SystemView> {
    const leads = await this.#leads();
    if (!leads.includes(true)) throw new BenchError('etcd has no leader');
    const roles = rolesOf(leads);
    // Goroutines move between threads, so that these say nothing.
    const threadName = () => 'Go';
    const processes = this.#daemons.map((daemon, i) => ({ daemon, role: roles[i] ?? '', threadName }));
    return {
      processes: leaderFirst(processes, leads),
      target: { kind: 'etcd', endpoints: leaderFirst(this.#endpoints, leads) },
    };
  }

  async beginWindow({ target }: SystemView): Promise<void> {
    this.#before = await this.#countsOf(target.endpoints[0] ?? '');
  }

  async endWindow({ target }: SystemView): Promise<WindowReport> {
    const after = await this.#countsOf(target.endpoints[0] ?? '');
    const syncs = after.syncs - (this.#before?.syncs ?? after.syncs);
    const entries = after.entries - (this.#before?.entries ?? after.entries);
    return { loopDelayMs: {}, entriesPerSync: syncs > 0 ? entries / syncs : undefined };
  }

  #leads(): Promise<boolean[]> {
    return Promise.all(
      this.#endpoints.map(async (endpoint) => metric(await metrics(endpoint), 'etcd_server_is_leader') === 1),
    );
  }

  async #countsOf(endpoint: string): Promise<Counts> {
    const text = await metrics(endpoint);
    return {
      entries: metric(text, 'etcd_server_proposals_committed_total'),
      syncs: metric(text, 'etcd_disk_wal_fsync_duration_seconds_count'),
    };
  }
}

async function metrics(endpoint: string): Promise<string> {
  const response = await fetch(`http://${endpoint}/metrics`);
  return response.text();
}

function metric(text: string, name: string): number {
  const match = new RegExp(`^${name} (\\S+)$`, 'm').exec(text);
  return match ? Number(match[1]) : 0;
}
