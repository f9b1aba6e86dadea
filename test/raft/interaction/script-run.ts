/**
 * Runs a script of etcd's and compares after each command what can be compared:
 *
 *   - what `raft-state`, `raft-log`, `status` and `compact` print, and whether a proposal is taken;
 *   - of all that show their output, the entries that each node was given as committed, and its term, vote and commit
 *     index where they changed. Entries are counted from the last command that hid its output, so none is lost between
 *     two.
 *
 * The wording of logs and messages, and which messages it takes, are each implementation's own.
 */
import type { HardState } from '../../../src/raft/types.js';
import { parseHead, parseScript, type ScriptCommand } from '../etcd-script.js';
import { Commands, DROPPED } from './commands.js';
import { DIFFERENCES, type DifferenceName, Inapplicable } from './differences.js';
import { nameChangesAlike, readExpectation } from './expectation.js';
import { printHardState } from './printing.js';
import { ScriptGroup } from './script-group.js';
import type { MakeCore, ScriptNode } from './script-node.js';

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

const PRINTING = new Set(['raft-state', 'raft-log', 'status', 'compact']);
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
    const parts = partsOf(script);
    const shown: ScriptCommand[] = [];
    let printed = '';
    for (const part of parts) {
      if (part.command === 'log-level') this.#isQuiet = part.words[0]?.toLowerCase() === 'none';
      const isQuiet = this.#isQuiet || part.args.get('log-level')?.[0] === 'none';
      try {
        const text = this.#commands.run(part) ?? '';
        if (!isQuiet || text === DROPPED) printed += text;
      } catch (error) {
        if (!(error instanceof Inapplicable)) {
          this.#mismatch(script, script.expected, `failed: ${error}\n`);
          return;
        }
        this.#doesNotApply(part, error.difference);
        if (parts.length === 1 || DIFFERENCES[error.difference].leavesOut === 'rest') return;
      }
      if (isQuiet) this.#hide();
      else if (part.command !== 'log-level') shown.push(part);
    }
    if (this.#group.nodes.some((node) => node.hasTransferred)) this.#doesNotApply(script, 'leaderTransfers');
    else this.#compare(script, shown, printed);
  }

  #hide(): void {
    this.#start = new Map(this.#group.nodes.map((node) => [node.id, node.committed.length]));
    this.#expected = new Map();
    for (const node of this.#group.nodes) this.#forgetRecovery(node);
  }

  /** If it has recovered. */
  #forgetRecovery(node: ScriptNode): void {
    const commit = Math.max(...this.#group.nodes.map(({ raft }) => raft.commitIndex));
    if (node.raft.commitIndex === commit) node.isRecovering = false;
  }

  #compare(script: ScriptCommand, shown: readonly ScriptCommand[], printed: string): void {
    const { expected } = script;
    const isProposal = PROPOSING.has(script.command);
    const prints = shown.some(({ command }) => PRINTING.has(command));
    if (isProposal) {
      const say = (said: string) => (said.includes(DROPPED.trim()) ? 'dropped\n' : 'taken\n');
      this.#compareText(script, say(expected), say(printed));
    }
    if (prints) {
      // Among others its text may stand between theirs.
      const isAlone = shown.every(({ command }) => PRINTING.has(command));
      const theirs = isAlone ? expected : linesLike(expected);
      this.#compareText(script, theirs, printed === '' ? 'ok\n' : printed);
    }
    if (shown.length > 0) this.#compareOutcome(script);
    if (isProposal || prints || shown.length > 0) this.#compared++;
  }

  #compareText(script: ScriptCommand, expected: string, actual: string): void {
    const theirs = this.#withoutForgotten(comparable(expected));
    const ours = this.#withoutForgotten(actual);
    if (theirs !== ours) this.#mismatch(script, theirs, ours);
  }

  #withoutForgotten(text: string): string {
    const lines = text.split('\n').map((line) => {
      const id = Number(line.split(':')[0]);
      const node = this.#group.nodes.find((one) => one.id === id);
      return node?.shouldHaveNoLeader === true ? line.replace(/ Lead:\d+$/, '') : line;
    });
    return lines.join('\n');
  }

  #compareOutcome(script: ScriptCommand): void {
    const { commits, hardStates } = readExpectation(script);
    for (const [id, entries] of commits) {
      this.#expected.set(id, [...(this.#expected.get(id) ?? []), ...entries]);
    }
    const theirs = (id: number) => this.#expected.get(id) ?? [];
    const ours = (id: number) => this.#group.node(id).committed.slice(this.#start.get(id) ?? 0);
    const differing: { node: ScriptNode; expected: string; actual: string; isAhead: boolean }[] = [];
    for (const node of this.#group.nodes) {
      const { id, raft } = node;
      const actual = { term: raft.term, vote: raft.vote, commit: raft.commitIndex };
      const expected = hardStates.get(id) ?? actual;
      const print = (entries: readonly string[], hardState: HardState) =>
        `${id}: ${[...entries, printHardState(hardState)].join(', ')}\n`;
      const texts = { expected: print(theirs(id), expected), actual: print(ours(id), actual) };
      const isAhead =
        theirs(id).every((entry, i) => entry === ours(id)[i]) && expected.commit <= actual.commit;
      if (texts.expected === texts.actual) this.#forgetRecovery(node);
      else differing.push({ node, ...texts, isAhead });
    }
    if (differing.length === 0) return;
    if (differing.every(({ node, isAhead }) => node.isRecovering && isAhead)) {
      this.#doesNotApply(script, 'recoversSooner');
      return;
    }
    const list = (of: 'expected' | 'actual') => differing.map((item) => item[of]).join('');
    this.#mismatch(script, list('expected'), list('actual'));
  }

  #doesNotApply({ line, command }: ScriptCommand, difference: DifferenceName): void {
    this.#inapplicable.push({ line, command, difference });
  }

  #mismatch({ line, command, words }: ScriptCommand, expected: string, actual: string): void {
    this.#mismatches.push({ line, command: [command, ...words].join(' '), expected, actual });
  }
}

/** A command may be followed by others, a line each. */
function partsOf(script: ScriptCommand): ScriptCommand[] {
  if (script.command === 'propose-conf-change' || script.input.trim() === '') return [script];
  const following = script.input.split('\n').filter((line) => line.trim() !== '');
  return [
    { ...script, input: '' },
    ...following.map((line) => ({ ...script, ...parseHead(line), input: '' })),
  ];
}

/**
 * What is not the same in all versions of etcd: which of two entries a change has, and what a follower was told of
 * commits.
 */
function comparable(expected: string): string {
  return nameChangesAlike(expected).replaceAll(/^(\d+: State\w+ match=\d+) commit=\d+/gm, '$1');
}

/** Of the expected lines those that a command prints whose text can be compared. */
function linesLike(expected: string): string {
  const isPrinted = (line: string) => /^(\d+: State|\d+\/\d+ Entry|log is empty)/.test(line);
  const lines = expected.split('\n').filter(isPrinted);
  return lines.length > 0 ? `${lines.join('\n')}\n` : 'ok\n';
}
