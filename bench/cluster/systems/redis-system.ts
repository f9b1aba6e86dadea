/** One Redis whose every acknowledged write is synced to its append-only file: what one node alone would do. */
import { mkdirSync } from 'node:fs';
import { RedisConnection } from '../clients/redis-connection.js';
import type { Workload } from '../load/workloads.js';
import { Daemon, portsFrom, untilReady } from '../processes.js';
import type { Place, System, SystemView, WindowReport } from './system.js';

const START_LIMIT_MS = 30_000;

export class RedisSystem implements System {
  readonly name = 'redis';
  readonly #program: string;
  readonly #directory: string;
  readonly #basePort: number | undefined;
  #daemons: Daemon[] = [];
  #endpoint = '';

  constructor(program: string, { directory, basePort }: Place) {
    this.#program = program;
    this.#directory = directory;
    this.#basePort = basePort;
  }

  get daemons(): readonly Daemon[] {
    return this.#daemons;
  }

  async start(): Promise<void> {
    const [port] = await portsFrom(1, this.#basePort);
    this.#endpoint = `127.0.0.1:${port}`;
    mkdirSync(this.#directory, { recursive: true });
    const settings = {
      port,
      bind: '127.0.0.1',
      dir: this.#directory,
      appendonly: 'yes',
      appendfsync: 'always',
      save: '',
      // A process of its own would do it, whose CPU time would not be counted.
      'auto-aof-rewrite-percentage': 0,
    };
    this.#daemons = [
      new Daemon({
        label: 'redis',
        command: this.#program,
        parameters: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, String(value)]),
        directory: this.#directory,
      }),
    ];
    await untilReady(this.#daemons, 'redis', START_LIMIT_MS, async () => {
      const connection = await RedisConnection.open(this.#target());
      await connection.get(Buffer.from('ready'));
      await connection.close();
      return true;
    });
  }

  async stop(): Promise<void> {
    await Promise.all(this.#daemons.map((daemon) => daemon.stop()));
  }

  /** It has no order of keys. */
  supports({ mix }: Workload): boolean {
    return mix.every(([operation]) => operation !== 'scan');
  }

  async inspect(): Promise<SystemView> {
    const processes = this.#daemons.map((daemon) => ({
      daemon,
      role: 'server',
      threadName: (threadId: number) => (threadId === daemon.pid ? 'main' : undefined),
    }));
    return { processes, target: this.#target() };
  }

  async beginWindow(): Promise<void> {}

  async endWindow(): Promise<WindowReport> {
    return { loopDelayMs: {}, entriesPerSync: undefined };
  }

  #target() {
    return { kind: 'redis', endpoints: [this.#endpoint] } as const;
  }
}
