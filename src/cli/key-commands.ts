/** Commands about keys: get, put, insert, update, append, cas, delete, scan. */
import * as fs from 'node:fs';
import type { Command } from 'commander';
import type { PutResult, RaftreeClient, ScanOptions } from '../client/client.js';
import {
  type CommonOptions,
  parseCount,
  parseVersion,
  withClient,
  withClientOptions,
} from './client-options.js';
import { EXIT, type ExitCode, UsageError } from './exit-codes.js';
import { print, printLine, readAll } from './output.js';
import { type ReadCommandOptions, readOptions, withReadOptions } from './read-options.js';
import { field } from './records.js';

type SetExitCode = (code: ExitCode) => void;

interface ValueOptions extends CommonOptions {
  readonly valueFile?: string;
}

interface ScanCommandOptions extends ReadCommandOptions {
  readonly from?: string;
  readonly to?: string;
  readonly prefix?: string;
  readonly limit?: number;
  readonly reverse?: true;
  readonly keysOnly?: true;
}

export function addKeyCommands(program: Command, setExitCode: SetExitCode): void {
  withReadOptions(program.command('get <key>').description('print the value of a key')).action(
    async (key: string, options: ReadCommandOptions) => {
      const found = await withClient(options, (client) => client.get(key, readOptions(options)));
      if (!found) {
        setExitCode(EXIT.notMet);
        if (options.json) printLine(JSON.stringify({ key, found: false }));
        else process.stderr.write('not found\n');
      } else if (options.json) {
        printLine(
          JSON.stringify({ key, found: true, ...field('value', found.value), version: found.version }),
        );
      } else {
        await print(found.value);
        if (process.stdout.isTTY) await print('\n');
      }
    },
  );

  const write = (
    name: string,
    description: string,
    notApplied: string,
    run: (client: RaftreeClient, key: string, value: Buffer) => Promise<PutResult>,
  ) =>
    withClientOptions(program.command(`${name} <key> [value]`).description(description))
      .option('--value-file <path>', 'take the value from a file')
      .addHelpText('after', '\nWithout a value, or with "-", it is read from standard input.')
      .action(async (key: string, value: string | undefined, options: ValueOptions) => {
        const bytes = await readValue(value, options);
        const result = await withClient(options, (client) => run(client, key, bytes));
        report(result, options, notApplied, setExitCode);
      });

  write('put', 'set a value, whether or not the key exists', '', (client, key, value) =>
    client.put(key, value),
  ).alias('set');
  write('insert', 'set a value if the key does not exist', 'the key exists', (client, key, value) =>
    client.insert(key, value),
  );
  write('update', 'set a value if the key exists', 'the key does not exist', (client, key, value) =>
    client.update(key, value),
  );
  write('append', 'add to the end of a value', '', (client, key, value) => client.append(key, value));

  withClientOptions(
    program
      .command('cas <key> [value]')
      .description('set a value if the present one, or its version, is as expected'),
  )
    .option('--expect <value>', 'the value that must be there')
    .option('--expect-version <n>', 'the version that it must have; 0: the key must not exist', parseVersion)
    .option('--value-file <path>', 'take the value from a file')
    .action(
      async (
        key: string,
        value: string | undefined,
        options: ValueOptions & { expect?: string; expectVersion?: number },
      ) => {
        const { expect, expectVersion } = options;
        if ((expect === undefined) === (expectVersion === undefined)) {
          throw new UsageError('cas needs either --expect or --expect-version');
        }
        const expected =
          expect === undefined ? { expectedVersion: expectVersion ?? 0 } : { expectedValue: expect };
        const bytes = await readValue(value, options);
        const result = await withClient(options, (client) => client.cas(key, bytes, expected));
        report(result, options, 'the present value is another', setExitCode);
      },
    );

  withClientOptions(program.command('delete <key>').alias('remove').description('remove a key')).action(
    async (key: string, options: CommonOptions) => {
      const result = await withClient(options, (client) => client.delete(key));
      if (!result.existed) setExitCode(EXIT.notMet);
      if (options.json) printLine(JSON.stringify(result));
      else printLine(result.existed ? 'deleted' : 'not found');
    },
  );

  withReadOptions(program.command('scan').description('print keys and values in order, a line each'))
    .option('--from <key>', 'the first key, inclusive')
    .option('--to <key>', 'the last key, exclusive')
    .option('--prefix <text>', 'only keys that begin with it')
    .option('--limit <n>', 'at most so many', parseCount)
    .option('--reverse', 'from the last to the first')
    .option('--keys-only', 'without the values')
    .action(async (options: ScanCommandOptions) => {
      const { from, to, prefix, limit, reverse, keysOnly } = options;
      const range: ScanOptions = {
        ...readOptions(options),
        ...(from === undefined ? {} : { from }),
        ...(to === undefined ? {} : { to }),
        ...(prefix === undefined ? {} : { prefix }),
        ...(limit === undefined ? {} : { limit }),
        reverse: reverse ?? false,
        keysOnly: keysOnly ?? false,
      };
      await withClient(options, async (client) => {
        for await (const { key, value, version } of client.scan(range)) {
          if (options.json) {
            const shown = keysOnly ? {} : field('value', value);
            await print(`${JSON.stringify({ ...field('key', key), ...shown, version })}\n`);
          } else {
            await print(keysOnly ? Buffer.concat([key, NEWLINE]) : Buffer.concat([key, TAB, value, NEWLINE]));
          }
        }
      });
    });
}

const TAB = Buffer.from('\t');
const NEWLINE = Buffer.from('\n');

function report(
  result: PutResult,
  options: CommonOptions,
  notApplied: string,
  setExitCode: SetExitCode,
): void {
  if (!result.applied) setExitCode(EXIT.notMet);
  if (options.json) printLine(JSON.stringify(result));
  else if (result.applied) printLine(`ok, version ${result.version}`);
  else process.stderr.write(`${notApplied} (version ${result.version})\n`);
}

async function readValue(value: string | undefined, options: ValueOptions): Promise<Buffer> {
  if (options.valueFile !== undefined) {
    if (value !== undefined) throw new UsageError('give the value or --value-file, not both');
    try {
      return fs.readFileSync(options.valueFile);
    } catch (error) {
      throw new UsageError(`--value-file: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  return value === undefined || value === '-' ? readAll(process.stdin) : Buffer.from(value);
}
