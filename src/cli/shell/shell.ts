/** What a shell does with a command, wherever that comes from. */
import type { Command } from 'commander';
import { realEnv } from '../../env/real/real-env.js';
import { addClientCommands } from '../client-commands.js';
import { type CommonOptions, withClient } from '../client-options.js';
import { EXIT, type ExitCode, UsageError } from '../exit-codes.js';
import { KeptClients } from '../kept-clients.js';
import { warnLine } from '../output.js';
import { asksForJson, commandRoot, reportError, runCommand, type SetExitCode } from '../run.js';
import { type Completion, complete } from './completion.js';
import { keysBeginningWith } from './key-completion.js';
import { META_HELP, type MetaCommand } from './meta-commands.js';

/** Options of the shell that hold for its commands. */
const SHARED = ['endpoints', 'secretFile', 'json', 'wait'] as const;
const COMPLETION_TIMEOUT_MS = 1000;

export class Shell {
  /** The command `shell`, with its options. */
  readonly #given: Command;
  readonly #kept = new KeptClients();
  readonly #isJson: boolean;
  #isTimed = false;

  constructor(given: Command) {
    this.#given = given;
    this.#isJson = given.getOptionValue('json') === true;
  }

  /** Never rejects. */
  async run(words: readonly string[]): Promise<ExitCode> {
    const isJson = this.#isJson || asksForJson(words);
    let exitCode: ExitCode = EXIT.done;
    const { clock } = realEnv();
    const startMs = clock.nowMs();
    const root = this.#commands(isJson, (code) => {
      exitCode = code;
    });
    await runCommand(root, words, isJson, (code) => {
      exitCode = code;
    });
    if (this.#isTimed) warnLine(`time: ${(clock.nowMs() - startMs).toFixed(3)} ms`);
    return exitCode;
  }

  /** All but `quit`. */
  async runMeta(command: Exclude<MetaCommand, { readonly name: 'quit' }>): Promise<ExitCode> {
    if (command.name === 'unknown') return this.fail(new UsageError(command.problem));
    if (command.name === 'help') {
      await runCommand(
        this.#commands(this.#isJson, () => {}),
        [...command.of, '--help'],
        this.#isJson,
        () => {},
      );
    } else {
      this.#isTimed = command.on ?? !this.#isTimed;
      warnLine(`timing is ${this.#isTimed ? 'on' : 'off'}`);
    }
    return EXIT.done;
  }

  fail(error: unknown): ExitCode {
    return reportError(error, this.#isJson);
  }

  /** Ends the command that runs. */
  cancel(): void {
    this.#kept.cancel();
  }

  close(): Promise<void> {
    return this.#kept.close();
  }

  complete(before: readonly string[], line: string): Promise<Completion> {
    const root = this.#commands(this.#isJson, () => {});
    const options = { ...this.#given.opts<CommonOptions>(), kept: this.#kept };
    return complete(root, before, line, (text) =>
      withClient(options, (client) => keysBeginningWith(client, text, COMPLETION_TIMEOUT_MS)),
    );
  }

  #commands(isJson: boolean, setExitCode: SetExitCode): Command {
    const root = commandRoot('raftree', isJson)
      .usage('COMMAND …')
      .addHelpText('after', `\n${META_HELP}`)
      .hook('preAction', (_, action) => this.#share(action));
    addClientCommands(root, setExitCode);
    return root;
  }

  #share(action: Command): void {
    action.setOptionValue('kept', this.#kept);
    for (const name of SHARED) {
      if (action.getOptionValue(name) === undefined)
        action.setOptionValue(name, this.#given.getOptionValue(name));
    }
    // Commands differ in how long they may take.
    if (
      this.#given.getOptionValueSource('timeout') === 'cli' &&
      action.getOptionValueSource('timeout') !== 'cli'
    )
      action.setOptionValue('timeout', this.#given.getOptionValue('timeout'));
  }
}
