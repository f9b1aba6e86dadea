/** Nodes as real processes with real sockets and disks, in a temporary folder. */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as os from 'node:os';
import * as path from 'node:path';
import { Readable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { freePorts } from '../../bench/free-ports.js';
import { RaftreeClient } from '../../src/client/client.js';
import type { ClientOptions } from '../../src/client/client-options.js';
import type { NodeConfigInput } from '../../src/server/config.js';

export const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export interface CommandResult {
  readonly code: number;
  readonly stdout: Buffer;
  readonly stderr: string;
}

/** Runs the command line to its end. */
export function raftree(
  args: readonly string[],
  input?: string | Buffer,
  env: NodeJS.ProcessEnv = {},
): Promise<CommandResult> {
  const child = spawn(process.execPath, [MAIN, ...args], { stdio: 'pipe', env: { ...process.env, ...env } });
  return finish(child, input);
}

export function finish(child: ChildProcess, input?: string | Buffer | Readable): Promise<CommandResult> {
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout?.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr?.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin?.on('error', () => {});
  if (child.stdin && input instanceof Readable) input.pipe(child.stdin);
  else child.stdin?.end(input);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => {
      resolve({
        code: code ?? (signal ? -1 : 0),
        stdout: Buffer.concat(stdout),
        stderr: Buffer.concat(stderr).toString(),
      });
    });
  });
}

export function temporaryDirectory(): string {
  return fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-test-'));
}

/** Waits until the condition holds, looking again and again. */
export async function until(
  condition: () => boolean | Promise<boolean>,
  what: string,
  limitMs = 100_000,
  everyMs = 25,
): Promise<void> {
  const deadlineMs = performance.now() + limitMs;
  while (!(await condition())) {
    if (performance.now() > deadlineMs)
      throw new Error(`within ${limitMs} ms it did not happen that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, everyMs));
  }
}

export class ProcessCluster {
  readonly directory: string;
  readonly size: number;
  readonly #children = new Map<number, ChildProcess>();
  readonly #output = new Map<number, string>();
  #ports: number[] = [];

  private constructor(size: number) {
    this.directory = temporaryDirectory();
    this.size = size;
  }

  /** `joining`: nodes that know all others, which have never heard of them. */
  static async create(
    size: number,
    settings: Partial<NodeConfigInput> = {},
    joining: readonly number[] = [],
  ): Promise<ProcessCluster> {
    const cluster = new ProcessCluster(size);
    cluster.#ports = await freePorts(2 * size);
    const nodes = Array.from({ length: size }, (_, i) => ({
      id: i + 1,
      client: `127.0.0.1:${cluster.#ports[2 * i]}`,
      peer: `127.0.0.1:${cluster.#ports[2 * i + 1]}`,
    }));
    for (const { id } of nodes) {
      const config: NodeConfigInput = {
        clusterId: 'processes',
        nodeId: id,
        dataDirectory: `n${id}`,
        nodes: joining.includes(id) ? nodes : nodes.filter((node) => !joining.includes(node.id)),
        join: joining.includes(id),
        ...settings,
      };
      fs.writeFileSync(cluster.configFile(id), JSON.stringify(config));
    }
    return cluster;
  }

  get endpoints(): string[] {
    return Array.from({ length: this.size }, (_, i) => this.endpoint(i + 1));
  }

  endpoint(id: number): string {
    return `127.0.0.1:${this.#ports[2 * (id - 1)]}`;
  }

  peerPort(id: number): number {
    return this.#ports[2 * (id - 1) + 1] ?? 0;
  }

  configFile(id: number): string {
    return path.join(this.directory, `n${id}.json`);
  }

  dataDirectory(id: number): string {
    return path.join(this.directory, `n${id}`);
  }

  output(id: number): string {
    return this.#output.get(id) ?? '';
  }

  pid(id: number): number {
    return this.#children.get(id)?.pid ?? 0;
  }

  /** Starts a node; resolves when it says that it is ready. */
  async start(id: number): Promise<void> {
    this.spawn(id);
    await until(() => {
      const { exitCode, signalCode } = this.#running(id);
      if (exitCode !== null || signalCode !== null) throw new Error(`node ${id} ended:\n${this.output(id)}`);
      return this.output(id).includes(`node ${id} is ready`);
    }, `node ${id} is ready`);
  }

  #running(id: number): ChildProcess {
    const child = this.#children.get(id);
    if (!child) throw new Error(`node ${id} was never started`);
    return child;
  }

  spawn(id: number): void {
    const child = spawn(process.execPath, [MAIN, 'start', this.configFile(id)], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.#children.set(id, child);
    this.#output.set(id, '');
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => this.#output.set(id, this.output(id) + chunk.toString()));
    }
  }

  async startAll(): Promise<void> {
    await Promise.all(Array.from({ length: this.size }, (_, i) => this.start(i + 1)));
  }

  /** Resolves, with the exit code or the signal, when the process is gone. */
  async signal(id: number, signal: NodeJS.Signals): Promise<number | NodeJS.Signals | null> {
    const child = this.#children.get(id);
    if (!child || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const gone = new Promise<number | NodeJS.Signals | null>((resolve) =>
      child.once('close', (code, bySignal) => resolve(code ?? bySignal)),
    );
    child.kill(signal);
    return gone;
  }

  async killAll(): Promise<void> {
    await Promise.all([...this.#children.keys()].map((id) => this.signal(id, 'SIGKILL')));
  }

  client(options: Partial<ClientOptions> = {}): RaftreeClient {
    return new RaftreeClient({ endpoints: this.endpoints, timeoutMs: 100_000, ...options });
  }

  /** The id of the node that leads, as one of the nodes sees it. */
  async leader(): Promise<number> {
    const client = this.client();
    try {
      let leader = 0;
      await until(async () => {
        leader = (await client.status()).leaderId;
        return leader !== 0;
      }, 'there is a leader');
      return leader;
    } finally {
      await client.close();
    }
  }

  /** Kills what still runs and removes the folder. */
  async destroy(): Promise<void> {
    await this.killAll();
    fs.rmSync(this.directory, { recursive: true, force: true });
  }
}
