/**
 * Lines that a person types on the terminal of this process, with editing, history and completion (node:readline).
 * Ctrl-C is an event and no signal while the editor is open.
 */
import * as readline from 'node:readline';

export interface LineEditorHandler {
  line(text: string): void;
  /** Ctrl-C. What was typed in the line is gone. */
  interrupted(): void;
  /** Ctrl-D, `close`, or the terminal is gone. Called once, as the last call. */
  closed(): void;
  /** Candidates for the end of the line, up to the cursor, and that end. Never rejects. */
  complete(line: string): Promise<[candidates: string[], end: string]>;
}

export class LineEditor {
  readonly #interface: readline.Interface;
  readonly #history: () => readonly string[];
  /** The list that the editor walks through. */
  #shown: string[] | undefined;

  /** `history`: the newest first. The editor shows what it holds now, and adds nothing. */
  constructor(history: () => readonly string[], handler: LineEditorHandler) {
    this.#history = history;
    const editor = readline.createInterface({
      ...{ input: process.stdin, output: process.stdout, terminal: true },
      history: [...history()],
      historySize: Number.MAX_SAFE_INTEGER,
      completer: (line: string, done: (error: null, result: [string[], string]) => void) =>
        void handler.complete(line).then((result) => done(null, result)),
    });
    this.#interface = editor;
    editor.on('history', (shown: string[]) => {
      this.#shown = shown;
      this.#showHistory();
    });
    editor.on('line', (text) => handler.line(text));
    editor.on('SIGINT', () => {
      for (const name of ['u', 'k']) editor.write(null, { ctrl: true, name });
      process.stdout.write('^C\n');
      handler.interrupted();
    });
    editor.on('close', () => handler.closed());
  }

  /** Shows the prompt, and behind it what was typed before. */
  prompt(text: string): void {
    this.#showHistory();
    this.#interface.setPrompt(text);
    this.#interface.prompt(true);
  }

  /** From now on what is typed is shown without a prompt. */
  unprompt(): void {
    this.#interface.setPrompt('');
  }

  /** Reads no more, until `resume`: neither lines nor Ctrl-C. */
  pause(): void {
    this.#interface.pause();
  }

  resume(): void {
    this.#interface.resume();
  }

  close(): void {
    this.#interface.close();
  }

  #showHistory(): void {
    this.#shown?.splice(0, this.#shown.length, ...this.#history());
  }
}
