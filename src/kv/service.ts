/**
 * Carries out requests of callers as proposals and reads of the groups of a node. It checks rights and limits. Of every
 * request that fails it says whether it may have been committed.
 */

import type { Clock, Random } from '../env/env.js';
import { errorCode, RaftreeError } from '../env/errors.js';
import type { ReadMethod } from '../raft/types.js';
import type { Applied, CommandLog } from '../replica/ports.js';
import { encodeOpenSession, encodeWrite, writeCommandBytes } from './command.js';
import { parseInteger } from './integer.js';
import { isKvErrorCode, type KvError, kvError, SPANS_TABLETS } from './kv-error.js';
import { type CommandResult, type KvStateMachine, ownsAll } from './kv-state-machine.js';
import { isLarge, LargeWrites } from './large-writes.js';
import { type KvLimits, refusedKey, refusedWrite, type SizeRefusal } from './limits.js';
import { RequestCounts } from './request-counts.js';
import type {
  Absent,
  Caller,
  CommittedVersion,
  Consistency,
  Found,
  Get,
  OpenSession,
  Page,
  Rights,
  Scan,
  SessionOpened,
  TabletId,
  Watch,
  Write,
  Written,
} from './requests.js';
import { drawSessionId } from './session-id.js';
import { decodeStringOperation, furtherKeys } from './string-operation.js';
import type { TabletLoad } from './tablet-load.js';
import type { Watcher } from './watch/watcher.js';
import { boundsBytes, MAX_RANGES_BYTES, MAX_WATCHERS, type Watches } from './watch/watches.js';

/** One group, and the keys that it owns. */
export interface ServedTablet {
  readonly replica: CommandLog<CommandResult>;
  readonly stateMachine: Pick<KvStateMachine, 'get' | 'scan' | 'range'> &
    Partial<Pick<KvStateMachine, 'freeze'>>;
  /** Undefined: its changes are not told. */
  readonly watches?: Watches | undefined;
  /** Undefined: nobody asks how much it is asked. */
  readonly load?: TabletLoad | undefined;
}

export interface KvServiceParts {
  /** Of this process: it stamps what is proposed. */
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly random: Pick<Random, 'uint32'>;
  /** The tablet with this id, or with 0 the only one; undefined: it is not here. */
  readonly tablet: (id: number) => ServedTablet | undefined;
  /** All that are here, also those that have ended. */
  readonly tablets: () => Iterable<Pick<ServedTablet, 'watches'>>;
  readonly limits: KvLimits;
  /** Keys that begin so are written by operators only. */
  readonly reservedPrefix?: Uint8Array | undefined;
  /** Where clients reach a node; empty if it is not known. */
  readonly clientAddressOf: (node: number) => string;
  /** A request failed by a fault of this node: for the node's log. The caller gets no details. */
  readonly onFault: (code: 'READ_FAILED' | 'INTERNAL', error: unknown) => void;
}

/**
 * Reads the result now, at the consistency that was asked for. `share`: the part of the largest page that a scan fills.
 */
export type PreparedRead = (share: number) => Found | Absent | Page | KvError;

type Right = keyof Rights & ('read' | 'write');

/** No method rejects: a request that fails has a `KvError` as its result. */
export class KvService {
  readonly #parts: KvServiceParts;
  readonly counts = new RequestCounts();
  readonly #largeWrites = new LargeWrites();
  #pending = 0;
  #closing = false;
  #idle: (() => void) | undefined;
  #drained: Promise<void> | undefined;

  constructor(parts: KvServiceParts) {
    this.#parts = parts;
  }

  get pendingRequests(): number {
    return this.#pending;
  }

  /** Whether large writes wait to be proposed: the latest large one is among them. */
  get holdsLargeWrites(): boolean {
    return this.#largeWrites.isWaiting;
  }

