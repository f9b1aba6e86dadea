/** What `--help` says of the options. */
import { type Command, Help } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { buildProgram } from '../../src/cli/program.js';

function allBelow(command: Command): Command[] {
  return command.commands.flatMap((each) => [each, ...allBelow(each)]);
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

test.run();
