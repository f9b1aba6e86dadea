/** The commands of a client: of the command line and of the shell. */
import type { Command } from 'commander';
import { addBalanceCommand } from './balance-command.js';
import { addExportCommand } from './export-command.js';
import { addImportCommand } from './import-command.js';
import { addKeyCommands } from './key-commands.js';
import { addLifeCommands } from './life-commands.js';
import { addMemberCommands } from './member-commands.js';
import { addPlacementCommands } from './placement-commands.js';
import type { SetExitCode } from './run.js';
import { addScanCommand } from './scan-command.js';
import { addShardsCommand } from './shards-command.js';
import { addStatusCommand } from './status-command.js';
import { addTabletCommand } from './tablet-command.js';
import { addWatchCommand } from './watch-command.js';

export function addClientCommands(root: Command, setExitCode: SetExitCode): void {
  addKeyCommands(root, setExitCode);
  addLifeCommands(root, setExitCode);
  addScanCommand(root);
  addWatchCommand(root);
  addImportCommand(root, setExitCode);
  addExportCommand(root);
  addStatusCommand(root);
  addShardsCommand(root);
  addMemberCommands(root);
  addPlacementCommands(root, addTabletCommand(root));
  addBalanceCommand(root);
}
