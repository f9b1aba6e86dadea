/**
 * One connection. Commands are begun in the order in which they came, and answered in that order.
 *
 *     writes        begun without waiting for those before: the writes that one turn brings are proposals of that turn
 *     reads         as well, MAX_READS at once; one begins when the writes before are done, and the other way round
 *     on all keys   alone
 *
 * So a client sees its own writes, whatever it sends at once. Reads are linearizable.
 */
import type { Env } from '../../env/env.js';
import { RaftreeError } from '../../env/errors.js';
import type { Caller, WriteOperation } from '../../kv/requests.js';
import type { OperationResult } from '../../kv/sessions.js';
import {
  type Allowance,
  encodeStringResult,
  MAX_RESULT_BYTES,
  readString,
} from '../../kv/string-operation.js';
import type { Channel } from '../../net/channel.js';
import type { Handler, HandlerContext } from '../../net/pipeline.js';
import { isOneOf } from '../../security/token.js';
import type { Backend } from '../backend.js';
import { WriteLine } from '../write-line.js';
import {
  ErrorReply,
  encodeReply,
  NO_ARRAY,
  OK,
  QUEUED,
  type Reply,
  type RespVersion,
} from './codec/reply.js';
import { ProtocolError, type RequestLimits, RequestParser } from './codec/request-parser.js';
import { CommandError, refusalText } from './command-error.js';
import { type CommandContext, commandNamed, type ResolvedCommand, unknownCommand } from './commands.js';
import { type Step, versionCheck } from './data-commands.js';
import { type Cursors, deleteAll } from './keyspace.js';
import type { Notifications } from './notifications.js';
import { Subscriptions } from './subscriptions.js';

export interface ConnectionParts {
  readonly env: Pick<Env, 'clock' | 'random' | 'timers'>;
  readonly backend: Backend;
  readonly cursors: Cursors;
  readonly notifications: Notifications;
  readonly tokens: readonly Uint8Array[];
  readonly limits: RequestLimits;
  readonly maxOperationsPerRequest: number;
  readonly allowFlush: boolean;
  /** Answers that are made and not yet sent, of all connections. */
  readonly replies: { heldBytes: number; readonly maxBytes: number };
  readonly count: (command: string, outcome: 'ok' | 'error') => void;
  readonly info: () => string;
  /** Returns the text for the client. */
  readonly fault: (error: unknown) => string;
}

/** What a subscriber may leave unread; then it is cut off. */
const MAX_UNREAD_BYTES = 8 * 1024 * 1024;
/** What a client of RESP2 may send that has subscribed: its messages could not be told from answers. */
const SUBSCRIBED_COMMANDS: ReadonlySet<string> = new Set([
  ...['subscribe', 'psubscribe', 'unsubscribe', 'punsubscribe', 'ping', 'quit', 'reset'],
]);
const TOO_MUCH = 'TRYAGAIN the answers of all clients are too large together (resp.maxBufferedBytes)';
const MAX_UNDER_WAY = 1024;
const MAX_READS = 16;
/** Received and not begun: above it the connection is not read. */
const MAX_WAITING_BYTES = 256 * 1024;
/** What a client may send that has not shown a token. */
const UNAUTHENTICATED: RequestLimits = {
  maxArguments: 10,
  maxArgumentBytes: 16 * 1024,
  maxCommandBytes: 64 * 1024,
};
const CALLER: Caller = { door: 'resp', rights: { read: true, write: true, administrate: false } };
/** Commands that a client may send that has not shown a token. */
const OPEN_COMMANDS: ReadonlySet<string> = new Set(['auth', 'hello', 'quit', 'reset']);
/** In a transaction these are not queued. */
const TRANSACTION_COMMANDS: ReadonlySet<string> = new Set([
  'multi',
  'exec',
  'discard',
  'watch',
  'quit',
  'reset',
]);
/** Their answers are made at once, when the transaction is done. */
const MAX_HEAVY_QUEUED = 8;
const VALUES_AT_ONCE = 16;
/** Memory of a queued operation, or of a watched key, beside its bytes. */
const QUEUED_COST_BYTES = 512;

interface Slot {
  bytes: Buffer | undefined;
}

/** Operations of the one write, or what is done when that has been applied. */
type Queued = Step | (() => Reply);

