/** export: all keys and values, or those with a prefix, as JSON Lines ordered by key. */
import type { Command } from 'commander';
import type { ScanOptions } from '../client/client.js';
import { type Base64Options, givenKey, withKeyOption } from './byte-arguments.js';
import { withClient } from './client-options.js';
import { examples } from './examples.js';
import { print, printLine, warnLine } from './output.js';
import { OutputFile } from './output-file.js';
import { type ReadCommandOptions, readOptions, withReadOptions } from './read-options.js';
import { formatRecord } from './records.js';
import { onStopSignal } from './signals.js';

interface ExportOptions extends ReadCommandOptions, Base64Options {
  readonly prefix?: string;
  readonly output?: string;
}

/** Records are written in chunks of about this size. */
const PAGE_CHARACTERS = 1024 * 1024;

export function addExportCommand(program: Command): void {
  withKeyOption(
    withReadOptions(
      program.command('export').description('print every record as JSON Lines, ordered by key'),
      60_000,
    ),
    'the prefix is given as base64',
  )
    .option('--prefix <prefix>', 'only keys that begin with it')
    .option('--output <file>', 'write to a file; it is replaced only when the export is complete')
    .addHelpText(
      'after',
      examples(
        [
          'raftree export --output backup.jsonl',
          'raftree export --prefix users/ --stale | gzip > users.jsonl.gz',
        ],
        `Bytes that are not UTF-8, and very long values, are written as keyBase64, valueBase64. "raftree import" reads them back.
A key with a deadline has "ttlMs": how long it still lives. An import gives it that life again, from then on.`,
      ),
    )
    .action((options: ExportOptions) => exportRecords(options));
}

async function exportRecords(options: ExportOptions): Promise<void> {
  const prefix = options.prefix === undefined ? {} : { prefix: givenKey(options.prefix, options) };
  const range = { ...readOptions(options), ...prefix };
  if (options.output === undefined) {
    await writeRecords(options, range, print);
    return;
  }
  const output = new OutputFile(options.output);
  const stopped = new AbortController();
  const unheard = onStopSignal(() => stopped.abort());
  try {
    const records = await writeRecords(options, { ...range, signal: stopped.signal }, (text) =>
      output.write(text),
    );
    output.finish();
    if (options.json) printLine(JSON.stringify({ records, output: options.output }));
    else warnLine(`exported ${records} records to ${options.output}`);
  } finally {
    unheard();
    output.discard();
  }
}

function writeRecords(
  options: ExportOptions,
  range: ScanOptions,
  write: (text: string) => Promise<void> | void,
): Promise<number> {
  return withClient(options, async (client) => {
    let records = 0;
    let page = '';
    for await (const { key, value, remainingMs } of client.scan(range)) {
      page += formatRecord({ key, value, ...(remainingMs === undefined ? {} : { ttlMs: remainingMs }) });
      records++;
      if (page.length < PAGE_CHARACTERS) continue;
      await write(page);
      page = '';
    }
    await write(page);
    return records;
  });
}
