/**
 * The terminal of this process as a screen that is drawn anew again and again. What was on it before comes back when
 * the screen is closed, and when the process ends, also by an error.
 */
import * as fs from 'node:fs';

const STANDARD_OUTPUT = 1;
/** The other screen, without a cursor; and back. */
const ENTER = '\x1b[?1049h\x1b[?25l';
const LEAVE = '\x1b[?25h\x1b[?1049l';
const CTRL_C = 3;

export class Screen {
  readonly #keys: (data: Buffer) => void;
  readonly #leave = () => this.close();
  #isOpen = true;

  /** `stop`: somebody pressed q, or Ctrl-C, which is no signal here. */
  constructor(stop: () => void) {
    this.#keys = (data) => {
      if (data.includes(CTRL_C) || /^q$/i.test(data.toString())) stop();
    };
    process.stdout.write(ENTER);
    process.once('exit', this.#leave);
    // Before what is said of the error, so that it is seen.
    process.prependOnceListener('uncaughtException', this.#leave);
    if (process.stdin.isTTY) {
      process.stdin.setRawMode(true);
      process.stdin.on('data', this.#keys);
    }
  }

  get columns(): number {
    return process.stdout.columns;
  }

  /** Lines that do not fit below each other are left out. They have no control characters. */
  draw(lines: readonly string[]): void {
    if (!this.#isOpen) return;
    const shown = lines.slice(0, Math.max(1, process.stdout.rows - 1));
    process.stdout.write(`\x1b[H${shown.map((line) => `${line}\x1b[K\r\n`).join('')}\x1b[J`);
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    process.off('exit', this.#leave);
    process.off('uncaughtException', this.#leave);
    if (process.stdin.isTTY) {
      process.stdin.off('data', this.#keys);
      process.stdin.setRawMode(false);
      process.stdin.pause();
    }
    try {
      // At once: the process may be about to end.
      fs.writeSync(STANDARD_OUTPUT, LEAVE);
    } catch {
      // The terminal is gone.
    }
  }
}
