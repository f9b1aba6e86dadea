/** All commands by name, and what those do that are about the connection, the server or all keys. */
import { ErrorReply, MapReply, OK, type Reply, type RespVersion, SimpleReply } from './codec/reply.js';
import { CommandError, SYNTAX } from './command-error.js';
import { DATA_COMMANDS, type DataCommand } from './data-commands.js';
import { countKeys, type KeyspaceParts, listKeys, randomKey, scanKeys } from './keyspace.js';
import type { Subscriptions } from './subscriptions.js';

/** What a command may ask of its connection. */
export interface CommandContext {
  readonly keyspace: KeyspaceParts;
  readonly info: () => string;
  readonly id: number;
  readonly wallMs: number;
  readonly remote: string;
  readonly version: RespVersion;
  readonly name: string;
  readonly setName: (name: string) => void;
  readonly setVersion: (version: RespVersion) => void;
  readonly isAuthenticated: () => boolean;
  /** Throws a CommandError. */
  readonly authenticate: (user: string, token: Buffer) => void;
  readonly flush: () => Promise<Reply>;
  readonly subscriptions: Subscriptions;
  readonly reset: () => void;
}

type Run = (context: CommandContext, given: readonly Buffer[]) => Reply | Promise<Reply>;

interface OtherCommand {
  readonly arity: number;
  readonly kind: 'local' | 'read' | 'alone';
  /** Undefined: the connection does it (connection.ts). */
  readonly run?: Run;
  /** As of a DataCommand. */
  readonly isHeavy?: true;
}

export interface ResolvedCommand extends OtherCommand {
  readonly name: string;
  readonly data?: DataCommand;
}

function local(arity: number, run?: Run): OtherCommand {
  return run ? { arity, kind: 'local', run } : { arity, kind: 'local' };
}

function alone(arity: number, run: Run): OtherCommand {
  return { arity, kind: 'alone', run };
}

/** The settings that clients and tools ask for. Setting one changes nothing. */
const SETTINGS: Readonly<Record<string, string>> = {
  appendonly: 'yes',
  appendfsync: 'always',
  databases: '1',
  maxmemory: '0',
  'maxmemory-policy': 'noeviction',
  'notify-keyspace-events': 'AKE',
  'proto-max-bulk-len': '536870912',
  save: '',
  timeout: '0',
};

const OTHER_COMMANDS: Readonly<Record<string, OtherCommand>> = {
  ping: local(-1, ({ version, subscriptions }, given) => {
    if (given.length > 1) throw new CommandError("ERR wrong number of arguments for 'ping' command");
    if (version === 2 && subscriptions.size > 0) return [Buffer.from('pong'), given[0] ?? Buffer.alloc(0)];
    return given[0] ?? new SimpleReply('PONG');
  }),
  echo: local(2, (_context, [text = Buffer.alloc(0)]) => text),
  select: local(2, (_context, [index]) => {
    const text = index?.toString('latin1') ?? '';
    if (!/^-?\d{1,18}$/.test(text)) throw new CommandError('ERR value is not an integer or out of range');
    if (Number(text) !== 0) throw new CommandError('ERR DB index is out of range');
    return OK;
  }),
  auth: local(-2, ({ authenticate }, given) => {
    if (given.length > 2) throw new CommandError(SYNTAX);
    const [first = Buffer.alloc(0), second] = given;
    authenticate(second ? first.toString('latin1') : 'default', second ?? first);
    return OK;
  }),
  hello: local(-1, hello),
  reset: local(1, ({ reset }) => {
    reset();
    return new SimpleReply('RESET');
  }),
  quit: local(-1),
  client: local(-2, client),
  command: { ...local(-1, command), isHeavy: true },
  info: { ...local(-1, ({ info }) => Buffer.from(info())), isHeavy: true },
  config: local(-2, config),
  function: local(-2, (_context, [what]) => {
    const name = what?.toString('latin1').toLowerCase();
    if (name === 'flush') return OK;
    if (name === 'list') return [];
    throw new CommandError('ERR this node runs no functions');
  }),
  time: local(1, ({ wallMs }) => [
    String(Math.floor(wallMs / 1000)),
    String(Math.floor((wallMs % 1000) * 1000)),
  ]),
  multi: local(1),
  exec: local(1),
  discard: local(1),
  watch: local(-2),
  unwatch: local(1),
  keys: alone(2, ({ keyspace }, [pattern = Buffer.alloc(0)]) => listKeys(keyspace, pattern)),
  scan: alone(-2, ({ keyspace }, given) => scanKeys(keyspace, given)),
  dbsize: alone(1, ({ keyspace }) => countKeys(keyspace)),
  randomkey: alone(1, ({ keyspace }) => randomKey(keyspace)),
  flushall: alone(-1, flush),
  flushdb: alone(-1, flush),
  subscribe: alone(-2, ({ subscriptions }, names) => subscriptions.add(names, false)),
  psubscribe: alone(-2, ({ subscriptions }, names) => subscriptions.add(names, true)),
  unsubscribe: local(-1, ({ subscriptions }, names) => subscriptions.remove(names, false)),
  punsubscribe: local(-1, ({ subscriptions }, names) => subscriptions.remove(names, true)),
};

