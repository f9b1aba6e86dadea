/**
 * A second implementation of the state machine, which every replica must equal. It applies each entry when the first
 * node does, and keeps the history of every key. So every batch that a node writes can be compared with what the keys
 * held at its last index, whatever range of entries the batch covers.
 */

import type { WatchChange } from '../../client/tablet-watch.js';
import type { EngineOperation } from '../../engines/storage-engine.js';
import {
  type Command,
  commandOf,
  type EntryOperation,
  type ExpiryCommand,
  type VoidEntry,
  type WriteCommand,
} from '../../kv/command.js';
import { fromDeadlineKey, fromStoredValue, TIME_KEY } from '../../kv/keys.js';
import type { CommandResult } from '../../kv/kv-state-machine.js';
import { decodeMergeStep, type Freeze, type MergeCommand, type MergeStep } from '../../kv/merge.js';
import type { OperationResult, WriteResult } from '../../kv/sessions.js';
import { decodeSplitEntry } from '../../kv/split.js';
import { type PlacementKind, ringPoint, type Tablet } from '../../placement/placement.js';
import { contextsOf } from '../../placement/replica-context.js';
import { TabletRange } from '../../placement/tablet-map.js';
import {
  applyChange,
  type Configuration,
  configurationOf,
  isJoint,
  membersOf,
} from '../../raft/configuration.js';
import { decodeChange } from '../../raft/configuration-codec.js';
import type { Entry } from '../../raft/types.js';
import { crc32 } from '../../record/checksum.js';
import { readUint53 } from '../../record/record.js';
import type { Effects } from './effects.js';
import type { Fail } from './fail.js';
import { ReferenceSessions } from './reference-sessions.js';
import { otherKeysOf, type StringKeys, stringEffect } from './reference-strings.js';
import { ReferenceTime } from './reference-time.js';
import type { Stays } from './stays.js';

interface AppliedEntry {
  readonly term: number;
  readonly checksum: number;
  readonly result: string;
  /** Virtual time when the first node applied it. */
  readonly atMs: number;
  /** The replicated time after it. */
  readonly time: string;
}

interface Change {
  readonly index: number;
  /** Undefined: deleted. */
  readonly state: KeyState | undefined;
  /** Its deadline passed. */
  readonly isEnd?: true;
  /** A merge has given it another deadline, by another time. */
  readonly isMoved?: true;
}

export interface KeyState {
  readonly version: number;
  readonly value: Buffer;
  /** By the replicated time. */
  readonly deadlineMs?: number | undefined;
}

/** The key had this version from index `since` up to, not including, `until`. */
export interface Period {
  readonly since: number;
  readonly until: number;
  readonly version: number;
}

export interface ReferenceParts {
  readonly fail: Fail;
  readonly nowMs: () => number;
  readonly maxSessions: number;
  /** How keys are placed. */
  readonly by: PlacementKind;
  readonly tablet: Pick<Tablet, 'id' | 'start' | 'end'>;
  /** Its first members; undefined: they are not compared. */
  readonly members?: Configuration | undefined;
  readonly stays: Stays;
  /** The tablet was split, and these are its parts. */
  readonly onSplit: (parent: Reference, left: Part, right: Part) => void;
  /** The tablet was merged with its neighbour to the right, and this is what they have become. */
  readonly onMerge: (left: Reference, merge: MergeCommand, child: Part & { readonly base: number }) => void;
  /** Of all tablets. */
  readonly effects: Effects;
}

/** What a tablet has become, or a part of that. */
type Part = Pick<Tablet, 'id' | 'start' | 'end'> & Pick<ReferenceParts, 'members'>;

