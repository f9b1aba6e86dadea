/** What `--help` says of the options. */
import { Command, Help } from 'commander';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { addClusterCommand } from '../../src/cli/cluster-command.js';
import { addExportCommand } from '../../src/cli/export-command.js';
import { addImportCommand } from '../../src/cli/import-command.js';
import { addKeyCommands } from '../../src/cli/key-commands.js';
import { addLifeCommands } from '../../src/cli/life-commands.js';
import { addMemberCommands } from '../../src/cli/member-commands.js';
import { addScanCommand } from '../../src/cli/scan-command.js';
import { addStartCommand } from '../../src/cli/start-command.js';
import { addStatusCommand } from '../../src/cli/status-command.js';

function allBelow(command: Command): Command[] {
  return command.commands.flatMap((each) => [each, ...allBelow(each)]);
}

test('no default is told twice', () => {
  const program = new Command();
  const none = () => {};
  for (const add of [
    addClusterCommand,
    addExportCommand,
    addMemberCommands,
    addScanCommand,
    addStatusCommand,
  ])
    add(program);
  for (const add of [addImportCommand, addKeyCommands, addLifeCommands, addStartCommand]) add(program, none);
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
