/** Commands on one key: get, put, insert, update, append, cas, delete. */
import type { Command } from 'commander';
import type { RaftreeClient, WriteOptions } from '../client/client.js';
import type { PutResult } from '../client/results.js';
import { DURATION_HELP } from '../kv/duration.js';
import { decodeBase64 } from './base64.js';
import {
  type Base64Options,
  givenKey,
  givenValue,
  withKeyOption,
  withValueOption,
} from './byte-arguments.js';
import { type CommonOptions, parseVersion, withClient, withClientOptions } from './client-options.js';
import { parseDuration } from './duration.js';
import { examples } from './examples.js';
import { EXIT, UsageError } from './exit-codes.js';
import { openInput, readAll } from './input.js';
import { print, printLine, warnLine } from './output.js';
import { type ReadCommandOptions, readOptions, withReadOptions } from './read-options.js';
import { field, MAX_LINE_BYTES } from './records.js';
import type { SetExitCode } from './run.js';

interface ValueOptions extends CommonOptions, Base64Options {
  readonly valueFile?: string;
  readonly ttl?: number;
  readonly keepTtl?: true;
}

interface CasOptions extends ValueOptions {
  readonly expect?: string;
  readonly expectVersion?: number;
}

interface WriteCommand {
  readonly name: string;
  readonly about: string;
  /** The message when the condition was not met. */
  readonly notApplied?: string;
  readonly examples: readonly string[];
  readonly run: (
    client: RaftreeClient,
    key: Buffer,
    value: Buffer,
    options: WriteOptions,
  ) => Promise<PutResult>;
}

const WRITES: readonly WriteCommand[] = [
  {
    name: 'put',
    about: 'set a value, whether or not the key exists',
    examples: [
      'raftree put users/ada admin',
      'raftree put sessions/ada token --ttl 30m',
      'raftree put users/ada --value-file photo.png',
      'raftree put --key-base64 /wA= text',
    ],
    run: (client, key, value, options) => client.put(key, value, options),
  },
  {
    name: 'insert',
    about: 'set a value if the key does not exist',
    notApplied: 'the key exists',
    examples: ['raftree insert locks/printer ada'],
    run: (client, key, value, options) => client.insert(key, value, options),
  },
  {
    name: 'update',
    about: 'set a value if the key exists',
    notApplied: 'the key does not exist',
    examples: ['raftree update users/ada guest'],
    run: (client, key, value, options) => client.update(key, value, options),
  },
  {
    name: 'append',
    about: 'add to the end of a value; a key that does not exist counts as empty',
    examples: ['raftree append log/today "one more line"', 'date | raftree append log/today -'],
    run: (client, key, value, options) => client.append(key, value, options),
  },
];

const VALUE_FROM_INPUT = 'Without a value, or with "-", it is read from standard input.';

export function addKeyCommands(program: Command, setExitCode: SetExitCode): void {
  addGet(program, setExitCode);
  for (const each of WRITES) {
    const command = withWriteOptions(program.command(`${each.name} <key> [value]`).description(each.about))
      .addHelpText('after', examples(each.examples, VALUE_FROM_INPUT))
      .action(async (key: string, value: string | undefined, options: ValueOptions) => {
        const bytes = await readValue(value, options);
        const named = givenKey(key, options);
        const result = await withClient(options, (client) => each.run(client, named, bytes, lifeOf(options)));
        report(result, options, each.notApplied ?? 'not applied', setExitCode);
      });
    if (each.name === 'put') command.alias('set');
  }
  addCas(program, setExitCode);
  addDelete(program, setExitCode);
}

function addGet(program: Command, setExitCode: SetExitCode): void {
  const get = withReadOptions(program.command('get <key>').description('print the value of a key'));
  withValueOption(withKeyOption(get, 'the key is given as base64'), 'the value is printed as base64')
    .addHelpText(
      'after',
      examples(
        [
          'raftree get users/ada',
          'raftree get users/ada --stale --endpoints host:7001',
          'raftree get --key-base64 /wA= --json',
        ],
        'The value is printed unchanged. If the key does not exist: exit code 1.',
      ),
    )
    .action(async (text: string, options: ReadCommandOptions & Base64Options) => {
      const key = givenKey(text, options);
      const found = await withClient(options, (client) => client.get(key, readOptions(options)));
      if (!found) setExitCode(EXIT.notMet);
      if (options.json) {
        const { value = Buffer.alloc(0), ...rest } = found ?? {};
        const shown = found ? { ...field('value', value), ...rest } : {};
        printLine(JSON.stringify({ ...field('key', key), found: found !== undefined, ...shown }));
      } else if (!found) warnLine('not found');
      else if (options.valueBase64) printLine(found.value.toString('base64'));
      else {
        await print(found.value);
        if (process.stdout.isTTY || options.kept) await print('\n');
      }
    });
}

