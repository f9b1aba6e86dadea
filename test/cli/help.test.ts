/** What `--help` says of the options, and its examples. */
import { type Command, CommanderError, Help } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildProgram } from '../../src/cli/program.js';
import { Words } from '../../src/cli/shell/words.js';

function allBelow(command: Command): Command[] {
  return command.commands.flatMap((each) => [each, ...allBelow(each)]);
}

function pathOf(command: Command): string {
  return command.parent ? `${pathOf(command.parent)} ${command.name()}` : command.name();
}

test('no default is told twice', () => {
  const program = buildProgram(false, () => {});
  let defaults = 0;
  for (const command of allBelow(program)) {
    for (const option of command.options) {
      const told = new Help().optionDescription(option);
      const count = told.match(/default/g)?.length ?? 0;
      assert.ok(count <= 1, `${command.name()}: ${told}`);
      defaults += count;
    }
  }
  assert.ok(defaults > 20, `${defaults} defaults`);
});

/** The lines behind `Examples:`. */
function examplesOf(command: Command): string[] {
  let help = '';
  command.configureOutput({
    writeOut: (text) => {
      help += text;
    },
  });
  command.outputHelp();
  const [, ...after] = help.split(/^Examples:\n/m);
  assert.is(after.length, 1, `${pathOf(command)} --help has examples, once`);
  return (after[0] ?? '').split('\n').filter((line) => line.trim() !== '');
}

/** Which commands a line would run, by the real parser. Rejects with a CommanderError. */
async function parsed(line: string): Promise<string[]> {
  const words = new Words();
  words.add(line.trim());
  assert.not(words.isOpen, line);
  const pipe: string[][] = [[]];
  for (const word of words.end()) {
    if (word === '|') pipe.push([]);
    else pipe.at(-1)?.push(word);
  }
  const run: string[] = [];
  for (const [command, ...args] of pipe) {
    if (command !== 'raftree') continue;
    const redirected = args.findIndex((word) => word === '<' || word === '>');
    const program = buildProgram(true, () => {});
    for (const each of allBelow(program)) {
      each.configureOutput({ writeOut: () => {}, writeErr: () => {} }).action(() => {
        run.push(pathOf(each));
      });
    }
    await program.parseAsync(args.slice(0, redirected < 0 ? args.length : redirected), { from: 'user' });
  }
  return run;
}

test('every command has examples, and they are such as it takes', async () => {
  const program = buildProgram(false, () => {});
  for (const command of [program, ...allBelow(program)]) {
    const run: string[] = [];
    for (const line of examplesOf(command)) {
      try {
        run.push(...(await parsed(line)));
      } catch (error) {
        if (error instanceof CommanderError && error.exitCode === 0) continue;
        throw new Error(`${pathOf(command)} --help: "${line.trim()}": ${error}`);
      }
    }
    const path = pathOf(command);
    const isShown = run.some((each) => (command.commands.length > 0 ? each.startsWith(path) : each === path));
    assert.ok(isShown, `${path} --help shows how it is used`);
  }
});

test('an example with what does not exist is seen', async () => {
  for (const line of [
    'raftree fly',
    'raftree get',
    'raftree get a b',
    'raftree get a --fast',
    'raftree get a --level up',
  ])
    await parsed(line).then(
      () => assert.unreachable(line),
      (error: unknown) => assert.instance(error, CommanderError),
    );
});

test.run();