interface Transaction {
  readonly queued: Queued[];
  operations: number;
  heavy: number;
  bytes: number;
  isAborted: boolean;
}

type Kind = 'local' | 'read' | 'write' | 'alone';

export class Connection implements Handler<Buffer> {
  readonly #parts: ConnectionParts;
  readonly #parser: RequestParser;
  readonly #id: number;
  #context: HandlerContext | undefined;
  #slots: Slot[] = [];
  #next: { readonly given: Buffer[]; readonly command: ResolvedCommand | undefined } | undefined;
  #underWay: Record<Kind, number> = { local: 0, read: 0, write: 0, alone: 0 };
  readonly #writes = new WriteLine();
  readonly #subscriptions: Subscriptions;
  #isPumping = false;
  /** Nothing that follows is read; the connection closes when everything before is answered. */
  #isEnding = false;
  #version: RespVersion = 2;
  #isAuthenticated: boolean;
  #name = '';
  #transaction: Transaction | undefined;
  #watchedBytes = 0;
  #watched = new Map<string, { readonly key: Buffer; readonly version: number }>();

  /** It is told what happens, and need not say anything. */
  get isSubscribed(): boolean {
    return this.#subscriptions.size > 0;
  }

  constructor(parts: ConnectionParts, id: number) {
    this.#parts = parts;
    this.#id = id;
    this.#isAuthenticated = parts.tokens.length === 0;
    this.#subscriptions = new Subscriptions({
      notifications: parts.notifications,
      send: (message) => this.#send(message),
      cutOff: (reason) => this.#channel?.abort(reason),
    });
    this.#parser = new RequestParser(this.#isAuthenticated ? parts.limits : UNAUTHENTICATED);
  }

  active(context: HandlerContext): void {
    this.#context = context;
  }

  read(_context: HandlerContext, chunk: Buffer): void {
    if (this.#isEnding) return;
    this.#parser.push(chunk);
    this.#pump();
  }

  writabilityChanged(_context: HandlerContext, writable: boolean): void {
    if (writable) this.#pump();
  }

  inactive(): void {
    this.#isEnding = true;
    this.#subscriptions.close();
    for (const { bytes } of this.#slots) this.#parts.replies.heldBytes -= bytes?.length ?? 0;
    this.#slots = [];
  }

  get #channel(): Channel | undefined {
    return this.#context?.channel;
  }

  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (this.#beginNext());
    } finally {
      this.#isPumping = false;
    }
    this.#flush();
    const channel = this.#channel;
    if (!channel?.isOpen) return;
    const heldBytes = this.#parser.heldBytes;
    channel.buffers?.hold('incoming', heldBytes + this.#keptBytes);
    const isBlocked = this.#next !== undefined || this.#slots.length >= MAX_UNDER_WAY;
    if (isBlocked && heldBytes > MAX_WAITING_BYTES) channel.pauseReading();
    else channel.resumeReading();
  }

  /** What the commands of a transaction, the keys that are watched, and subscriptions take in memory. */
  get #keptBytes(): number {
    const { bytes = 0, operations = 0 } = this.#transaction ?? {};
    return bytes + operations * QUEUED_COST_BYTES + this.#watchedBytes + this.#subscriptions.bytes;
  }

  /** Whether a command was begun. */
  #beginNext(): boolean {
    if (this.#isEnding || !this.#channel?.isWritable || this.#slots.length >= MAX_UNDER_WAY) return false;
    try {
      if (!this.#next) {
        const given = this.#parser.next();
        if (!given) return false;
        this.#next = { given, command: commandNamed(given[0]) };
      }
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#parts.count('other', 'error');
      this.#answer(error.message);
      this.#isEnding = true;
      return false;
    }
    const { given, command } = this.#next;
    const kind = this.#kindOf(command);
    const { read, write, alone } = this.#underWay;
    if (alone > 0 || (kind === 'write' && read > 0) || (kind === 'read' && (write > 0 || read >= MAX_READS)))
      return false;
    if (kind === 'alone' && read + write > 0) return false;
    this.#next = undefined;
    this.#begin(kind, given, command);
    return true;
  }

  #kindOf(command: ResolvedCommand | undefined): Kind {
    if (!command || !this.#isAuthenticated) return 'local';
    const { name } = command;
    // What these do depends on what was answered before.
    if (name === 'exec') return this.#watched.size > 0 ? 'alone' : 'write';
    if (name === 'watch') return 'alone';
    if (this.#transaction) return 'local';
    if (command.data) return command.data.reads ? 'read' : 'write';
    return command.kind;
  }

  #begin(kind: Kind, given: readonly Buffer[], command: ResolvedCommand | undefined): void {
    const slot: Slot = { bytes: undefined };
    this.#slots.push(slot);
    const name = command?.name ?? 'other';
    let reply: Reply | Promise<Reply>;
    try {
      reply = this.#execute(given, command);
    } catch (error) {
      reply = this.#refusal(error);
    }
    // After HELLO the answer has the new version already.
    const version = this.#version;
    if (!(reply instanceof Promise)) {
      this.#fill(slot, reply, version, name);
      return;
    }
    this.#underWay[kind]++;
    void reply
      .catch((error: unknown) => this.#refusal(error))
      .then((done) => {
        this.#underWay[kind]--;
        this.#fill(slot, done, version, name);
        this.#pump();
        this.#subscriptions.release();
      });
  }

  #refusal(error: unknown): ErrorReply {
    return new ErrorReply(refusalText(error) ?? this.#parts.fault(error));
  }

  #answer(text: string): void {
    const slot: Slot = { bytes: undefined };
    this.#slots.push(slot);
    slot.bytes = encodeReply(new ErrorReply(text), this.#version);
    this.#parts.replies.heldBytes += slot.bytes.length;
  }

  #fill(slot: Slot, reply: Reply, version: RespVersion, name: string): void {
    const { replies, count } = this.#parts;
    let bytes = encodeReply(reply, version);
    count(name, reply instanceof ErrorReply ? 'error' : 'ok');
    if (replies.heldBytes + bytes.length > replies.maxBytes)
      bytes = encodeReply(new ErrorReply(TOO_MUCH), version);
    if (this.#channel?.isOpen !== true) return;
    slot.bytes = bytes;
    replies.heldBytes += bytes.length;
  }

  #flush(): void {
    let done = 0;
    const channel = this.#channel;
    const ready: Buffer[] = [];
    for (const { bytes } of this.#slots) {
      if (bytes === undefined) break;
      ready.push(bytes);
      this.#parts.replies.heldBytes -= bytes.length;
      done++;
    }
    if (done > 0) {
      this.#slots = this.#slots.slice(done);
      channel?.write(ready.length === 1 ? ready[0] : Buffer.concat(ready));
    }
    if (this.#isEnding && this.#slots.length === 0) channel?.close();
  }

  /** A message that is no answer. */
  #send(message: Reply): void {
    const channel = this.#channel;
    if (!channel?.isOpen) return;
    channel.write(encodeReply(message, this.#version));
    if (channel.unsentBytes > MAX_UNREAD_BYTES)
      channel.abort(
        new RaftreeError('SLOW_READER', `a subscriber has not read ${channel.unsentBytes} bytes`),
      );
  }

  #execute(given: readonly Buffer[], command: ResolvedCommand | undefined): Reply | Promise<Reply> {
    const [, ...rest] = given;
    const transaction = this.#transaction;
    if (!this.#isAuthenticated && !OPEN_COMMANDS.has(command?.name ?? ''))
      return new ErrorReply('NOAUTH Authentication required.');
    if (!command) {
      const name = given[0]?.toString('latin1').toLowerCase();
      // A browser was made to send a request here: its body must not be taken for commands.
      if (name === 'post' || name === 'host:') this.#isEnding = true;
      if (transaction) transaction.isAborted = true;
      return new ErrorReply(unknownCommand(given));
    }
    const { arity, name } = command;
    if (this.#version === 2 && this.#subscriptions.size > 0 && !SUBSCRIBED_COMMANDS.has(name))
      return new ErrorReply(
        `ERR Can't execute '${name}': only (P|S)SUBSCRIBE / (P|S)UNSUBSCRIBE / PING / QUIT / RESET are allowed in ` +
          'this context',
      );
    if (arity >= 0 ? given.length !== arity : given.length < -arity) {
      if (transaction) transaction.isAborted = true;
      return new ErrorReply(`ERR wrong number of arguments for '${name}' command`);
    }
    if (transaction && !TRANSACTION_COMMANDS.has(name)) return this.#queue(transaction, command, rest);
    if (command.data) return this.#perform(command, rest);
    switch (name) {
      case 'multi':
        if (transaction) return new ErrorReply('ERR MULTI calls can not be nested');
        this.#transaction = { queued: [], operations: 0, heavy: 0, bytes: 0, isAborted: false };
        return OK;
      case 'discard':
        if (!transaction) return new ErrorReply('ERR DISCARD without MULTI');
        this.#endTransaction();
        return OK;
      case 'exec':
        return this.#exec();
      case 'watch':
        if (transaction) return new ErrorReply('ERR WATCH inside MULTI is not allowed');
        return this.#watch(rest);
      case 'unwatch':
        this.#unwatch();
        return OK;
      case 'quit':
        this.#isEnding = true;
        return OK;
      default:
        return command.run ? command.run(this.#commandContext(), rest) : OK;
    }
  }

  #commandContext(): CommandContext {
    const { env, backend, cursors, replies, allowFlush, info } = this.#parts;
    const keyspace = {
      ...{ backend, caller: CALLER, writes: this.#writes, random: env.random, timers: env.timers, cursors },
      maxReplyBytes: replies.maxBytes / 4,
    };
    return {
      keyspace,
      info,
      id: this.#id,
      wallMs: env.clock.wallMs(),
      remote: this.#channel?.remote ?? '',
      version: this.#version,
      name: this.#name,
      setName: (name) => {
        this.#name = name;
      },
      setVersion: (version) => {
        this.#version = version;
      },
      isAuthenticated: () => this.#isAuthenticated,
      authenticate: (user, token) => this.#authenticate(user, token),
      subscriptions: this.#subscriptions,
      flush: async () => {
        if (!allowFlush)
          throw new CommandError('NOPERM this node does not take FLUSHALL and FLUSHDB: set resp.allowFlush');
        await deleteAll(keyspace);
        return OK;
      },
      reset: () => {
        this.#endTransaction();
        this.#subscriptions.clear();
        this.#version = 2;
        this.#name = '';
        this.#isAuthenticated = this.#parts.tokens.length === 0;
        if (!this.#isAuthenticated) this.#parser.limits = UNAUTHENTICATED;
      },
    };
  }

  /** Throws a CommandError. */
  #authenticate(user: string, token: Buffer): void {
    const { tokens, limits } = this.#parts;
    if (user !== 'default' || (tokens.length > 0 && !isOneOf(tokens, token)))
      throw new CommandError('WRONGPASS invalid username-password pair or user is disabled.');
    if (tokens.length === 0)
      throw new CommandError(
        'ERR AUTH <password> called without any password configured for the default user. Are you sure your ' +
          'configuration is correct?',
      );
    this.#isAuthenticated = true;
    this.#parser.limits = limits;
  }

  #perform(command: ResolvedCommand, given: readonly Buffer[]): Reply | Promise<Reply> {
    const { data, name } = command;
    if (!data) return OK;
    const step = data.step(given, this.#parts.env.clock.wallMs(), name);
    return data.reads
      ? this.#read(step)
      : this.#write(step.operations).then(({ results }) => step.reply(results));
  }

  async #read({ operations, reply }: Step): Promise<Reply> {
    const { backend, replies } = this.#parts;
    const allowance: Allowance = { maxValueBytes: 0, grownBytes: 0, resultBytes: MAX_RESULT_BYTES };
    const results: OperationResult[] = [];
    // Also of an answer that is not complete: each of MAX_READS on each connection has several values.
    let readBytes = 0;
    try {
      for (let i = 0; i < operations.length; i += VALUES_AT_ONCE) {
        const some = operations.slice(i, i + VALUES_AT_ONCE);
        const found = await Promise.all(some.map(({ key }) => backend.get(CALLER, key, 'linearizable')));
        for (const [j, { value }] of some.entries()) {
          const result = encodeStringResult(readString(value, found[j], allowance));
          readBytes += result.length;
          replies.heldBytes += result.length;
          if (replies.heldBytes > replies.maxBytes) throw new CommandError(TOO_MUCH);
          results.push({ status: 'ok', existed: false, version: 0, value: result });
        }
      }
      return reply(results);
    } finally {
      replies.heldBytes -= readBytes;
    }
  }

  #write(operations: readonly WriteOperation[]) {
    return this.#parts.backend.operate(CALLER, operations, this.#writes);
  }

  #queue(transaction: Transaction, command: ResolvedCommand, given: readonly Buffer[]): Reply {
    const refuse = (text: string): Reply => {
      transaction.isAborted = true;
      return new ErrorReply(text);
    };
    const { data, name } = command;
    if (!data && command.kind !== 'local') return refuse('ERR Command not allowed inside a transaction');
    const { limits, maxOperationsPerRequest, env } = this.#parts;
    // Copies: a view would keep a whole received chunk in memory.
    const kept = given.map((each) => Buffer.from(each));
    let queued: Queued;
    try {
      queued = data
        ? data.step(kept, env.clock.wallMs(), name)
        : () => {
            const reply = command.run ? command.run(this.#commandContext(), kept) : OK;
            // Those that take time were refused.
            return reply instanceof Promise ? NO_ARRAY : reply;
          };
    } catch (error) {
      if (!(error instanceof CommandError)) throw error;
      // As in Redis, the client learns it when the transaction is executed.
      const { message } = error;
      queued = () => new ErrorReply(message);
    }
    transaction.operations += isStep(queued) ? queued.operations.length : 1;
    if (command.isHeavy) transaction.heavy++;
    transaction.bytes += given.reduce((sum, { length }) => sum + length, 0);
    if (transaction.operations + this.#watched.size > maxOperationsPerRequest)
      return refuse(`ERR a transaction has at most ${maxOperationsPerRequest} operations`);
    if (transaction.heavy > MAX_HEAVY_QUEUED)
      return refuse(`ERR a transaction has at most ${MAX_HEAVY_QUEUED} of LCS, COMMAND and INFO`);
    if (transaction.bytes > limits.maxCommandBytes)
      return refuse(`ERR a transaction has at most ${limits.maxCommandBytes} bytes (limits.maxRequestBytes)`);
    transaction.queued.push(queued);
    return QUEUED;
  }

  #exec(): Reply | Promise<Reply> {
    const transaction = this.#transaction;
    if (!transaction) return new ErrorReply('ERR EXEC without MULTI');
    const { queued, isAborted } = transaction;
    const watched = [...this.#watched.values()];
    this.#endTransaction();
    if (isAborted) return new ErrorReply('EXECABORT Transaction discarded because of previous errors.');
    const checks = watched.map(({ key, version }) => versionCheck(key, version));
    const operations = [...checks, ...queued.flatMap((each) => (isStep(each) ? each.operations : []))];
    const answer = (results: readonly OperationResult[]): Reply => {
      let at = checks.length;
      return queued.map((step) => {
        if (!isStep(step)) return this.#try(step);
        const own = results.slice(at, at + step.operations.length);
        at += step.operations.length;
        return step.reply(own);
      });
    };
    if (operations.length === 0) return answer([]);
    return this.#write(operations).then(({ applied, results }) => (applied ? answer(results) : NO_ARRAY));
  }

  #try(run: () => Reply): Reply {
    try {
      return run();
    } catch (error) {
      return this.#refusal(error);
    }
  }

  async #watch(keys: readonly Buffer[]): Promise<Reply> {
    const { backend, maxOperationsPerRequest } = this.#parts;
    const fresh = keys
      .map((key) => Buffer.from(key))
      .filter((key) => !this.#watched.has(key.toString('latin1')));
    if (this.#watched.size + fresh.length > maxOperationsPerRequest)
      throw new CommandError(`ERR at most ${maxOperationsPerRequest} keys are watched`);
    for (const key of fresh) {
      const found = await backend.get(CALLER, key, 'linearizable');
      this.#watched.set(key.toString('latin1'), { key, version: found?.version ?? 0 });
      this.#watchedBytes += 2 * key.length + QUEUED_COST_BYTES;
    }
    return OK;
  }

  #endTransaction(): void {
    this.#transaction = undefined;
    this.#unwatch();
  }

  #unwatch(): void {
    this.#watched.clear();
    this.#watchedBytes = 0;
  }
}

function isStep(queued: Queued): queued is Step {
  return typeof queued !== 'function';
}