  write(caller: Caller, write: Write): Promise<Written | KvError> {
    const early = this.#refusedNow(caller, 'write');
    if (early) return Promise.resolve(this.#counted(caller, 'write', early));
    this.#pending++;
    try {
      const refusal = this.#refusedWrite(write) ?? this.#reserved(caller, write);
      if (refusal) return Promise.resolve(this.#ended(caller, 'write', refusal));
      // No promise more than needed: every write waits for this one.
      return this.#propose(write).then(
        ({ result }) =>
          this.#ended(caller, 'write', result.type === 'written' ? result : refusedCommand(result)),
        (error: unknown) => this.#ended(caller, 'write', this.errorOf(error, 'write', write.tablet)),
      );
    } catch (error) {
      return Promise.resolve(this.#ended(caller, 'write', this.errorOf(error, 'write')));
    }
  }

  #propose(write: Write): Promise<Applied<CommandResult>> {
    const { limits, clock } = this.#parts;
    const { replica, load } = this.#tabletOf(write);
    const first = write.operations[0];
    if (load && first) load.add(write.operations.length, first.key);
    const propose = () => replica.propose(encodeWrite(limits.maxValueBytes, write, clock));
    const sizeBytes = writeCommandBytes(write);
    return isLarge(sizeBytes) ? this.#largeWrites.run(sizeBytes, propose) : propose();
  }

  openSession(caller: Caller, request: OpenSession): Promise<SessionOpened | KvError> {
    return this.#whilePending(caller, 'write', request.tablet, async () => {
      const { replica, stateMachine } = this.#tabletOf(request);
      // Of two that were merged the log of the right one does not say that it has ended: it stays frozen.
      if (stateMachine.range?.isNothing) throw new RaftreeError('WRONG_TABLET', NOT_OWNED);
      const { result } = await replica.propose(
        encodeOpenSession(request.window, drawSessionId(this.#parts.random)),
      );
      return result.type === 'sessionOpened' ? result : refusedCommand(result);
    });
  }

  async get(caller: Caller, get: Get): Promise<Found | Absent | KvError> {
    return (await this.#confirm(caller, get)) ?? this.#get(get);
  }

  async scan(caller: Caller, scan: Scan): Promise<Page | KvError> {
    return (await this.#confirm(caller, scan)) ?? this.#scan(scan, 1);
  }

  /**
   * Resolves when the read may be answered. The result is read when the function is called. A door with many large
   * answers calls it when it has room to send one, and asks for smaller pages when many answers wait.
   */
  async prepareRead(caller: Caller, read: Get | Scan): Promise<PreparedRead> {
    const refusal = await this.#confirm(caller, read);
    return (share) => refusal ?? (read.type === 'get' ? this.#get(read) : this.#scan(read, share));
  }

  /**
   * Watches keys: any node tells what it applies. `onReady` is called when there is something to take. The caller looks
   * once at the beginning, and closes the watcher at the end.
   */
  watch(caller: Caller, watch: Watch, onReady: () => void): Watcher | KvError {
    const early = this.#refusedNow(caller, 'read') ?? this.#refusedWatch(watch);
    if (early) return this.#counted(caller, 'read', early);
    try {
      const watches = this.#watchesOf(watch);
      if (this.#tabletOf(watch).stateMachine.range?.covers(watch.from, watch.to) === false)
        throw new RaftreeError('WRONG_TABLET', NOT_OWNED);
      const range = { from: Buffer.from(watch.from), to: watch.to && Buffer.from(watch.to) };
      const isPlain = (watch.pieces ?? []).length === 0;
      return this.#counted(caller, 'read', watches.add(range, watch.fromVersion, onReady, isPlain));
    } catch (error) {
      return this.#counted(caller, 'read', this.errorOf(error, 'read'));
    }
  }

  /** Up to which version a watch of the tablet must have come to have all that is committed now. */
  committedVersion(caller: Caller, tablet: TabletId): Promise<CommittedVersion | KvError> {
    return this.#whilePending(caller, 'read', tablet, async () => {
      await this.#tabletOf({ tablet }).replica.readIndex('follower');
      const { freeze, range } = this.#tabletOf({ tablet }).stateMachine;
      // Others may have changes of its keys by now.
      if (range?.isNothing) return kvError('WRONG_TABLET', NOT_OWNED);
      if (freeze) return kvError('TABLET_FROZEN', FROZEN);
      return { type: 'committed', version: this.#watchesOf({ tablet }).throughVersion };
    });
  }

  /**
   * Calls `tick` about once a second while keys of a tablet are watched, with the last entry that was applied. Returns
   * how to end that. Throws `WRONG_TABLET`.
   */
  everyWatchTick(tablet: TabletId, tick: (throughVersion: number) => void): () => void {
    const watches = this.#watchesOf({ tablet });
    return watches.every(() => tick(watches.throughVersion));
  }

  #watchesOf(of: { readonly tablet?: TabletId }): Watches {
    const { watches } = this.#tabletOf(of);
    if (!watches) throw new RaftreeError('INVALID_REQUEST', 'this node tells no changes');
    return watches;
  }

  /** Refuses new requests, ends watchers. Resolves when those under way are answered; each call returns one promise. */
  drain(): Promise<void> {
    this.#closing = true;
    const message = 'this node is shutting down';
    for (const { watches } of this.#parts.tablets())
      watches?.close({ type: 'ended', code: 'SHUTTING_DOWN', message });
    this.#drained ??= new Promise<void>((idle) => {
      if (this.#pending === 0) idle();
      else this.#idle = idle;
    });
    return this.#drained;
  }

  /**
   * What a thrown error means for the caller. Details of a fault of this node are not in it. `tablet`: of which the
   * request is, if it names one.
   */
  errorOf(error: unknown, kind: 'read' | 'write', tablet: TabletId = 0): KvError {
    if (!(error instanceof RaftreeError)) return this.#ownFault(error);
    const isCertain = kind === 'read' || error.info.outcome === 'notCommitted';
    const outcome = isCertain ? 'notCommitted' : 'unknown';
    switch (error.code) {
      case 'NOT_LEADER': {
        const id = typeof error.info.leader === 'number' ? error.info.leader : 0;
        const of = tablet === 0 ? '' : ` of tablet ${tablet}`;
        if (id === 0) return kvError('NO_LEADER', `no leader${of} is known at present; try again shortly`);
        const leader = { id, address: this.#parts.clientAddressOf(id) };
        return { ...kvError('NOT_LEADER', `node ${id} leads`), leader };
      }
      case 'REPLICA_STOPPED':
        return kvError('SHUTTING_DOWN', error.message, outcome);
      case 'LEADERSHIP_LOST':
        return kvError('LEADERSHIP_LOST', error.message, outcome);
      case 'DISK_FULL':
        return kvError('DISK_FULL', error.message, outcome);
    }
    return isKvErrorCode(error.code) ? kvError(error.code, error.message) : this.#ownFault(error);
  }

  #ownFault(error: unknown): KvError {
    this.#parts.onFault('INTERNAL', error);
    return kvError('INTERNAL', 'a fault in this node; its log says more');
  }

  async #whilePending<Result>(
    caller: Caller,
    right: Right,
    tablet: TabletId | undefined,
    work: () => Promise<Result | KvError>,
  ): Promise<Result | KvError> {
    const early = this.#refusedNow(caller, right);
    if (early) return this.#counted(caller, right, early);
    this.#pending++;
    try {
      return this.#ended(caller, right, await work());
    } catch (error) {
      return this.#ended(caller, right, this.errorOf(error, right, tablet));
    }
  }

  #refusedNow({ rights }: Caller, right: Right): KvError | undefined {
    if (!rights[right]) return kvError('NOT_PERMITTED', `the caller may not ${right}`);
    if (this.#closing) return kvError('SHUTTING_DOWN', 'this node is shutting down');
    if (this.#pending >= this.#parts.limits.maxPendingRequests)
      return kvError('OVERLOADED', 'too many requests are under way; try again in a moment');
    return undefined;
  }

  #ended<Result>(caller: Caller, right: Right, result: Result): Result {
    this.#pending--;
    if (this.#pending === 0) this.#idle?.();
    return this.#counted(caller, right, result);
  }

  #counted<Result>({ door }: Caller, right: Right, result: Result): Result {
    this.counts.ended(door, right, isKvError(result) ? result.outcome : 'ok');
    return result;
  }

  /** Resolves when the read may be answered, or with the reason why not. */
  #confirm(caller: Caller, read: Get | Scan): Promise<KvError | undefined> {
    return this.#whilePending(caller, 'read', read.tablet, async () => {
      const refusal = this.#refusedRead(read);
      if (refusal) return refusal;
      this.counts.reads[read.consistency]++;
      const method = READ_METHODS[read.consistency];
      const { replica, load } = this.#tabletOf(read);
      if (read.type === 'get') load?.add(1, read.key);
      else load?.addScan(read.reverse ? (read.to ?? read.from) : read.from);
      if (method) await replica.readIndex(method);
      return undefined;
    });
  }

  /** Throws `WRONG_TABLET`. */
  #tabletOf({ tablet = 0 }: { readonly tablet?: TabletId }): ServedTablet {
    const found = this.#parts.tablet(tablet);
    if (found) return found;
    const reason =
      tablet === 0 ? 'this cluster has several tablets: name one' : `tablet ${tablet} is not here`;
    throw new RaftreeError('WRONG_TABLET', reason);
  }

  /** A hint: what counts is what holds when the entry is applied. */
  #refusedTablet(write: Write): KvError | undefined {
    const { range, freeze } = this.#tabletOf(write).stateMachine;
    if (freeze && !range?.isNothing) return kvError('TABLET_FROZEN', FROZEN);
    const { operations } = write;
    if (!range || ownsAll(range, operations)) return undefined;
    return operations.some(({ key }) => range.owns(key))
      ? kvError('SPANS_TABLETS', SPANS_TABLETS)
      : kvError('WRONG_TABLET', NOT_OWNED);
  }

  #refusedWrite(write: Write): KvError | undefined {
    const { operations, session } = write;
    if (operations.length === 0) return kvError('INVALID_REQUEST', 'a write needs at least one operation');
    if (session && session.sequence <= session.acknowledgedThrough)
      return kvError('INVALID_REQUEST', 'the sequence of a write must lie above acknowledgedThrough');
    if (session && session.after >= session.sequence)
      return kvError('INVALID_REQUEST', 'a write can only follow one with a lower sequence');
    const isNoNumber = operations.some(
      ({ action, value }) => action === 'increment' && parseInteger(value) === undefined,
    );
    if (isNoNumber)
      return kvError('INVALID_REQUEST', 'an increment is by a whole number from -2^63 to 2^63-1, as text');
    const isMalformed = operations.some(
      ({ action, value }) => action === 'modify' && decodeStringOperation(value) === undefined,
    );
    if (isMalformed) return kvError('INVALID_REQUEST', 'the value of a modify is no string operation');
    const refusal = refusedWrite(this.#parts.limits, operations) ?? this.#refusedFurtherKey(operations);
    return refusal ? kvError(refusal.code, refusal.message) : this.#refusedTablet(write);
  }

  #refusedFurtherKey(operations: Write['operations']): SizeRefusal | undefined {
    for (const { action, value } of operations) {
      if (action !== 'modify') continue;
      for (const key of furtherKeys(value)) {
        const refusal = refusedKey(this.#parts.limits, key);
        if (refusal) return refusal;
      }
    }
    return undefined;
  }

  #refusedRead(read: Get | Scan): KvError | undefined {
    const keys = read.type === 'get' ? [read.key] : [read.from, read.to ?? NOTHING];
    if (!keys.every((key) => key instanceof Uint8Array))
      return kvError('INVALID_REQUEST', 'keys are bytes (Uint8Array)');
    if (!Object.hasOwn(READ_METHODS, read.consistency))
      return kvError('INVALID_REQUEST', `there is no consistency "${read.consistency}"`);
    if (read.type === 'scan' && !(read.limit >= 0 && Number.isInteger(read.limit)))
      return kvError('INVALID_REQUEST', `the limit of a scan is a whole number from 0 on, not ${read.limit}`);
    const refusal = read.type === 'get' ? refusedKey(this.#parts.limits, read.key) : undefined;
    return refusal && kvError(refusal.code, refusal.message);
  }

  #refusedWatch({ from, to, fromVersion }: Watch): KvError | undefined {
    if (!(from instanceof Uint8Array && (to === undefined || to instanceof Uint8Array)))
      return kvError('INVALID_REQUEST', 'keys are bytes (Uint8Array)');
    // The first key after a prefix, or after a key, may have one byte more than a key.
    const maxBytes = this.#parts.limits.maxKeyBytes + 1;
    if (from.length > maxBytes || (to?.length ?? 0) > maxBytes)
      return kvError('KEY_TOO_LARGE', `a bound of a range has at most ${maxBytes} bytes`);
    if (fromVersion !== undefined && !(Number.isSafeInteger(fromVersion) && fromVersion > 0))
      return kvError('INVALID_REQUEST', `a version is a whole number from 1 on, not ${fromVersion}`);
    let watchers = 0;
    let bytes = boundsBytes({ from, to });
    for (const { watches } of this.#parts.tablets()) {
      watchers += watches?.size ?? 0;
      bytes += watches?.rangesBytes ?? 0;
    }
    if (watchers >= MAX_WATCHERS)
      return kvError('OVERLOADED', `${MAX_WATCHERS} watchers of this node are too many; ask another one`);
    if (bytes > MAX_RANGES_BYTES)
      return kvError(
        'OVERLOADED',
        `the watched ranges of this node have ${MAX_RANGES_BYTES} bytes; ask another one`,
      );
    return undefined;
  }

  #reserved({ rights }: Caller, { operations }: Write): KvError | undefined {
    const { reservedPrefix: prefix } = this.#parts;
    if (!prefix || rights.administrate) return undefined;
    const beginsSo = (key: Uint8Array) => Buffer.compare(key.subarray(0, prefix.length), prefix) === 0;
    const isReserved = operations.some(
      ({ action, key, value }) => beginsSo(key) || (action === 'modify' && furtherKeys(value).some(beginsSo)),
    );
    return isReserved
      ? kvError('NOT_PERMITTED', 'keys that begin so belong to the state machine of this cluster')
      : undefined;
  }

  #get(get: Get): Found | Absent | KvError {
    const { key, omitValue } = get;
    return this.#read(get, ({ stateMachine }) => {
      if (stateMachine.range?.owns(key) === false) return kvError('WRONG_TABLET', NOT_OWNED);
      const found = stateMachine.get(key);
      if (!found) return { type: 'absent' };
      return omitValue ? { type: 'found', ...found, value: NOTHING } : { type: 'found', ...found };
    });
  }

  #scan(scan: Scan, share: number): Page | KvError {
    const { from, to, reverse, limit, keysOnly } = scan;
    const { limits } = this.#parts;
    const maxEntries = Math.min(
      limits.maxScanEntries,
      Math.max(MIN_PAGE_ENTRIES, limits.maxScanEntries * share),
    );
    return this.#read(scan, ({ stateMachine }) => {
      if (stateMachine.range?.covers(from, to) === false) return kvError('WRONG_TABLET', NOT_OWNED);
      const { entries, ...rest } = stateMachine.scan({
        from,
        to,
        reverse,
        maxEntries: Math.floor(limit === 0 ? maxEntries : Math.min(limit, maxEntries)),
        maxBytes: Math.min(limits.maxScanBytes, Math.max(MIN_PAGE_BYTES, limits.maxScanBytes * share)),
      });
      const shown = keysOnly ? entries.map((entry) => ({ ...entry, value: NOTHING })) : entries;
      return { type: 'page', entries: shown, ...rest };
    });
  }

  #read<Result>(request: Get | Scan, read: (tablet: ServedTablet) => Result): Result | KvError {
    let tablet: ServedTablet | undefined;
    try {
      tablet = this.#tabletOf(request);
      const { freeze, range } = tablet.stateMachine;
      // Another tablet may have its keys by now, and take writes. Of one that has ended, the range says so.
      if (freeze && !range?.isNothing) return kvError('TABLET_FROZEN', FROZEN);
      return read(tablet);
    } catch (error) {
      if (errorCode(error) === 'WRONG_TABLET') return this.errorOf(error, 'read');
      this.#parts.onFault('READ_FAILED', error);
      tablet?.replica.yieldLeadership();
      return kvError('READ_FAILED', 'this node cannot read that from its disk; its log says more');
    }
  }
}

