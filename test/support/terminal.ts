/** A process on a terminal of its own (a pseudo-terminal of Python's), 80 columns wide. */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { until } from './process-cluster.js';

/** Passes bytes on between its standard streams and the terminal, and ends as the process does. */
const RELAY = `
import fcntl, os, pty, select, signal, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
for each in [signal.SIGTERM, signal.SIGUSR2]:
    signal.signal(each, lambda number, _: os.kill(pid, number))
fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 80, 0, 0))
sources = [0, terminal]
while terminal in sources:
    for source in select.select(sources, [], [])[0]:
        try:
            data = os.read(source, 65536)
        except OSError:
            data = b''
        if not data:
            sources.remove(source)
            if source == 0:
                os.kill(pid, signal.SIGHUP)
        elif source == 0:
            os.write(terminal, data)
        else:
            os.write(1, data)
status = os.waitpid(pid, 0)[1]
sys.exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
`;

export const hasTerminals = spawnSync('python3', ['-c', 'import pty']).status === 0;

export class Terminal {
  readonly #relay: ChildProcess;
  readonly #ended: Promise<number>;
  #output = '';
  /** What came before this place was seen. */
  #seen = 0;

  constructor(command: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.#relay = spawn('python3', ['-c', RELAY, ...command], {
      stdio: ['pipe', 'pipe', 'inherit'],
      env: { ...process.env, TERM: 'xterm', ...env },
    });
    this.#relay.stdin?.on('error', () => {});
    this.#relay.stdout?.on('data', (data: Buffer) => {
      this.#output += data.toString();
    });
    this.#ended = new Promise((resolve) => this.#relay.once('close', (code) => resolve(code ?? -1)));
  }

  get output(): string {
    return this.#output;
  }

  /** Types it. */
  type(text: string): void {
    this.#relay.stdin?.write(text);
  }

  /** Waits until the terminal shows this, after what was waited for before. */
  async shows(pattern: RegExp): Promise<void> {
    const shown = () => pattern.exec(this.#output.slice(this.#seen));
    await until(() => shown() !== null, `the terminal shows ${pattern}`).catch((error: unknown) => {
      throw new Error(`${error}; it shows ${JSON.stringify(this.#output.slice(-2000))}`);
    });
    const match = shown();
    this.#seen += (match?.index ?? 0) + (match?.[0].length ?? 0);
  }

  ended(): Promise<number> {
    return this.#ended;
  }

  /** To the process. */
  signal(name: 'SIGTERM' | 'SIGUSR2'): void {
    this.#relay.kill(name);
  }

  kill(): void {
    this.#relay.kill('SIGKILL');
  }
}