function flush(context: CommandContext, given: readonly Buffer[]): Promise<Reply> {
  const option = given[0]?.toString('latin1').toLowerCase() ?? 'sync';
  if (given.length > 1 || (option !== 'sync' && option !== 'async')) throw new CommandError(SYNTAX);
  return context.flush();
}

function hello(context: CommandContext, given: readonly Buffer[]): Reply {
  const [wanted] = given;
  const version = wanted?.toString('latin1');
  if (version !== undefined && !/^\d{1,10}$/.test(version))
    throw new CommandError('ERR Protocol version is not an integer or out of range');
  if (version !== undefined && version !== '2' && version !== '3')
    throw new CommandError('NOPROTO unsupported protocol version');
  let name: string | undefined;
  for (let i = 1; i < given.length; i++) {
    const option = given[i]?.toString('latin1').toUpperCase();
    const [first, second] = [given[i + 1], given[i + 2]];
    if (option === 'AUTH' && first && second) {
      context.authenticate(first.toString('latin1'), second);
      i += 2;
    } else if (option === 'SETNAME' && first) {
      name = nameIn(first);
      i++;
    } else throw new CommandError(`ERR Syntax error in HELLO option '${(option ?? '').slice(0, 64)}'`);
  }
  if (!context.isAuthenticated())
    throw new CommandError(
      'NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO <proto> AUTH <user> ' +
        '<pass> option can be used to authenticate the client and select the RESP protocol version at the same time',
    );
  if (name !== undefined) context.setName(name);
  const chosen = version === undefined ? context.version : version === '3' ? 3 : 2;
  context.setVersion(chosen);
  return new MapReply([
    ['server', 'redis'],
    ['version', REDIS_VERSION],
    ['proto', chosen],
    ['id', context.id],
    ['mode', 'standalone'],
    ['role', 'master'],
    ['modules', []],
  ]);
}

/** The version whose commands and texts these are; clients decide by it what they may send. */
export const REDIS_VERSION = '7.0.15';

function nameIn(given: Buffer): string {
  const name = given.toString('latin1');
  if (!/^[!-~]{0,256}$/.test(name))
    throw new CommandError('ERR Client names cannot contain spaces, newlines or special characters.');
  return name;
}

function client(context: CommandContext, [what, ...given]: readonly Buffer[]): Reply {
  const name = what?.toString('latin1').toLowerCase();
  switch (name) {
    case 'setname':
      context.setName(nameIn(given[0] ?? Buffer.alloc(0)));
      return OK;
    case 'getname':
      return context.name === '' ? null : context.name;
    case 'id':
      return context.id;
    case 'info':
      return `id=${context.id} addr=${context.remote} name=${context.name} db=0 resp=${context.version}\n`;
    case 'setinfo':
    case 'no-evict':
      return OK;
    default:
      throw new CommandError(`ERR unknown subcommand '${(name ?? '').slice(0, 64)}'. Try CLIENT HELP.`);
  }
}

