/**
 * Clients of Redis: they know no leader, ask any node, have several writes under way on a connection, and repeat none.
 * What a node does not lead its door passes on.
 */
// A node loads its door when it opens it. In virtual time that must have happened before.
import '../../doors/resp/listener.js';
import type { Env, Socket } from '../../env/env.js';
import type { RedisCall } from '../rules/redis-rules.js';
import { redisPort } from '../run/node-json.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { RunMachine } from '../run/run-machine.js';
import { REDIS_KEYS } from '../setting/setting.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { EXPECTED_CODES } from './workload.js';

const CLIENTS = 2;
const CONNECT_MS = 500;
const MAX_PAUSE_MS = 100;
/** Whoever waits longer closes the connection. */
const MAX_PATIENCE_MS = 4000;
const MAX_AT_ONCE = 6;
/** So long a node tries what a client asked for, also when that has gone. */
const LATE_WRITES_MS = 11_000;
/** Most values are small; some take several packets. */
const PADDING_BYTES = [0, 0, 20, 3000] as const;
const COVERAGE_OF = {
  ok: 'writes of Redis clients',
  notCommitted: 'writes of Redis clients refused',
  unknown: 'writes of Redis clients of unknown outcome',
} as const;

export class RedisClients {
  readonly calls: RedisCall[] = [];
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #running: Promise<void>[] = [];
  #connections = 0;
  #tokens = 0;
  /** When a connection was closed whose writes had no answers yet. */
  #leftAtMs = Number.NEGATIVE_INFINITY;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
  }

  start(): void {
    if (!this.#cluster.setting.hasRedisClients) return;
    for (let i = 1; i <= CLIENTS; i++) this.#running.push(this.#run(this.#cluster.host(`r${i}`).env));
  }

  /** Resolves when no write is under way any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    await Promise.all(this.#running);
    await this.#cluster.sleep(Math.max(0, this.#leftAtMs + LATE_WRITES_MS - this.#cluster.nowMs));
  }

  async #run(env: Env): Promise<void> {
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * MAX_PAUSE_MS);
      const machine = this.#random.pick(this.#cluster.machines);
      const socket = await env.net
        .connect({ host: '127.0.0.1', port: redisPort(machine.id) }, CONNECT_MS)
        .catch(() => undefined);
      if (socket) await this.#use(env, machine, socket);
    }
  }

  /** Until one side has had enough of the connection. */
  async #use(env: Env, machine: RunMachine, socket: Socket): Promise<void> {
    const random = this.#random;
    const connection = `r.${++this.#connections}`;
    const waiting: RedisCall[] = [];
    let [text, isOpen] = ['', true];
    let told = () => {};
    socket.handle({
      data: (chunk) => {
        const lines = `${text}${chunk.toString('latin1')}`.split('\r\n');
        text = lines.pop() ?? '';
        for (const line of lines) this.#answered(waiting.shift(), line);
        told();
      },
      drained: () => {},
      closed: () => {
        isOpen = false;
        told();
      },
    });
    while (isOpen && !this.#stopped && this.#isOfCluster(machine) && random.chance(0.95)) {
      const key = random.pick(REDIS_KEYS);
      for (let n = random.between(1, MAX_AT_ONCE); n > 0; n--)
        waiting.push(this.#set(socket, connection, key));
      if (random.chance(0.05)) break;
      let isPatient = true;
      const patience = env.timers.after(random.float() * MAX_PATIENCE_MS, () => {
        isPatient = false;
        told();
      });
      while (isOpen && isPatient && waiting.length > 0)
        await new Promise<void>((resolve) => {
          told = resolve;
        });
      patience.cancel();
      if (!isPatient) break;
      await this.#cluster.sleep(random.float() * MAX_PAUSE_MS);
    }
    if (waiting.length > 0) this.#leftAtMs = this.#cluster.nowMs;
    socket.destroy();
  }

  #set(socket: Socket, connection: string, key: string): RedisCall {
    // As tokens of string operations are, which have smaller numbers of clients.
    const token = `c1000.s${++this.#tokens};`;
    const value = token.padEnd(token.length + this.#random.pick(PADDING_BYTES), '.');
    socket.write([
      Buffer.from(`*3\r\n$3\r\nSET\r\n$${key.length}\r\n${key}\r\n$${value.length}\r\n${value}\r\n`),
    ]);
    const call: RedisCall = { connection, key, token, answer: 'unknown' };
    this.calls.push(call);
    return call;
  }

  #answered(call: RedisCall | undefined, line: string): void {
    const { coverage } = this.#cluster;
    const [, code = line] = /^-[A-Z]+ ([A-Z_]+): /.exec(line) ?? [];
    if (!call || (line !== '+OK' && !EXPECTED_CODES.has(code)))
      this.#cluster.unexpectedAnswer('a client of Redis', code, line);
    if (!call) return;
    call.answer = line === '+OK' ? 'ok' : line.startsWith('-UNKNOWN ') ? 'unknown' : 'notCommitted';
    coverage.count(COVERAGE_OF[call.answer]);
  }

  /** A door does not say of which cluster it is. */
  #isOfCluster({ isForeign, startedWith, state }: RunMachine): boolean {
    return state === 'up' && !isForeign && startedWith === undefined;
  }
}
