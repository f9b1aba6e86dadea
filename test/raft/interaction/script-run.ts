/**
 * Runs a script of etcd's and compares after each command what can be compared:
 *
 *   - what `raft-state`, `raft-log` and `status` print, and whether a proposal is taken;
 *   - of everything else that shows its output, the entries that each node was given as committed. They are counted from
 *     the last command that hid its output, so nothing is lost between two commands.
 *
 * The wording of logs and messages, and which messages it takes, are each implementation's own.
 */
import { parseScript, type ScriptCommand } from '../etcd-script.js';
import { Commands } from './commands.js';
import { DIFFERENCES, type DifferenceName, Inapplicable } from './differences.js';
import { expectedCommits, nameChangesAlike } from './expectation.js';
import { ScriptGroup } from './script-group.js';
import type { MakeCore } from './script-node.js';

export interface Place {
  readonly line: number;
  readonly command: string;
}

export interface ScriptReport {
  readonly commands: number;
  readonly compared: number;
  readonly inapplicable: readonly (Place & { readonly difference: DifferenceName })[];
  /** Commands that were left out because of one before them. */
  readonly leftOut: number;
  readonly mismatches: readonly (Place & { readonly expected: string; readonly actual: string })[];
}

const PRINTING = new Set(['raft-state', 'raft-log', 'status']);
const PROPOSING = new Set(['propose', 'propose-conf-change']);

export function runScript(file: string, makeCore?: MakeCore): ScriptReport {
  return new ScriptRun(parseScript(file), makeCore).run();
}

class ScriptRun {
  readonly #script: readonly ScriptCommand[];
  readonly #group: ScriptGroup;
  readonly #commands: Commands;
  #isQuiet = false;
  /** Of each node, how much it had been given as committed when output was last hidden, and what was expected since. */
  #start = new Map<number, number>();
  #expected = new Map<number, string[]>();
  #compared = 0;
  readonly #inapplicable: ScriptReport['inapplicable'][number][] = [];
  readonly #mismatches: ScriptReport['mismatches'][number][] = [];

  constructor(script: readonly ScriptCommand[], makeCore: MakeCore | undefined) {
    this.#script = script;
    this.#group = new ScriptGroup(makeCore);
    this.#commands = new Commands(this.#group);
  }

  run(): ScriptReport {
    let done = 0;
    for (const script of this.#script) {
      if (this.#inapplicable.some(({ difference }) => DIFFERENCES[difference].leavesOut === 'rest')) break;
      done++;
      this.#runCommand(script);
    }
    const commands = this.#script.length;
    return {
      commands,
      compared: this.#compared,
      inapplicable: this.#inapplicable,
      leftOut: commands - done,
      mismatches: this.#mismatches,
    };
  }

  #runCommand(script: ScriptCommand): void {
    const { command, words, args, line } = script;
    if (command === 'log-level') this.#isQuiet = words[0] === 'none';
    try {
      const text = this.#commands.run(script);
      if (this.#group.nodes.some((node) => node.hasHandedOver)) throw new Inapplicable('leaderHandsOver');
      this.#compare(script, text, this.#isQuiet || args.get('log-level')?.[0] === 'none');
    } catch (error) {
      if (error instanceof Inapplicable) {
        this.#inapplicable.push({ line, command, difference: error.difference });
      } else this.#mismatch(script, script.expected, `failed: ${error}`);
    }
  }

  #compare(script: ScriptCommand, text: string | undefined, isQuiet: boolean): void {
    const { command, expected } = script;
    if (command === 'log-level') return;
    if (PRINTING.has(command)) {
      this.#compareText(script, nameChangesAlike(expected), text ?? '');
    } else if (PROPOSING.has(command)) {
      const isDropped = (said: string) => said.includes('proposal dropped');
      const say = (said: string) => (isDropped(said) ? 'dropped\n' : 'taken\n');
      this.#compareText(script, say(expected), say(text ?? ''));
    } else if (isQuiet) {
      this.#start = new Map(this.#group.nodes.map((node) => [node.id, node.committed.length]));
      this.#expected = new Map();
    } else this.#compareCommits(script);
  }

  #compareText(script: ScriptCommand, expected: string, actual: string): void {
    this.#compared++;
    const [theirs, ours] =
      script.command === 'raft-state'
        ? [this.#withoutForgotten(expected), this.#withoutForgotten(actual)]
        : [expected, actual];
    if (theirs !== ours) this.#mismatch(script, theirs, ours);
  }

  #withoutForgotten(text: string): string {
    const lines = text.split('\n').map((line) => {
      const id = Number(line.split(':')[0]);
      const node = this.#group.nodes.find((one) => one.id === id);
      return node?.shouldHaveNoLeader ? line.replace(/ Lead:\d+$/, '') : line;
    });
    return lines.join('\n');
  }

  #compareCommits(script: ScriptCommand): void {
    this.#compared++;
    for (const [id, entries] of expectedCommits(script)) {
      this.#expected.set(id, [...(this.#expected.get(id) ?? []), ...entries]);
    }
    const list = (of: (id: number) => readonly string[]) =>
      this.#group.nodes.map(({ id }) => `${id}: ${of(id).join(', ')}\n`).join('');
    const theirs = list((id) => this.#expected.get(id) ?? []);
    const ours = list((id) => this.#group.node(id).committed.slice(this.#start.get(id) ?? 0));
    if (theirs !== ours) this.#mismatch(script, theirs, ours);
  }

  #mismatch({ line, command, words }: ScriptCommand, expected: string, actual: string): void {
    this.#mismatches.push({ line, command: [command, ...words].join(' '), expected, actual });
  }
}
