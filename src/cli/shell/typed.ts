/** A shell on a terminal: prompt, history, completion, Ctrl-C and Ctrl-D. */
import { LineEditor } from '../../env/real/line-editor.js';
import { VERSION } from '../../server/version.js';
import { printLine, warnLine } from '../output.js';
import { History, historyFile } from './history.js';
import { metaCommand } from './meta-commands.js';
import type { Shell } from './shell.js';
import { quoted, Words } from './words.js';

const NAME = 'raftree';
/** More are not read while a command runs. */
const MAX_WAITING_LINES = 1000;
const INTERRUPTED = 130;

/** Resolves when the shell is left. */
export async function runTyped(shell: Shell): Promise<void> {
  printLine(`${NAME} ${VERSION}: \\help shows the commands, \\quit leaves`);
  const history = new History(historyFile(process.env));
  if (history.problem !== undefined) warnLine(`${NAME}: the history is not kept: ${history.problem}`);
  await new Promise<void>((left) => new Typed(shell, history, left).start());
}

class Typed {
  readonly #shell: Shell;
  readonly #history: History;
  readonly #left: () => void;
  readonly #editor: LineEditor;
  /** Lines that were typed while a command ran. */
  readonly #waiting: string[] = [];
  /** The lines of the present command, if it goes on, and its words. */
  #lines: string[] = [];
  #words = new Words();
  #isBusy = false;
  #isRunning = false;
  #isCancelled = false;
  #isLeaving = false;

  constructor(shell: Shell, history: History, left: () => void) {
    this.#shell = shell;
    this.#history = history;
    this.#left = left;
    this.#editor = new LineEditor(() => history.entries, {
      line: (text) => this.#line(text),
      interrupted: () => this.#interrupted(),
      closed: () => this.#closed(),
      complete: (line) =>
        this.#isBusy
          ? Promise.resolve([[], line])
          : shell.complete(this.#lines, line).catch(() => [[], line]),
    });
  }

  start(): void {
    this.#prompt();
  }

  #prompt(): void {
    const { quote, isOpen } = this.#words;
    const goesOn = `${(quote || '.').padStart(NAME.length)}> `;
    this.#editor.prompt(isOpen ? goesOn : `${NAME}> `);
  }

  #line(text: string): void {
    this.#waiting.push(text);
    if (this.#waiting.length >= MAX_WAITING_LINES) this.#editor.pause();
    if (!this.#isBusy) void this.#work();
  }

  async #work(): Promise<void> {
    this.#isBusy = true;
    this.#editor.unprompt();
    for (
      let line = this.#waiting.shift();
      line !== undefined && !this.#isLeaving;
      line = this.#waiting.shift()
    ) {
      if (this.#waiting.length === 0) this.#editor.resume();
      await this.#take(line);
    }
    this.#isBusy = false;
    if (this.#isLeaving) this.#left();
    else this.#prompt();
  }

  async #take(line: string): Promise<void> {
    try {
      const meta = this.#words.isOpen ? undefined : metaCommand(line);
      if (meta) {
        this.#history.add(line.trimEnd());
        if (meta.name === 'quit') this.#editor.close();
        else await this.#shell.runMeta(meta);
        return;
      }
      this.#words.add(line);
      this.#lines.push(line);
      if (this.#words.isOpen) return;
      const [first = '', ...others] = this.#lines;
      const words = this.#words.end();
      const space = first.startsWith(' ') ? ' ' : '';
      this.#history.add(others.length === 0 ? first.trimEnd() : space + words.map(quoted).join(' '));
      this.#startAnew();
      if (words.length === 0) return;
      this.#isRunning = true;
      await this.#shell.run(words);
    } catch (error) {
      this.#startAnew();
      this.#shell.fail(error);
    } finally {
      this.#isRunning = false;
      this.#isCancelled = false;
    }
  }

  #startAnew(): void {
    this.#lines = [];
    this.#words = new Words();
  }

  /** Ends the command that runs; what was typed behind it does not run. A second one ends the process. */
  #interrupted(): void {
    if (this.#isCancelled) process.exit(INTERRUPTED);
    this.#waiting.length = 0;
    if (this.#isRunning) {
      this.#isCancelled = true;
      this.#shell.cancel();
      return;
    }
    this.#startAnew();
    if (!this.#isBusy) this.#prompt();
  }

  #closed(): void {
    this.#isLeaving = true;
    if (!this.#isBusy) {
      printLine('');
      this.#left();
    }
  }
}