function isKvError(result: unknown): result is KvError {
  return (result as KvError | undefined)?.type === 'error';
}

const NOTHING = Buffer.alloc(0);
const NOT_OWNED = 'keys of another tablet are asked for';
const FROZEN = 'the tablet is being merged with another one; try again shortly';

/** Pages of a scan are not made smaller than this. */
const MIN_PAGE_ENTRIES = 100;
const MIN_PAGE_BYTES = 64 * 1024;

/** How the replica confirms a read of each consistency. A stale read is not confirmed. */
const READ_METHODS: Record<Consistency, ReadMethod | undefined> = {
  linearizable: 'index',
  lease: 'lease',
  follower: 'follower',
  stale: undefined,
};

/** The error of a command that the state machine has refused. */
function refusedCommand(result: CommandResult): KvError {
  if (result.type === 'void')
    return kvError('INVALID_REQUEST', 'no replica can apply this request: it changed nothing');
  if (result.type !== 'refused') return kvError('INTERNAL', 'the answer does not fit the request');
  if (result.code === 'WRONG_TABLET') return kvError('WRONG_TABLET', NOT_OWNED);
  if (result.code === 'TABLET_FROZEN') return kvError('TABLET_FROZEN', FROZEN);
  if (result.code === 'OUT_OF_ORDER')
    return kvError('OUT_OF_ORDER', 'the write that this one follows was not carried out yet');
  return result.code === 'SESSION_EXPIRED'
    ? kvError('SESSION_EXPIRED', 'the session is not known any more; open a new one')
    : kvError('INVALID_REQUEST', 'the sequence lies outside the window of the session');
}