/** The log of one tablet. One that was split or merged ends: what comes behind that changes nothing. */
export class Reference {
  readonly tablet: number;
  readonly #parts: ReferenceParts;
  readonly #range: TabletRange;
  /** The tablets that it came from. */
  #parents: readonly Reference[] = [];
  #hasEnded = false;
  /** The attempt to merge it that holds it, and the entry that has frozen it. */
  #freeze: Freeze | undefined;
  #overThrough = 0;
  /** It has ended by the log of another tablet: by its own it is frozen. */
  #isRight = false;
  #members: Configuration | undefined;
  readonly #effects: Effects;
  readonly #fail: Fail;
  readonly #nowMs: () => number;
  /** The entry of index i is at i - 1 - #base. */
  readonly #entries: AppliedEntry[] = [];
  /** The last entry that a node applies at the moment, or has applied last. */
  readonly #applyingThrough = new Map<string, number>();
  /** The log starts after this index. */
  #base = 0;
  /** What is stored: a key that has expired stays until it is deleted. */
  #changes = new Map<string, Change[]>();
  /** What reads see: such a key is not there. */
  #seen = new Map<string, Change[]>();
  #time = new ReferenceTime();
  #sessions: ReferenceSessions;
  #writes = new Map<number, WriteResult>();
  /** Number of keys that went because their deadlines passed. */
  livesEnded = 0;
  /** It was frozen, and goes on. */
  thaws = 0;
  /** Number of writes that named keys of another tablet. */
  misrouted = 0;

  constructor(parts: ReferenceParts) {
    const { fail, nowMs, maxSessions, by, tablet, effects } = parts;
    const range = new TabletRange(by, tablet);
    this.#parts = parts;
    this.#fail = (rule, detail) => fail(rule, range.isEverything ? detail : `tablet ${tablet.id}: ${detail}`);
    this.#nowMs = nowMs;
    this.#sessions = new ReferenceSessions(maxSessions);
    this.tablet = tablet.id;
    this.#members = parts.members;
    this.#range = range;
    this.#effects = effects;
  }

