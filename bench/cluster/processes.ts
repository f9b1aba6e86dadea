/** Child processes: what they print last is kept, none outlives the benchmark, and no end goes unseen. */
import { type ChildProcess, type StdioOptions, spawn } from 'node:child_process';
import { freePorts, whyNotFree } from '../free-ports.js';

/** Says what went wrong in words for whoever started the benchmark. */
export class BenchError extends Error {
  override readonly name = 'BenchError';
}

const KEPT_LINES = 20;
const KEPT_LINE_CHARACTERS = 2000;
const STOP_MS = 10_000;

/** Those that have not ended yet. */
const running = new Set<Daemon>();
let isClosed = false;

/** Ends all processes; none can be started any more. */
export async function stopAll(): Promise<void> {
  isClosed = true;
  await Promise.all([...running].map((daemon) => daemon.stop()));
}

export interface Launch {
  /** In messages: `raftree node 1`. */
  readonly label: string;
  readonly command: string;
  readonly parameters: readonly string[];
  readonly directory: string;
  /** With a channel for messages, which also ends the process when the benchmark ends in any way. */
  readonly channel?: boolean;
}

export class Daemon {
  readonly label: string;
  readonly #child: ChildProcess;
  readonly #lines: string[] = [];
  readonly #ended: Promise<void>;
  #partial = '';
  #isWanted = true;
  #end: string | undefined;

  constructor({ label, command, parameters, directory, channel }: Launch) {
    if (isClosed) throw new BenchError('the benchmark is ending');
    this.label = label;
    running.add(this);
    const stdio: StdioOptions = channel ? ['ignore', 'pipe', 'pipe', 'ipc'] : ['ignore', 'pipe', 'pipe'];
    // A group of its own: Ctrl-C reaches the benchmark alone, which then ends its children in order.
    this.#child = spawn(command, parameters, { cwd: directory, stdio, detached: true });
    for (const stream of [this.#child.stdout, this.#child.stderr])
      stream?.setEncoding('utf8').on('data', (text: string) => this.#keep(text));
    this.#ended = new Promise((resolve) => {
      const ended = (how: string) => {
        this.#end ??= how;
        running.delete(this);
        resolve();
      };
      this.#child.once('error', (error) => ended(`with an error: ${error.message}`));
      this.#child.once('close', (code, signal) => ended(signal ? `by ${signal}` : `with exit code ${code}`));
    });
  }

  get pid(): number {
    return this.#child.pid ?? 0;
  }

  get lastLines(): string {
    return [...this.#lines, this.#partial].filter((line) => line !== '').join('\n');
  }

  /** Rejects with a `BenchError` when the process ends though it is wanted; pending for ever otherwise. */
  async failure(): Promise<never> {
    await this.#ended;
    this.assertRunning();
    return new Promise(() => {});
  }

  assertRunning(): void {
    if (this.#end === undefined || !this.#isWanted) return;
    throw new BenchError(`${this.label} ended ${this.#end}. Its last lines:\n${indented(this.lastLines)}`);
  }

  onMessage(listener: (message: unknown) => void): void {
    this.#child.on('message', listener);
  }

  send(message: object): void {
    if (this.#child.connected) this.#child.send(message);
  }

  async stop(): Promise<void> {
    this.#isWanted = false;
    if (this.#end !== undefined) return;
    this.#child.kill('SIGTERM');
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_MS);
    await this.#ended;
    clearTimeout(timer);
  }

  #keep(text: string): void {
    const lines = (this.#partial + text).split('\n');
    this.#partial = (lines.pop() ?? '').slice(-KEPT_LINE_CHARACTERS);
    for (const line of lines) this.#lines.push(line.slice(0, KEPT_LINE_CHARACTERS));
    this.#lines.splice(0, this.#lines.length - KEPT_LINES);
  }
}

function indented(text: string): string {
  return text === '' ? '  (none)' : text.replace(/^/gm, '  ');
}

/**
 * Tries until it succeeds. Throws a `BenchError` when one of the processes has ended, or after the limit.
 */
export async function untilReady(
  daemons: readonly Daemon[],
  what: string,
  limitMs: number,
  attempt: () => Promise<boolean>,
): Promise<void> {
  const endMs = performance.now() + limitMs;
  let reason = '';
  for (;;) {
    for (const daemon of daemons) daemon.assertRunning();
    try {
      if (await attempt()) return;
    } catch (error) {
      reason = error instanceof Error ? `: ${error.message}` : '';
    }
    if (performance.now() > endMs) {
      const lines = daemons.map((daemon) => `${daemon.label}:\n${indented(daemon.lastLines)}`).join('\n');
      throw new BenchError(`${what} was not ready within ${limitMs / 1000} seconds${reason}\n${lines}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** So many ports on which nobody listens: from a first one on, or any. */
export async function portsFrom(count: number, from: number | undefined): Promise<number[]> {
  if (from === undefined) return freePorts(count);
  const ports = Array.from({ length: count }, (_, i) => from + i);
  for (const port of ports) {
    const reason = await whyNotFree(port);
    if (reason !== undefined)
      throw new BenchError(
        `port ${port} cannot be used (${reason}): choose another --base-port, or leave it out`,
      );
  }
  return ports;
}
