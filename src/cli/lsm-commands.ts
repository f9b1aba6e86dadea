/**
 * lsm verify, stats, dump and repair: the files of a storage engine that no process has open. The engine is
 * loaded only when one of them runs.
 */
import type { Command } from 'commander';
import { errorCode, errorMessage } from '../env/errors.js';
import { realEnv } from '../env/real/real-env.js';
import { parseCount } from './client-options.js';
import { examples } from './examples.js';
import { EXIT, type ExitCode, UsageError } from './exit-codes.js';
import { dumpAsJson, dumpAsText, repairAsText, statsAsText, toJson, verifyAsText } from './lsm-output.js';
import { print, printLine } from './output.js';

interface JsonOption {
  readonly json?: true;
}

interface DumpOptions extends JsonOption {
  readonly file?: string;
  readonly limit?: number;
}

const NOT_OPEN = 'Only for a tree that no process has open: stop the node first.';

export function addLsmCommands(program: Command, setExitCode: (code: ExitCode) => void): void {
  const lsm = program.command('lsm').description('inspect, check and repair the files of a storage engine');
  lsm.addHelpText(
    'after',
    examples(
      [
        'raftree lsm verify data/cluster/n1/store/groups/1/state-1',
        'raftree lsm dump data/tree --limit 20 --json',
      ],
      NOT_OPEN,
    ),
  );
  const add = (name: string, description: string) =>
    lsm
      .command(name)
      .argument('<directory>', 'the tree; a node keeps one per group, data/…/groups/<group>')
      .description(description)
      .option('--json', 'print JSON')
      .addHelpText(
        'after',
        examples([`raftree lsm ${name} data/tree`, `raftree lsm ${name} data/tree --json`], NOT_OPEN),
      );

  add('verify', 'check all checksums and all rules of the format; exit code 1 if there is a problem').action(
    (directory: string, options: JsonOption) =>
      onTree(async () => {
        const { verifyDirectory } = await import('../lsm/tools/verify-directory.js');
        const report = await verifyDirectory(realEnv(), directory);
        printLine(options.json ? toJson(report) : verifyAsText(directory, report));
        if (report.problems.length > 0) setExitCode(EXIT.notMet);
      }),
  );

  add('stats', 'levels, sizes, entries, sequences, WAL, garbage').action(
    (directory: string, options: JsonOption) =>
      onTree(async () => {
        const { statDirectory } = await import('../lsm/tools/directory-stats.js');
        const stats = await statDirectory(realEnv(), directory);
        printLine(options.json ? toJson(stats) : statsAsText(stats));
        if (stats.problems.length > 0) setExitCode(EXIT.notMet);
      }),
  );

  add('dump', 'print MANIFEST, WAL and tables, record by record; --json as JSON Lines')
    .option('--file <name>', 'only this file of the directory')
    .option('--limit <n>', 'print at most this many lines', parseCount)
    .action((directory: string, options: DumpOptions) => onTree(() => dump(directory, options, setExitCode)));

  add(
    'repair',
    'rebuild a consistent tree from all intact data; originals stay in its folder lost/; exit code 1 if data was lost',
  ).action((directory: string, options: JsonOption) =>
    onTree(async () => {
      const { repairTree } = await import('../lsm/tools/repair.js');
      const report = await repairTree(realEnv(), directory);
      printLine(options.json ? toJson(report) : repairAsText(directory, report));
      if (report.losses.length + report.warnings.length > 0) setExitCode(EXIT.notMet);
    }),
  );
}

/** A directory that is not a tree is the user's mistake, not damage. */
async function onTree(work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (errorCode(error) === 'LSM_INVALID' || errorCode(error) === 'ENOTDIR')
      throw new UsageError(errorMessage(error));
    throw error;
  }
}

async function dump(
  directory: string,
  { file, limit = Number.POSITIVE_INFINITY, json }: DumpOptions,
  setExitCode: (code: ExitCode) => void,
): Promise<void> {
  const { dumpableFiles, dumpFile } = await import('../lsm/tools/dump.js');
  const env = realEnv();
  if (!env.fs.exists(directory)) throw new UsageError(`${directory} does not exist`);
  const files = dumpableFiles(env.fs.list(directory));
  if (files.length === 0) throw new UsageError(`${directory} is not a tree`);
  if (file !== undefined && !files.includes(file)) {
    throw new UsageError(`${directory} has no ${file}; there are ${files.join(', ')}`);
  }
  let lines = 0;
  for (const name of file === undefined ? files : [file]) {
    for (const record of dumpFile(env, directory, name)) {
      if (lines++ >= limit) return;
      if (record.kind === 'damaged') setExitCode(EXIT.notMet);
      await print(`${json ? dumpAsJson(record) : dumpAsText(record)}\n`);
    }
  }
}
