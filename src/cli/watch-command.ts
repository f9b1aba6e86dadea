/** watch: changes of keys as they are applied, one per line, until Ctrl-C. */
import type { Command } from 'commander';
import type { WatchChange } from '../client/tablet-watch.js';
import type { Watch, WatchPosition } from '../client/watch.js';
import { type Base64Options, givenKey, withKeyOption, withValueOption } from './byte-arguments.js';
import { type CommonOptions, parseCount, withClient, withClientOptions } from './client-options.js';
import { examples } from './examples.js';
import { UsageError } from './exit-codes.js';
import { print, warnLine } from './output.js';
import { field } from './records.js';
import { onStopSignal } from './signals.js';

interface WatchCommandOptions extends CommonOptions, Base64Options {
  readonly key?: string;
  readonly from?: WatchPosition;
  readonly limit?: number;
}

export function addWatchCommand(program: Command): void {
  const watch = withClientOptions(
    program
      .command('watch')
      .argument('[prefix]', 'keys that begin so; all keys without it')
      .description('print changes of keys as they are made, one per line'),
  );
  withValueOption(withKeyOption(watch), 'values are shown as base64')
    .option('--key <key>', 'this key only')
    .option('--from <version>', 'the first version that is shown, if it is kept; or a token', parsePosition)
    .option('--limit <n>', 'end after so many changes', parseCount)
    .addHelpText(
      'after',
      examples(
        ['raftree watch users/', 'raftree watch --key leader --limit 1', 'raftree watch --from 1200 --json'],
        'A line has version, what happened (put, delete, expire), key, and of a put the value, with tabs between them. ' +
          'Nodes keep the newest changes. If --from lies before them, it says so: exit code 3. At the end it says (on ' +
          'standard error) with which --from to go on. In a cluster with several tablets that is a token; --json ' +
          'shows it as resumeFrom with the last change of each write.',
      ),
    )
    .action(async (prefix: string | undefined, options: WatchCommandOptions) => {
      if (prefix !== undefined && options.key !== undefined)
        throw new UsageError('give a prefix, or a key with --key');
      await withClient(options, async (client) => {
        const { key, from } = options;
        const keys = key === undefined ? prefixOf(prefix, options) : { key: givenKey(key, options) };
        await show(client.watch({ ...keys, ...(from === undefined ? {} : { from }) }), options);
      });
    });
}

function parsePosition(text: string): WatchPosition {
  return text.startsWith('w1.') ? text : parseCount(text);
}

function prefixOf(prefix: string | undefined, options: WatchCommandOptions) {
  return prefix === undefined ? {} : { prefix: givenKey(prefix, options) };
}

async function show(watch: Watch, options: WatchCommandOptions): Promise<void> {
  let left = options.limit ?? Number.POSITIVE_INFINITY;
  // In a shell that ends the command, not the shell.
  const forget = options.kept ? () => {} : onStopSignal(() => void watch.return());
  try {
    for await (const change of watch) {
      await print(lineOf(change, watch, options));
      if (--left === 0) break;
    }
    if (watch.resumeFrom !== undefined) warnLine(`to go on from here: --from ${watch.resumeFrom}`);
  } finally {
    forget();
  }
}

function lineOf(
  { type, key, value, version }: WatchChange,
  { isBetweenWrites, resumeFrom }: Watch,
  options: WatchCommandOptions,
): string | Buffer {
  const { json, keyBase64, valueBase64 } = options;
  const isPut = type === 'put';
  if (json) {
    const token = isBetweenWrites && typeof resumeFrom === 'string' ? { resumeFrom } : {};
    const shown = { type, ...field('key', key), ...(isPut ? field('value', value) : {}), version, ...token };
    return `${JSON.stringify(shown)}\n`;
  }
  const parts: (string | Uint8Array)[] = [`${version}\t${type}\t`, keyBase64 ? key.toString('base64') : key];
  if (isPut) parts.push('\t', valueBase64 ? value.toString('base64') : value);
  return Buffer.concat([
    ...parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part)),
    Buffer.from('\n'),
  ]);
}
