/** Mutations of src/kv. */
import { inFile, type Mutation, randomFaults, under } from '../mutation.js';

const replicatedTime = inFile('kv/replicated-time.js');
const expirer = inFile('kv/expirer.js');
const atomicWrite = inFile('kv/atomic-write.js');
const batchKeys = inFile('kv/batch-keys.js');
const command = inFile('kv/command.js');
const keyTable = inFile('kv/key-table.js');
const engine = inFile('kv/join-checker.js');
const machine = inFile('kv/kv-state-machine.js');
const service = inFile('kv/service.js');
const sessions = inFile('kv/sessions.js');
const strings = inFile('kv/string-operation.js');

const POWER = ['powerCut', 'powerCutOfSome', 'isolateLeader', 'slowDisk'] as const;
const MESSAGES = ['messageFaults', 'cutClient', 'isolateLeader', 'slowLinks'] as const;

export const KV_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a session that was used since the ages were noted goes as if it were old',
    reason: 'it was the oldest',
    patches: [sessions('&& next.session.lastUsed === next.lastUsed', '')],
    killedBy: ['kv/sessions'],
  },
  {
    name: 'entries are applied twice after a restart',
    reason: 'off by one',
    patches: [machine('(applied?.last ?? emptyAt)', 'Math.max(emptyAt, (applied?.last ?? emptyAt) - 1)')],
    killedBy: randomFaults(40, ...POWER),
  },
  {
    name: 'a repeated write is applied again',
    reason: 'a slot is looked for under another number',
    patches: [sessions('slot?.sequence === sequence', 'false')],
    killedBy: randomFaults(40, ...MESSAGES),
  },
  {
    name: 'a snapshot comes without the sessions',
    reason: 'sessions are no data',
    patches: [
      machine(
        'this.#load(0); await before.close();',
        'const kept = this.#sessions.restore; this.#sessions.restore = () => {}; this.#load(0); this.#sessions.restore = kept; await before.close();',
      ),
    ],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'the last write of the window is refused',
    reason: 'off by one',
    patches: [sessions('sequence > floor + session.window', 'sequence >= floor + session.window')],
    killedBy: randomFaults(40),
  },
  {
    name: 'a write at the floor is new',
    reason: 'off by one',
    patches: [sessions('sequence <= floor ||', 'sequence < floor ||')],
    killedBy: ['kv/sessions', 'kv/kv-state-machine'],
  },
  {
    name: 'results lie in slots of another window',
    reason: 'there is a constant for the window',
    patches: [sessions('const number = sequence % session.window;', 'const number = sequence % MAX_WINDOW;')],
    killedBy: randomFaults(60, ...MESSAGES),
  },
  {
    name: 'a write is applied before the one that it follows',
    reason: 'they come in order',
    patches: [sessions('after > floor && ', 'false && ')],
    killedBy: randomFaults(60, 'messageFaults', 'cutClient', 'isolateLeader', 'slowLinks'),
  },
  {
    name: 'a rename leaves the old key',
    reason: 'the new one has the value',
    patches: [strings('if (isMove) keys.stage(key, null);', '')],
    killedBy: randomFaults(20),
  },
  {
    name: 'after a restart a repeated string operation is answered without its result',
    reason: 'the status says that it was carried out',
    patches: [
      sessions(
        'results.push({ ...result, value: Buffer.from(bytes.subarray(from, at)) });',
        'results.push(result);',
      ),
    ],
    killedBy: randomFaults(60, ...MESSAGES, 'kill'),
  },
  {
    name: 'any result in the place of the write that it follows will do',
    reason: 'it is that of this write',
    patches: [sessions('?.sequence !== after', '=== undefined')],
    killedBy: randomFaults(100),
  },
  {
    name: 'a write of an unknown session is applied',
    reason: 'its client surely had one',
    patches: [
      sessions(
        "if (!session) return { state: 'refused', reason: 'SESSION_EXPIRED' };",
        "if (!session) return { state: 'new' };",
      ),
    ],
    killedBy: randomFaults(60),
  },
  {
    name: 'a repeated write is answered with its own index',
    reason: 'the index of the entry at hand',
    patches: [machine('write: check.result };', 'write: { ...check.result, index } };')],
    killedBy: randomFaults(40, ...MESSAGES),
  },
  {
    name: 'after a restart sessions go in the order in which they were opened',
    reason: 'when they were last used is not stored by itself',
    patches: [sessions('session.lastUsed = Math.max(session.lastUsed, result.index);', '')],
    killedBy: randomFaults(80),
  },
  {
    name: 'after a restart the floor is 0',
    reason: 'clients send it with every write',
    patches: [sessions('session.floor = Math.max(session.floor, floor);', '')],
    killedBy: ['kv/sessions', 'kv/kv-state-machine'],
  },
  {
    name: 'a write lowers the floor',
    reason: 'the newest says what is acknowledged',
    patches: [
      sessions(
        'session.floor = Math.max(session.floor, acknowledgedThrough);',
        'session.floor = acknowledgedThrough;',
      ),
    ],
    killedBy: ['kv/sessions', 'kv/kv-state-machine'],
  },
  {
    name: 'results of sessions that went are counted for ever',
    reason: 'a count that is only raised',
    patches: [
      sessions('for (const { result } of session.slots.values()) this.#keptResults -= weightOf(result);', ''),
    ],
    killedBy: ['kv/sessions'],
  },
  {
    name: 'a key that is not there has an empty value',
    reason: 'a default',
    patches: [
      atomicWrite(
        'present?.value.equals(operation.conditionValue) ?? false',
        '(present?.value ?? Buffer.alloc(0)).equals(operation.conditionValue)',
      ),
    ],
    killedBy: ['kv/kv-state-machine'],
  },
  {
    name: 'version 0 does not mean that the key is not there',
    reason: 'a key without a version has none',
    patches: [
      atomicWrite(
        '(present?.version ?? 0) === operation.conditionVersion',
        'present?.version === operation.conditionVersion',
      ),
    ],
    killedBy: randomFaults(40),
  },
  {
    name: 'a batch of which a condition fails is applied if another is met',
    reason: 'every and some',
    patches: [atomicWrite('if (met.includes(false))', 'if (!met.includes(true))')],
    killedBy: randomFaults(60),
  },
  {
    name: 'in a batch a key that it deleted is there again',
    reason: 'null and undefined look alike',
    patches: [
      batchKeys(
        'key.staged === undefined ? this.before(key) : (key.staged ?? undefined)',
        'key.staged ?? this.before(key)',
      ),
    ],
    killedBy: randomFaults(60),
  },
  {
    name: 'a key that an entry of the same range deleted is there again',
    reason: 'null and undefined look alike',
    patches: [
      batchKeys(
        'if (key.left !== undefined) return key.left ?? undefined;',
        'if (key.left) return key.left;',
      ),
    ],
    killedBy: randomFaults(60),
  },
  {
    name: 'an append keeps the version of the value',
    reason: 'it is the same key',
    patches: [
      atomicWrite(
        'leave(index, value);\n            }',
        'leave(present?.version ?? index, value);\n            }',
      ),
    ],
    killedBy: randomFaults(40),
  },
  {
    name: 'one batch more than the engine made durable counts as durable',
    reason: 'off by one',
    patches: [
      machine('if (sequence > durableSequence) break;', 'if (sequence > durableSequence + 1) break;'),
    ],
    killedBy: ['kv/kv-state-machine', 'kv/crash'],
  },
  {
    name: 'after a snapshot the batches of the engine before still wait',
    reason: 'the list is for the machine, not for the engine',
    patches: [machine('this.#undurable = []; this.#sessions', 'this.#sessions')],
    killedBy: ['kv/kv-state-machine', 'kv/crash'],
  },
  {
    name: 'an engine that defers is given the sessions without the applied index',
    reason: 'the Raft log knows what is applied',
    patches: [
      machine(
        'operations.push(this.#appliedOperation(this.#appliedIndex, this.#appliedIndex, this.#appliedTerm));',
        '',
      ),
    ],
    killedBy: ['kv/crash', 'kv/kv-state-machine'],
  },
  {
    name: 'an engine that defers is given the applied index without the sessions',
    reason: 'they are written when there are too many',
    patches: [
      machine(
        'const operations = this.#sessions.takeChanges(); operations.push',
        'const operations = []; operations.push',
      ),
    ],
    killedBy: ['kv/crash', 'kv/kv-state-machine'],
  },
  {
    name: 'a slot that was given to the engine is not given again',
    reason: 'the mark is set once',
    patches: [sessions('slot.isChanged = false;', '')],
    killedBy: ['kv/sessions', 'kv/crash'],
  },
  {
    name: 'a lease read is read at once',
    reason: 'the leader has a lease',
    patches: [service("lease: 'lease',", 'lease: undefined,')],
    killedBy: under('lateLease', 5),
  },
  {
    name: 'a page that ends at its limit says that it is the last',
    reason: 'the limit was kept',
    patches: [
      machine(
        'if (entries.length >= options.maxEntries) return { entries, more: true };',
        'if (entries.length >= options.maxEntries) return { entries, more: false };',
      ),
    ],
    killedBy: randomFaults(20),
  },
  {
    name: 'a batch that is missing in the tree’s log is not noticed',
    reason: 'a gap forwards may be a snapshot',
    patches: [engine('first !== lastIndex + 1', 'first <= lastIndex')],
    killedBy: ['kv/join-checker'],
  },
  {
    name: 'a write that is refused takes effect with the next one',
    reason: 'what is staged is overwritten anyway',
    patches: [batchKeys('refuse() { this.#end(); }', 'refuse() { this.#keptValueBytes = 0; }')],
    killedBy: ['kv/batch-keys', 'kv/kv-state-machine'],
  },
  {
    name: 'a write holds every value that it looks at',
    reason: 'a cache',
    patches: [batchKeys('if (this.#keptValueBytes <= MAX_KEPT_VALUE_BYTES) {', '{')],
    killedBy: ['kv/batch-keys'],
  },
  {
    name: 'a key and another that begins with it are one',
    reason: 'all bytes that both have are equal',
    patches: [keyTable('if (byte === key.length && byte === other.length)', 'if (byte === shorter)')],
    killedBy: ['kv/key-table'],
  },
  {
    name: 'numbers in commands lose their high half',
    reason: 'small ones are seen in tests',
    patches: [command('return high * 2 ** 32 + this', 'return this')],
    killedBy: ['kv/command'],
  },
  {
    name: 'bytes behind a command are ignored',
    reason: 'what is needed has been read',
    patches: [command("if (!this.isAtEnd) throw new RangeError('it has bytes behind its end');", '')],
    killedBy: ['kv/command', 'kv/kv-state-machine'],
  },
  {
    name: 'clocks of two leaders count as one',
    reason: 'a stamp is a time',
    patches: [
      replicatedTime(
        'if (term !== this.#term)\n            this.#term = term;\n        else if',
        'this.#term = term;\n        if',
      ),
    ],
    killedBy: randomFaults(60, ...POWER),
  },
  {
    name: 'the wall clock stamps',
    reason: 'a stamp is a time',
    patches: [
      replicatedTime('Math.floor(clock.nowMs())', 'Math.floor((clock.wallMs ?? clock.nowMs).call(clock))'),
    ],
    killedBy: randomFaults(60, 'wallClockJump'),
  },
  {
    name: 'an expiry deletes a key that was written meanwhile',
    reason: 'it had expired when that was proposed',
    patches: [
      batchKeys('if (key.left?.deadlineMs !== deadlineMs)\n                return false;', ''),
      batchKeys('if (!isIndexed())\n                return false;', ''),
    ],
    killedBy: randomFaults(100),
  },
  {
    name: 'an expiry deletes a key before its deadline',
    reason: 'whoever proposed it has looked',
    patches: [machine('deadlineMs <= this.#time.nowMs && keys.expire', 'keys.expire')],
    killedBy: ['kv/time-to-live'],
  },
  {
    name: 'a read shows a key that has expired and is not deleted yet',
    reason: 'it is there',
    patches: [
      machine(
        'const found = living(this.#read(userKey(key)), this.#readTimeMs);',
        'const found = this.#read(userKey(key));',
      ),
    ],
    killedBy: ['kv/time-to-live'],
  },
  {
    name: 'a condition sees a key that has expired and is not deleted yet',
    reason: 'it is there',
    patches: [batchKeys('return living(this.kept(key), this.nowMs);', 'return this.kept(key);')],
    killedBy: randomFaults(60),
  },
  {
    name: 'a plain put leaves the deadline in the index',
    reason: 'it looks nothing up',
    patches: [batchKeys('this.#hasDeadlines = time.keysWithDeadline > 0;', 'this.#hasDeadlines = false;')],
    killedBy: ['kv/time-to-live'],
  },
  {
    name: 'a snapshot comes without the time',
    reason: 'the time is no data',
    patches: [
      machine(
        'this.#load(0); await before.close();',
        'const keptTime = this.#time.restore; this.#time.restore = () => {}; this.#load(0); this.#time.restore = keptTime; await before.close();',
      ),
    ],
    killedBy: ['kv/time-to-live'],
  },
  {
    name: 'the time is not stored with a deferring engine',
    reason: 'it is stored with each batch',
    patches: [
      machine(
        'operations.push(this.#appliedOperation(this.#appliedIndex, this.#appliedIndex, this.#appliedTerm));\n        this.#addTime(operations);',
        'operations.push(this.#appliedOperation(this.#appliedIndex, this.#appliedIndex, this.#appliedTerm));',
      ),
    ],
    killedBy: randomFaults(60, ...POWER),
  },
  {
    name: 'a new leader stamps when the next deadline is near',
    reason: 'nothing is due before',
    patches: [
      expirer(
        'const toDeadlineMs = timeMs === undefined ? 0 :',
        'const toDeadlineMs = timeMs === undefined ? 1e6 :',
      ),
      expirer('return timeMs === undefined ? 0 : STAMP', 'return timeMs === undefined ? 1e6 : STAMP'),
    ],
    killedBy: ['kv/expirer', 'server/time-to-live'],
  },
  {
    name: 'an earlier deadline does not set the timer anew',
    reason: 'a timer is set',
    patches: [expirer('this.#earliestMs = Math.min(this.#earliestMs, deadlineMs);', '')],
    killedBy: ['kv/expirer'],
  },
];