  /** As a part of a tablet that ends with its last entry. */
  static within(parent: Reference, tablet: Part): Reference {
    const part = new Reference({ ...parent.#parts, tablet, members: tablet.members });
    const owned = (changes: ReadonlyMap<string, Change[]>) =>
      new Map(
        [...changes].flatMap(([key, own]) =>
          part.#owns(key) ? [[key, [...own]] as [string, Change[]]] : [],
        ),
      );
    part.#parents = [parent];
    part.#base = parent.lastIndex + 1;
    part.#changes = owned(parent.#changes);
    part.#seen = owned(parent.#seen);
    part.#time = parent.#time.copy();
    part.#sessions = parent.#sessions.copy();
    return part;
  }

  /** As what two tablets become, behind the entry `base`. Each has a time of its own: the higher one goes on. */
  static merged(parents: readonly [Reference, Reference], tablet: Part, base: number): Reference {
    const [left, right] = parents;
    const merged = new Reference({ ...left.#parts, tablet, members: tablet.members });
    merged.#parents = parents;
    merged.#base = base;
    merged.#time = ReferenceTime.begin(Math.max(left.#time.nowMs, right.#time.nowMs));
    for (const parent of parents) {
      const aheadMs = merged.#time.nowMs - parent.#time.nowMs;
      for (const [own, target] of [
        [parent.#changes, merged.#changes],
        [parent.#seen, merged.#seen],
      ] as const)
        for (const [name, changes] of own) {
          target.set(name, [...changes]);
          const state = changes.at(-1)?.state;
          if (state?.deadlineMs === undefined || aheadMs === 0) continue;
          const moved = { ...state, deadlineMs: state.deadlineMs + aheadMs };
          push(target, name, { index: base, state: moved, isMoved: true });
        }
    }
    merged.#sessions = ReferenceSessions.united(
      parents.map((parent) => ({ sessions: parent.#sessions, bornAt: parent.#bornAt })),
      left.#parts.maxSessions,
    );
    return merged;
  }

  /** What came of its sessions. */
  get sessions(): Pick<ReferenceSessions, 'repeated' | 'outOfOrder' | 'dropped'> {
    return this.#sessions;
  }

  get #bornAt(): number {
    return this.#parents.length > 0 ? this.#base : 0;
  }

  #owns(key: string): boolean {
    return this.#range.owns(Buffer.from(key));
  }

  /** It began as a part of another tablet. */
  get isPart(): boolean {
    return this.#parents.length === 1;
  }

  /** The tablets that it came from. */
  get parents(): readonly number[] {
    return this.#parents.map(({ tablet }) => tablet);
  }

  /** The log that had this entry of a key: its own, or that of a tablet which it came from. */
  logOf(key: string, index: number): Reference {
    const parent = index > this.#base ? undefined : this.#parents.find((each) => each.#owns(key));
    return parent ? parent.logOf(key, index) : this;
  }

  /** The tablets that have had the key since this entry of it, the newest first. */
  ownersSince(key: string, index: number): readonly number[] {
    const parent = index > this.#base ? undefined : this.#parents.find((each) => each.#owns(key));
    return [this.tablet, ...(parent?.ownersSince(key, index) ?? [])];
  }

  owns(key: string): boolean {
    return this.#owns(key);
  }

  /** An attempt to merge it was given up. */
  isOver(attempt: number): boolean {
    return attempt <= this.#overThrough;
  }

  /** It was split or merged. */
  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** By its log; undefined: they are not compared. */
  get members(): Configuration | undefined {
    return this.#members;
  }

  /** The index before its first entry. */
  get base(): number {
    return this.#base;
  }

  get lastIndex(): number {
    return this.#base + this.#entries.length;
  }

  get keys(): string[] {
    return [...this.#changes.keys()].sort();
  }

  /** What the write of the key at this index did; undefined if there is none. */
  writeAt(key: string, index: number): WriteResult | undefined {
    return this.logOf(key, index).#writes.get(index);
  }

  termAt(index: number): number | undefined {
    return this.#at(index)?.term;
  }

  appliedAtMs(key: string, index: number): number | undefined {
    return this.logOf(key, index).#at(index)?.atMs;
  }

  /** A node is about to apply entries. */
  applying(who: string, first: number, entries: readonly Entry[]): void {
    this.#applyingThrough.set(who, first + entries.length - 1);
    if (this.#entries.length === 0 && this.#parents.length === 0) this.#base = first - 1;
    entries.forEach((entry, i) => {
      const index = first + i;
      const known = this.#at(index);
      const checksum = crc32(entry.body);
      if (known) {
        if (known.term === entry.term && known.checksum === checksum) return;
        this.#fail(
          'state machine safety',
          `${who} applies an entry of term ${entry.term} at index ${index}, where another node applied one of term ${known.term}`,
        );
        return;
      }
      if (index !== this.lastIndex + 1) {
        this.#fail('no gap', `${who} applies index ${index}, but nobody has applied ${this.lastIndex + 1}`);
        return;
      }
      const result = this.#resultOf(index, entry);
      this.#entries.push({
        term: entry.term,
        checksum,
        result: shownResult(result),
        atMs: this.#nowMs(),
        time: this.#time.text,
      });
    });
  }

  /** A node has applied entries, with these results. */
  applied(who: string, first: number, results: readonly CommandResult[]): void {
    results.forEach((result, i) => {
      const expected = this.#at(first + i)?.result;
      const found = shownResult(result);
      if (expected === undefined || expected === found) return;
      this.#fail('equal results', `${who} answers entry ${first + i} with ${found}, not with ${expected}`);
    });
  }

  /** A node writes a batch of its engine: what it changes must be what the keys hold after its last entry. */
  batch(who: string, operations: readonly EngineOperation[]): void {
    const record = operations.find(({ key }) => key.length === 1 && key[0] === 0);
    const last =
      record?.type === 'put' ? readUint53(Buffer.from(record.value), 8) : this.#applyingThrough.get(who);
    if (last === undefined) return;
    for (const operation of operations) {
      this.#compareIndexed(who, last, operation);
      if (operation.key[0] !== USER_KEY) continue;
      const name = Buffer.from(operation.key.subarray(1)).toString();
      const found = operation.type === 'put' ? parseStored(Buffer.from(operation.value)) : undefined;
      this.#compare(who, name, last, found);
    }
  }

  /**
   * All user keys of a node whose state is that after `index`. `hasOthers`: the files of a part of a tablet have the
   * keys of the others too, until its state machine hides them.
   */
  state(who: string, index: number, entries: Iterable<readonly [Buffer, Buffer]>, hasOthers: boolean): void {
    const found = new Map<string, KeyState>();
    for (const [key, value] of entries) {
      const name = key.subarray(1).toString();
      if (!hasOthers || this.#owns(name)) found.set(name, parseStored(value));
    }
    for (const name of new Set([...found.keys(), ...this.keys])) {
      this.#compare(who, name, index, found.get(name));
    }
  }

  /** What the key held after entry `index`, for a reader. */
  stateAt(name: string, index: number): KeyState | undefined {
    return lastUpTo(this.#seen.get(name), index);
  }

  /** What a watcher of the key is told: another deadline alone is no change. */
  toldOf(name: string): Pick<WatchChange, 'type' | 'version' | 'value'>[] {
    const told: Pick<WatchChange, 'type' | 'version' | 'value'>[] = [];
    for (const { index, state, isEnd } of this.#changes.get(name) ?? []) {
      if (!state) told.push({ type: isEnd ? 'expire' : 'delete', version: index, value: NOTHING });
      else if (state.version === index) told.push({ type: 'put', version: index, value: state.value });
    }
    return told;
  }

  /** The entries after which the key was not there any more because its life was over, with the version that it had. */
  endedLives(name: string): { readonly index: number; readonly version: number }[] {
    const changes = this.#seen.get(name) ?? [];
    return changes.flatMap(({ index, isEnd }, i) => {
      const before = changes[i - 1]?.state;
      return before && isEnd ? [{ index, version: before.version }] : [];
    });
  }

  /** From which entry on the deadline that the key got with entry `from` had passed, if it came to that. */
  endOfLife(name: string, from: number): number | undefined {
    const changes = this.#changes.get(name) ?? [];
    const own = changes.find(({ index }) => index === from);
    const next = changes.find(({ index, isMoved }) => index > from && !isMoved);
    const end = this.endedLives(name).find(({ index }) => index > from);
    return own?.state?.deadlineMs !== undefined &&
      end &&
      end.index < (next?.index ?? Number.POSITIVE_INFINITY)
      ? end.index
      : undefined;
  }

  /** The periods in which the key had that version; 0: in which it was not there. */
  periods(name: string, version: number): Period[] {
    const changes = [{ index: 0, state: undefined }, ...(this.#seen.get(name) ?? [])];
    return (
      changes
        .map((change, i) => ({
          since: change.index,
          until: changes[i + 1]?.index ?? Number.POSITIVE_INFINITY,
          version: change.state?.version ?? 0,
        }))
        // An entry may end a life and write the key: nobody sees the time between.
        .filter((period) => period.version === version && period.until > period.since)
    );
  }

  #resultOf(index: number, { kind, term, body }: Entry): CommandResult {
    if (kind === 'command') return this.#apply(index, term, commandOf(body));
    if (kind === 'configuration') this.#changeMembers(index, body);
    if (kind !== 'tablet') return NONE;
    const step = decodeMergeStep(body);
    if (!step) return this.#split(index, term, body);
    return this.#hasEndedHere ? WRONG_TABLET : this.#mergeStep(index, term, step);
  }

  #changeMembers(index: number, body: Uint8Array): void {
    if (!this.#members) return;
    const before = this.#members;
    this.#members = { ...applyChange(before, decodeChange(body)), index };
    this.#parts.stays.changed(this.tablet, before, this.#members);
  }

  #split(index: number, term: number, body: Uint8Array): CommandResult {
    if (this.#hasEndedHere) return WRONG_TABLET;
    const { by, tablet, onSplit } = this.#parts;
    const wanted = decodeSplitEntry(body) ?? { left: 0, right: 0, point: NOTHING };
    const { left, right, point, replicas = [] } = wanted;
    const { id, start, end } = tablet;
    const isInside =
      Buffer.compare(point, by === 'hash' && start.length === 0 ? ringPoint(0) : start) > 0 &&
      (end === undefined || Buffer.compare(point, end) < 0);
    const members = this.#members ?? configurationOf([]);
    const isMoving = isJoint(members) || membersOf(members).length > members.voters.length;
    const nodes = replicas.map(({ node }) => node).sort((a, b) => a - b);
    const areOthers = replicas.length > 0 && nodes.join() !== members.voters.join();
    if (this.#freeze || isMoving || areOthers || !isInside || Math.min(left, right) <= id || left === right)
      return { type: 'splitRefused', reason: '' };
    // Its replicas have ids of their own.
    const membersOfPart = (side: 'left' | 'right'): Configuration | undefined => {
      if (!this.#members || replicas.length === 0) return this.#members;
      const placed = replicas.map((replica) => ({ node: replica.node, replicaId: replica[side] }));
      const own = { ...this.#members, contexts: contextsOf(placed) };
      this.#parts.stays.changed(wanted[side], this.#members, own);
      return own;
    };
    const parts = [
      { id: left, start, end: point, members: membersOfPart('left') },
      { id: right, start: point, end, members: membersOfPart('right') },
    ] as const;
    const deadlines = parts.map((part) => this.#deadlinesIn(new TabletRange(by, part)));
    this.#hasEnded = true;
    onSplit(this, ...parts);
    const generation = 0;
    return {
      type: 'split',
      split: {
        ...{ by, index, term, configuration: configurationOf([]), replicas: [] },
        parent: { id, start, end, generation },
        children: [
          { ...parts[0], generation },
          { ...parts[1], generation },
        ],
        deadlines: [deadlines[0] ?? 0, deadlines[1] ?? 0],
      },
    };
  }

  #mergeStep(index: number, term: number, step: MergeStep): CommandResult {
    const refused: CommandResult = { type: 'mergeRefused', reason: '' };
    const { attempt } = step;
    if (step.type === 'thaw') {
      if (this.#freeze && this.#freeze.attempt <= attempt) {
        this.#freeze = undefined;
        this.thaws++;
      }
      this.#overThrough = Math.max(this.#overThrough, attempt);
      return { type: 'thawed' };
    }
    const members = this.#members ?? configurationOf([]);
    const isMoving = isJoint(members) || membersOf(members).length > members.voters.length;
    const nodes = step.members.map(({ node }) => node).sort((a, b) => a - b);
    const areMembers = !isMoving && nodes.join() === members.voters.join();
    if (step.type === 'freeze') {
      if (this.#freeze?.attempt === attempt) return { type: 'frozen', freeze: this.#freeze };
      if (attempt <= this.#overThrough || this.#freeze || !areMembers) return refused;
      this.#freeze = { attempt, index, term };
      return { type: 'frozen', freeze: this.#freeze };
    }
    const { id, start, end } = this.#parts.tablet;
    const isNeighbour = end !== undefined && Buffer.compare(end, step.right.start) === 0;
    const isNew = step.child > Math.max(id, step.right.id);
    if (this.#freeze?.attempt !== attempt || !areMembers || !isNeighbour || !isNew) return refused;
    this.#hasEnded = true;
    const own = { ...members, contexts: contextsOf(step.members) };
    this.#parts.stays.changed(step.child, members, own);
    const base = Math.max(index, step.index);
    const child = { id: step.child, start, end: step.right.end, members: own };
    this.#parts.onMerge(this, step, { ...child, base });
    const generation = 0;
    return {
      type: 'merged',
      merge: {
        ...{ by: this.#parts.by, attempt, index: base, term: Math.max(term, step.term) },
        ends: [index, step.index],
        leftBornAt: this.#bornAt,
        parents: [{ id, start, end, generation }, step.right],
        children: [{ ...child, generation }],
        members: step.members,
        configuration: configurationOf([]),
      },
    };
  }

  /** It ends as the right one of a merge: the log of the left one says so. */
  endAsRight({ attempt, index, term }: MergeCommand): void {
    const freeze = this.#freeze;
    if (freeze?.attempt !== attempt || freeze.index !== index || freeze.term !== term)
      this.#fail(
        'frozen before it is merged',
        `attempt ${attempt} merges it, and it is frozen by ${freeze?.attempt}`,
      );
    this.#hasEnded = true;
    this.#isRight = true;
  }

  get #hasEndedHere(): boolean {
    return this.#hasEnded && !this.#isRight;
  }

  #deadlinesIn(range: TabletRange): number {
    return [...this.#changes].filter(
      ([key, changes]) => range.owns(Buffer.from(key)) && changes.at(-1)?.state?.deadlineMs !== undefined,
    ).length;
  }

  #at(index: number): AppliedEntry | undefined {
    const [parent, other] = this.#parents;
    // Of two logs neither is told of.
    if (index <= this.#base && parent && !other) return parent.#at(index);
    return this.#entries[index - 1 - this.#base];
  }

  #compare(who: string, name: string, index: number, found: KeyState | undefined): void {
    if (index > this.lastIndex) {
      this.#fail('no gap', `${who} holds a state after entry ${index}, which nobody has applied`);
      return;
    }
    const expected = lastUpTo(this.#changes.get(name), index);
    const isSameValue = (found?.value ?? NOTHING).equals(expected?.value ?? NOTHING);
    const isSameLife = found?.version === expected?.version && found?.deadlineMs === expected?.deadlineMs;
    if (isSameValue && isSameLife) return;
    this.#fail(
      'equal states',
      `after entry ${index}, ${name} is ${show(found)} at ${who}, and not ${show(expected)}`,
    );
  }

  /** The index of deadlines, and the record of the time. */
  #compareIndexed(who: string, last: number, operation: EngineOperation): void {
    const isPut = operation.type === 'put';
    if (isPut && TIME_KEY.equals(operation.key) && last <= this.lastIndex) {
      const [nowMs, term, stampMs] = [0, 8, 16].map((at) => readUint53(Buffer.from(operation.value), at));
      const found = `${nowMs} by ${stampMs} of term ${term}`;
      const expected = this.#at(last)?.time;
      if (expected !== undefined && found !== expected)
        this.#fail('equal times', `after entry ${last} the time is ${found} at ${who}, and not ${expected}`);
    }
    if (operation.key[0] !== DEADLINE_KEY) return;
    const { key, deadlineMs } = fromDeadlineKey(Buffer.from(operation.key));
    const hasDeadline = lastUpTo(this.#changes.get(key.toString()), last)?.deadlineMs === deadlineMs;
    if (isPut !== hasDeadline)
      this.#fail(
        'equal states',
        `${who} ${operation.type}s the deadline ${deadlineMs} of ${key} after entry ${last}`,
      );
  }

  /** Time passes: keys whose deadlines have come are not seen any more. */
  #advance(index: number, term: number, stampMs: number): void {
    const nowMs = this.#time.advance(term, stampMs);
    for (const [name, changes] of this.#changes) {
      const state = changes.at(-1)?.state;
      if (!state || !isOver(state, nowMs) || !this.stateAt(name, index)) continue;
      this.livesEnded++;
      push(this.#seen, name, { index, state: undefined, isEnd: true });
    }
  }

  /** Deletes what still has that deadline. */
  #expire(index: number, term: number, { stampMs, keys }: ExpiryCommand): CommandResult {
    this.#advance(index, term, stampMs);
    const due = keys.filter(({ key, deadlineMs }) => {
      const state = lastUpTo(this.#changes.get(Buffer.from(key).toString()), index);
      return state?.deadlineMs === deadlineMs && deadlineMs <= this.#time.nowMs;
    });
    for (const { key } of due)
      push(this.#changes, Buffer.from(key).toString(), { index, state: undefined, isEnd: true });
    return { type: 'expired', keys: due.length };
  }

  #apply(index: number, term: number, command: Command | VoidEntry): CommandResult {
    if (command.type === 'void') return { type: 'void' };
    // Its state stays that of the split.
    const refused = this.#hasEndedHere ? WRONG_TABLET : this.#freeze && TABLET_FROZEN;
    if (refused) return command.type === 'expiry' ? { type: 'expired', keys: 0 } : refused;
    if (command.type === 'openSession') {
      const { id: sessionId = index } = command;
      return {
        type: 'sessionOpened',
        sessionId,
        window: this.#sessions.open(sessionId, command.window, index),
      };
    }
    if (command.type === 'expiry') return this.#expire(index, term, command);
    if (command.stampMs !== undefined) this.#advance(index, term, command.stampMs);
    if (!this.#ownsAll(command.operations)) {
      this.misrouted++;
      return WRONG_TABLET;
    }
    // Nodes write their map without a session; clients write nothing so.
    if (!command.session) return { type: 'written', write: this.#write(index, command) };
    return this.#sessions.write(command.session, index, () => {
      const write = this.#write(index, command);
      this.#writes.set(index, write);
      return write;
    });
  }

  /** PROTOCOL.md, "Writes": first all conditions, on the state before; then all effects in order, or none. */
  #write(index: number, { operations, maxValueBytes }: WriteCommand): WriteResult {
    const keys = new Map<string, KeyState | undefined>();
    for (const { key } of operations) keys.set(key.toString(), this.stateAt(key.toString(), index));
    const presentOf = ({ key }: EntryOperation) => keys.get(key.toString());
    if (!operations.every((operation) => isMet(operation, presentOf(operation)))) {
      const results = operations.map((operation): OperationResult => {
        const present = presentOf(operation);
        if (isMet(operation, present)) return { status: 'notApplied', existed: false, version: 0 };
        return { status: 'conditionFailed', existed: present !== undefined, version: present?.version ?? 0 };
      });
      return { applied: false, index, results };
    }
    if (operations.some(({ action }) => action === 'modify'))
      return this.#modify(index, operations, maxValueBytes, keys);
    // If an append would exceed the leader's limit, no operation is applied.
    const grown = new Map(keys);
    for (const [at, operation] of operations.entries()) {
      const name = operation.key.toString();
      const next = effect(index, operation, grown.get(name), this.#time.nowMs);
      grown.set(name, next);
      if (operation.action !== 'append' || (next?.value.length ?? 0) <= maxValueBytes) continue;
      const results = operations.map((each, i): OperationResult => {
        const present = presentOf(each);
        if (i !== at) return { status: 'notApplied', existed: false, version: 0 };
        return { status: 'valueTooLarge', existed: present !== undefined, version: present?.version ?? 0 };
      });
      return { applied: false, index, results };
    }
    // What is stored of a key that has expired goes even if the write leaves no key: it was there in between.
    const touched = new Set<string>();
    const results = operations.map((operation): OperationResult => {
      const present = presentOf(operation);
      const next = effect(index, operation, present, this.#time.nowMs);
      const name = operation.key.toString();
      keys.set(name, next);
      if (next !== present) touched.add(name);
      const isPlainPut = operation.action === 'put' && operation.condition === 'always';
      const isPersistInVain = operation.action === 'persist' && present && present.deadlineMs === undefined;
      if (isPersistInVain) return { status: 'unchanged', existed: true, version: present.version };
      return { status: 'ok', existed: !isPlainPut && present !== undefined, version: next?.version ?? 0 };
    });
    for (const [name, state] of keys) {
      if (!touched.has(name)) continue;
      push(this.#changes, name, { index, state });
      push(this.#seen, name, { index, state });
    }
    for (const { value } of operations)
      if (value.length > 0) this.#effects.took(tokenOf(value), this.tablet, index);
    return { applied: true, index, results };
  }

  /** A write with string operations, whose conditions hold. */
  #modify(
    index: number,
    operations: readonly EntryOperation[],
    maxValueBytes: number,
    keys: Map<string, KeyState | undefined>,
  ): WriteResult {
    const changed = new Set<string>();
    const own: StringKeys = {
      get: (name) => (keys.has(name) ? keys.get(name) : this.stateAt(name, index)),
      set: (name, state) => {
        changed.add(name);
        keys.set(name, state);
      },
    };
    const moment = { version: index, nowMs: this.#time.nowMs, maxValueBytes };
    const seen = (state: KeyState | undefined) => ({
      existed: state !== undefined,
      version: state?.version ?? 0,
    });
    const results = operations.map((operation): OperationResult => {
      const name = operation.key.toString();
      if (operation.action === 'modify') {
        const value = stringEffect(operation, own, moment);
        return { status: 'ok', ...seen(own.get(name)), value };
      }
      const present = own.get(name);
      const next = effect(index, operation, present, this.#time.nowMs);
      if (next !== present) own.set(name, next);
      if (operation.action === 'put') return { status: 'ok', existed: false, version: index };
      return { status: 'ok', existed: present !== undefined, version: next?.version ?? 0 };
    });
    for (const name of changed) {
      push(this.#changes, name, { index, state: keys.get(name) });
      push(this.#seen, name, { index, state: keys.get(name) });
    }
    for (const { value } of operations) this.#effects.took(stringToken(value), this.tablet, index);
    return { applied: true, index, results };
  }

  #ownsAll(operations: readonly EntryOperation[]): boolean {
    return operations.every(({ action, key, value }) => {
      const others = action === 'modify' ? otherKeysOf(value) : [];
      return [key, ...others].every((each) => this.#range.owns(each));
    });
  }
}

const NONE: CommandResult = { type: 'none' };
const TABLET_FROZEN: CommandResult = { type: 'refused', code: 'TABLET_FROZEN' };
const WRONG_TABLET: CommandResult = { type: 'refused', code: 'WRONG_TABLET' };
const NOTHING = Buffer.alloc(0);
const USER_KEY = 1;
const DEADLINE_KEY = 5;

/** Every value that the workload writes begins with a name of its own. */
export function tokenOf(value: Uint8Array): string {
  const text = Buffer.from(value).toString('latin1');
  return text.slice(0, text.indexOf(';') + 1);
}

/** The token in an argument of a string operation. */
function stringToken(value: Uint8Array): string {
  return /c\d+\.s\d+;/.exec(Buffer.from(value).toString('latin1'))?.[0] ?? '';
}

/** Of a split what it made. */
function shownResult(result: CommandResult): string {
  if (result.type === 'splitRefused' || result.type === 'mergeRefused') return result.type;
  if (result.type === 'merged') {
    const { index, term, ends, children } = result.merge;
    const { id, start, end } = children[0];
    const range = [start, end].map((bound) => bound && Buffer.from(bound).toString('hex'));
    return JSON.stringify([result.type, index, term, ends, id, range]);
  }
  if (result.type !== 'split') return JSON.stringify(result);
  const { index, term, children, deadlines } = result.split;
  const shown = children.map(({ id, start, end }) =>
    [id, Buffer.from(start).toString('hex'), end && Buffer.from(end).toString('hex')].join(),
  );
  return JSON.stringify([result.type, index, term, shown, deadlines]);
}

function isOver({ deadlineMs }: KeyState, nowMs: number): boolean {
  return deadlineMs !== undefined && deadlineMs <= nowMs;
}

function lastUpTo(changes: readonly Change[] | undefined, index: number): KeyState | undefined {
  return changes?.findLast((change) => change.index <= index)?.state;
}

function push(all: Map<string, Change[]>, name: string, change: Change): void {
  const changes = all.get(name);
  if (changes) changes.push(change);
  else all.set(name, [change]);
}

function parseStored(stored: Buffer): KeyState {
  const { version, value, deadlineMs } = fromStoredValue(stored);
  return { version, value: Buffer.from(value), deadlineMs };
}

function show(state: KeyState | undefined): string {
  if (!state) return 'absent';
  const life = state.deadlineMs === undefined ? '' : ` until ${state.deadlineMs}`;
  return `version ${state.version}, ${state.value.length} bytes (${state.value.toString('latin1', 0, 24)}…)${life}`;
}

function isMet(operation: EntryOperation, present: KeyState | undefined): boolean {
  const conditions: Record<EntryOperation['condition'], boolean> = {
    always: true,
    exists: present !== undefined,
    absent: present === undefined,
    valueIs: present?.value.equals(operation.conditionValue) ?? false,
    versionIs: (present?.version ?? 0) === operation.conditionVersion,
  };
  return conditions[operation.condition];
}

function effect(
  version: number,
  { action, value, life }: EntryOperation,
  present: KeyState | undefined,
  nowMs: number,
): KeyState | undefined {
  const deadlineMs = life ? nowMs + life.ttlMs : undefined;
  switch (action) {
    case 'check':
      return present;
    case 'delete':
      return undefined;
    case 'put':
      return { version, value, deadlineMs };
    case 'append': {
      const grown = Buffer.concat([present?.value ?? NOTHING, value]);
      return { version, value: grown, deadlineMs: deadlineMs ?? present?.deadlineMs };
    }
    case 'expire':
      return present && { ...present, deadlineMs };
    case 'persist':
      return present && { ...present, deadlineMs: undefined };
    case 'increment':
    case 'modify':
      throw new Error(`an ${action} is no effect on one key alone`);
  }
}
