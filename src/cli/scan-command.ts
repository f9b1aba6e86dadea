/** scan: keys and values in order, one per line. */
import type { Command } from 'commander';
import type { ScanOptions } from '../client/client.js';
import type { ScanEntry } from '../client/results.js';
import { type Base64Options, givenKey, withKeyOption, withValueOption } from './byte-arguments.js';
import { parseCount, withClient } from './client-options.js';
import { examples } from './examples.js';
import { print } from './output.js';
import { type ReadCommandOptions, readOptions, withReadOptions } from './read-options.js';
import { field } from './records.js';

interface ScanCommandOptions extends ReadCommandOptions, Base64Options {
  readonly from?: string;
  readonly to?: string;
  readonly prefix?: string;
  readonly limit?: number;
  readonly reverse?: true;
  readonly keysOnly?: true;
}

const TAB = Buffer.from('\t');
const NEWLINE = Buffer.from('\n');

export function addScanCommand(program: Command): void {
  const scan = withReadOptions(
    program.command('scan').description('print keys and values in order, one pair per line'),
  );
  withValueOption(withKeyOption(scan), 'values are shown as base64')
    .option('--from <key>', 'the first key, inclusive')
    .option('--to <key>', 'the last key, exclusive')
    .option('--prefix <prefix>', 'only keys that begin with it')
    .option('--limit <n>', 'at most this many keys', parseCount)
    .option('--reverse', 'from the last to the first')
    .option('--keys-only', 'without the values')
    .addHelpText(
      'after',
      examples(
        ['raftree scan --prefix users/ --limit 10', 'raftree scan --from b --to d --reverse --keys-only'],
        'Keys and values are printed unchanged with a tab between them. Use --json or the base64 options for unambiguous lines.',
      ),
    )
    .action(async (options: ScanCommandOptions) => {
      await withClient(options, async (client) => {
        for await (const entry of client.scan(rangeOf(options))) await print(lineOf(entry, options));
      });
    });
}

function rangeOf(options: ScanCommandOptions): ScanOptions {
  const { from, to, prefix, limit, reverse = false, keysOnly = false } = options;
  return {
    ...readOptions(options),
    ...(from === undefined ? {} : { from: givenKey(from, options) }),
    ...(to === undefined ? {} : { to: givenKey(to, options) }),
    ...(prefix === undefined ? {} : { prefix: givenKey(prefix, options) }),
    ...(limit === undefined ? {} : { limit }),
    reverse,
    keysOnly,
  };
}

function lineOf({ key, value, ...rest }: ScanEntry, options: ScanCommandOptions): string | Buffer {
  const { json, keysOnly, keyBase64, valueBase64 } = options;
  if (json) {
    const shown = keysOnly ? {} : field('value', value);
    return `${JSON.stringify({ ...field('key', key), ...shown, ...rest })}\n`;
  }
  const shownKey = keyBase64 ? Buffer.from(key.toString('base64')) : key;
  if (keysOnly) return Buffer.concat([shownKey, NEWLINE]);
  const shownValue = valueBase64 ? Buffer.from(value.toString('base64')) : value;
  return Buffer.concat([shownKey, TAB, shownValue, NEWLINE]);
}
