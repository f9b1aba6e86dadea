/** Commands on the lives of keys, and incr: expire, ttl, persist. */
import { type Command, InvalidArgumentError, Option } from 'commander';
import type { ExpireCondition } from '../client/operations.js';
import type { ExpireResult } from '../client/results.js';
import { DURATION_HELP, durationText } from '../kv/duration.js';
import { type Base64Options, givenKey, withKeyOption } from './byte-arguments.js';
import { type CommonOptions, withClient, withClientOptions } from './client-options.js';
import { parseDuration } from './duration.js';
import { examples } from './examples.js';
import { EXIT } from './exit-codes.js';
import { printLine, warnLine } from './output.js';
import { type ReadCommandOptions, readOptions, withReadOptions } from './read-options.js';
import { field } from './records.js';
import type { SetExitCode } from './run.js';

type KeyOptions = CommonOptions & Base64Options;

const CONDITIONS = {
  none: 'ifNone',
  some: 'ifSome',
  later: 'ifLater',
  sooner: 'ifSooner',
} as const satisfies Readonly<Record<string, ExpireCondition>>;

export function addLifeCommands(program: Command, setExitCode: SetExitCode): void {
  withKey(
    withClientOptions(
      program.command('expire').argument('<key>').argument('<duration>', DURATION_HELP, parseDuration),
    ),
  )
    .description('give an existing key a life: when it is over, the key is gone')
    .addOption(
      new Option(
        '--if <deadline>',
        'only if the key has no deadline, some deadline, or the new one is later or sooner; none counts as the latest',
      ).choices(Object.keys(CONDITIONS)),
    )
    .addHelpText(
      'after',
      examples(
        ['raftree expire sessions/ada 30m', 'raftree expire sessions/ada 30m --if later'],
        `The duration is ${DURATION_HELP}. If the key does not exist, or --if does not hold: exit code 1.`,
      ),
    )
    .action(async (text: string, ttlMs: number, options: KeyOptions & { if?: keyof typeof CONDITIONS }) => {
      const key = givenKey(text, options);
      const when = options.if === undefined ? {} : { when: CONDITIONS[options.if] };
      const result = await withClient(options, (client) => client.expire(key, ttlMs, when));
      report(result, options, `expires in ${durationText(ttlMs)}`, 'the deadline is another', setExitCode);
    });
  withKey(withClientOptions(program.command('persist <key>')))
    .description('take the deadline of a key away: it stays')
    .addHelpText(
      'after',
      examples(
        ['raftree persist sessions/ada'],
        'If the key does not exist, or has no deadline: exit code 1.',
      ),
    )
    .action(async (text: string, options: KeyOptions) => {
      const key = givenKey(text, options);
      const result = await withClient(options, (client) => client.persist(key));
      report(result, options, 'stays', 'no deadline', setExitCode);
    });
  withKey(withReadOptions(program.command('ttl <key>')))
    .description('print how long a key still lives')
    .addHelpText('after', examples(['raftree ttl sessions/ada'], 'If the key does not exist: exit code 1.'))
    .action(async (text: string, options: ReadCommandOptions & Base64Options) => {
      const key = givenKey(text, options);
      const found = await withClient(options, (client) => client.ttl(key, readOptions(options)));
      if (!found) setExitCode(EXIT.notMet);
      const { remainingMs = null } = found ?? {};
      if (options.json)
        printLine(
          JSON.stringify({
            ...field('key', key),
            found: found !== undefined,
            ...(found ? { remainingMs, version: found.version } : {}),
          }),
        );
      else if (!found) warnLine('not found');
      else printLine(remainingMs === null ? 'no deadline' : durationText(remainingMs));
    });
  withKey(
    withClientOptions(
      program.command('incr').argument('<key>').argument('[by]', 'a whole number', parseInteger),
    ),
  )
    .description('add to the number that a value is; a key that does not exist counts as 0')
    .option('--ttl <duration>', `how long a key that is created lives: ${DURATION_HELP}`, parseDuration)
    .addHelpText(
      'after',
      examples(
        ['raftree incr visits', 'raftree incr limits/ada 1 --ttl 1m', 'raftree incr stock/apples -- -5'],
        'Prints the sum. Numbers are whole, from -2^63 to 2^63-1; write a negative one after "--".',
      ),
    )
    .action(async (text: string, by: bigint | undefined, options: KeyOptions & { ttl?: number }) => {
      const key = givenKey(text, options);
      const life = options.ttl === undefined ? {} : { ttlMs: options.ttl };
      const given = { by: by ?? 1, ...life };
      const result = await withClient(options, (client) => client.increment(key, given));
      const value = String(result.value);
      printLine(options.json ? JSON.stringify({ ...result, value }) : value);
    });
}

function withKey(command: Command): Command {
  return withKeyOption(command, 'the key is given as base64');
}

function parseInteger(text: string): bigint {
  if (/^-?\d{1,19}$/.test(text)) return BigInt(text);
  throw new InvalidArgumentError('expected a whole number from -2^63 to 2^63-1');
}

function report(
  result: ExpireResult,
  options: CommonOptions,
  done: string,
  unchanged: string,
  setExitCode: SetExitCode,
): void {
  if (!result.changed) setExitCode(EXIT.notMet);
  if (options.json) printLine(JSON.stringify(result));
  else if (result.changed) printLine(done);
  else warnLine(result.existed ? unchanged : 'not found');
}