function command(_context: CommandContext, [what, ...given]: readonly Buffer[]): Reply {
  const names = Object.keys(COMMANDS);
  switch (what?.toString('latin1').toLowerCase()) {
    case undefined:
      return names.map(describe);
    case 'count':
      return names.length;
    case 'list':
      return names;
    case 'info':
      return given.length === 0
        ? names.map(describe)
        : given.map((name) => describe(name.toString('latin1').toLowerCase()));
    case 'docs':
      return new MapReply(
        (given.length === 0 ? names : given.map((name) => name.toString('latin1').toLowerCase()))
          .filter((name) => Object.hasOwn(COMMANDS, name))
          .map((name) => [name, new MapReply([['summary', 'As in Redis.']])] as const),
      );
    default:
      throw new CommandError('ERR unknown subcommand. Try COMMAND HELP.');
  }
}

const MANY_KEYS: ReadonlySet<string> = new Set(['mget', 'exists', 'touch', 'del', 'unlink', 'watch']);
const TWO_KEYS: ReadonlySet<string> = new Set(['rename', 'renamenx', 'copy', 'lcs']);

/** Name, arity, flags, first key, last key, step between keys, and lists that are empty. */
function describe(name: string): Reply {
  const found = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (!found) return null;
  const isPairs = name === 'mset' || name === 'msetnx';
  const hasKeys = found.data !== undefined || name === 'watch';
  const last = MANY_KEYS.has(name) || isPairs ? -1 : TWO_KEYS.has(name) ? 2 : 1;
  const flags = found.data ? [new SimpleReply(found.data.reads ? 'readonly' : 'write')] : [];
  const places = hasKeys ? [1, last, isPairs ? 2 : 1] : [0, 0, 0];
  return [name, found.arity, flags, ...places, [], [], [], []];
}

function config(_context: CommandContext, [what, ...given]: readonly Buffer[]): Reply {
  const name = what?.toString('latin1').toLowerCase();
  if (name === 'get' && given.length > 0) {
    const wanted = given.map((each) => each.toString('latin1').toLowerCase());
    return new MapReply(
      Object.entries(SETTINGS).filter(([setting]) => wanted.some((each) => each === '*' || each === setting)),
    );
  }
  if (name === 'set' && given.length > 0 && given.length % 2 === 0) {
    for (let i = 0; i < given.length; i += 2) checkSetting(given[i], given[i + 1]);
    return OK;
  }
  if (name === 'resetstat' || name === 'rewrite') return OK;
  return new ErrorReply(
    `ERR unknown subcommand or wrong number of arguments for '${(name ?? '').slice(0, 64)}'`,
  );
}

/** Tools set what a server for all types has; a number must still be one. */
function checkSetting(name: Buffer | undefined, value: Buffer | undefined): void {
  const setting = name?.toString('latin1').toLowerCase() ?? '';
  const isNumber = /^\d+$/.test(SETTINGS[setting] ?? '');
  if (isNumber && !/^\d+([kmg]b?)?$/i.test(value?.toString('latin1') ?? ''))
    throw new CommandError(
      `ERR CONFIG SET failed (possibly related to argument '${setting}') - argument must be a number`,
    );
}

const COMMANDS: Readonly<Record<string, ResolvedCommand>> = Object.fromEntries([
  ...Object.entries(DATA_COMMANDS).map(
    ([name, data]) => [name, { name, kind: 'local', data, ...data }] as const,
  ),
  ...Object.entries(OTHER_COMMANDS).map(([name, other]) => [name, { name, ...other }] as const),
]);

export function commandNamed(given: Buffer | undefined): ResolvedCommand | undefined {
  const name = given?.toString('latin1').toLowerCase() ?? '';
  return Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
}

export function unknownCommand([name, ...given]: readonly Buffer[]): string {
  const shown = given.map((each) => `'${each.subarray(0, 128).toString('latin1')}' `).join('');
  return `ERR unknown command '${name?.subarray(0, 128).toString('latin1')}', with args beginning with: ${shown.slice(0, 128)}`;
}