function addCas(program: Command, setExitCode: SetExitCode): void {
  withWriteOptions(
    program
      .command('cas <key> [value]')
      .description('set a value if the current value, or its version, is as expected'),
  )
    .option('--expect <value>', 'the expected current value')
    .option('--expect-version <n>', 'the expected current version; 0: the key must not exist', parseVersion)
    .addHelpText(
      'after',
      examples(
        ['raftree cas users/ada guest --expect admin', 'raftree cas locks/printer ada --expect-version 0'],
        VALUE_FROM_INPUT,
      ),
    )
    .action(async (text: string, value: string | undefined, options: CasOptions) => {
      const { expect, expectVersion } = options;
      if ((expect === undefined) === (expectVersion === undefined)) {
        throw new UsageError('cas needs either --expect or --expect-version');
      }
      const expected =
        expect === undefined
          ? { expectedVersion: expectVersion ?? 0 }
          : { expectedValue: givenValue(expect, options) };
      const key = givenKey(text, options);
      const bytes = await readValue(value, options);
      const result = await withClient(options, (client) => client.cas(key, bytes, expected, lifeOf(options)));
      report(result, options, 'the current value is different', setExitCode);
    });
}

function addDelete(program: Command, setExitCode: SetExitCode): void {
  withKeyOption(
    withClientOptions(program.command('delete <key>').alias('remove').description('remove a key')),
    'the key is given as base64',
  )
    .addHelpText('after', examples(['raftree delete users/ada'], 'If the key does not exist: exit code 1.'))
    .action(async (text: string, options: CommonOptions & Base64Options) => {
      const key = givenKey(text, options);
      const result = await withClient(options, (client) => client.delete(key));
      if (!result.existed) setExitCode(EXIT.notMet);
      if (options.json) printLine(JSON.stringify(result));
      else if (result.existed) printLine('deleted');
      else warnLine('not found');
    });
}

function withWriteOptions(command: Command): Command {
  const withClientAndKey = withKeyOption(withClientOptions(command), 'the key is given as base64');
  return withValueOption(withClientAndKey, 'the value, and --expect, is given as base64')
    .option('--value-file <path>', 'take the value from a file')
    .option('--ttl <duration>', `how long the key lives: ${DURATION_HELP}`, parseDuration)
    .option('--keep-ttl', 'a deadline of the key stays; a put takes it away otherwise');
}

function lifeOf({ ttl, keepTtl }: ValueOptions): WriteOptions {
  if (ttl !== undefined && keepTtl) throw new UsageError('give --ttl or --keep-ttl, not both');
  return { ...(ttl === undefined ? {} : { ttlMs: ttl }), ...(keepTtl ? { keepTtl } : {}) };
}

/** Results go to standard output. Without --json, a condition that was not met goes to standard error. */
function report(
  result: PutResult,
  options: CommonOptions,
  notApplied: string,
  setExitCode: SetExitCode,
): void {
  if (!result.applied) setExitCode(EXIT.notMet);
  if (options.json) printLine(JSON.stringify(result));
  else if (result.applied) printLine(`ok, version ${result.version}`);
  else warnLine(`${notApplied} (version ${result.version})`);
}

async function readValue(value: string | undefined, options: ValueOptions): Promise<Buffer> {
  const { valueFile, valueBase64 } = options;
  if (valueFile !== undefined && value !== undefined)
    throw new UsageError('give the value or --value-file, not both');
  if (valueFile === undefined && value !== undefined && value !== '-') return givenValue(value, options);
  const bytes = await readAll(openInput(valueFile, options), MAX_LINE_BYTES);
  if (!valueBase64) return bytes;
  try {
    return decodeBase64(bytes.toString('latin1').trimEnd());
  } catch {
    throw new UsageError(`${valueFile ?? 'standard input'} is not base64`);
  }
}
