/** Mutations of what commands, data folders, full disks and the engine's edges promise; each has a test of its own. */
import { inFile, type Mutation } from '../mutation.js';

const tabletWatch = inFile('client/tablet-watch.js');
const lock = inFile('env/directory-lock.js');
const engines = inFile('lsm/directory/other-engines.js');
const picker = inFile('lsm/compaction/compaction-picker.js');
const receiver = inFile('replica/snapshot-receiver.js');
const proposals = inFile('replica/pending-proposals.js');
const replica = inFile('replica/replica.js');
const records = inFile('cli/records.js');
const stringOperation = inFile('kv/string-operation.js');
const recordFormat = inFile('record/record.js');
const recordLog = inFile('record/record-log.js');
const mirror = inFile('client/mirror.js');
const merged = inFile('client/watch.js');
const service = inFile('kv/service.js');
const yields = inFile('replica/leadership-yields.js');
const router = inFile('client/router.js');

export const EDGE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a watch waits for a node that is down, which may keep what others do not',
    reason: 'it may start again',
    patches: [tabletWatch('mustListen: isShort', 'mustListen: false')],
    killedBy: ['server/watch'],
  },
  {
    name: 'a leader takes what its log has room for, and its tree has not',
    reason: 'the log has room',
    patches: [
      replica('return diskSpace.isFull || stateMachine.isOutOfSpace === true;', 'return diskSpace.isFull;'),
    ],
    killedBy: ['server/disk-full'],
  },
  {
    name: 'a leader whose tree has no room leads on',
    reason: 'what is in its log is safe',
    patches: [replica('this.#sayThatTreeIsFull(true); this.#yields.yield();', '')],
    killedBy: ['server/disk-full'],
  },
  {
    name: 'who waits for what a full disk holds up is told nothing',
    reason: 'there may be space soon',
    patches: [replica('this.#proposals.rejectCommands(waitsForSpace());', '')],
    killedBy: ['replica/replica'],
  },
  {
    name: 'who waits for a split that a full disk holds up is told that it is not certain',
    reason: 'it may be repeated',
    patches: [proposals('({ isCommand }) => isCommand', '() => true')],
    killedBy: ['replica/pending'],
  },
  {
    name: 'whoever waits for an answer is not told by the next leader',
    reason: 'this node has lost the leadership',
    patches: [proposals('(proposal) => proposal.term >= term', '() => true')],
    killedBy: ['replica/replica', 'replica/pending-proposals'],
  },
  {
    name: 'what was replaced in the log of a node that leads again is told later, and then repeated',
    reason: 'it will be known soon',
    patches: [replica('this.#proposals.leads(this.#raft.term)', '{}')],
    killedBy: ['replica/replica'],
  },
  {
    name: 'a leader that gave its place away for want of space keeps its callers waiting',
    reason: 'the next leader will tell',
    patches: [replica("if (this.isDiskFull) this.#proposals.rejectAll(leadershipLost('unknown'));", '')],
    killedBy: ['server/disk-full'],
  },
  {
    name: 'an entry before a snapshot was not committed',
    reason: 'a later leader’s entries are applied',
    patches: [proposals("(index > last ? 'notCommitted' : 'unknown')", "'notCommitted'")],
    killedBy: ['replica/pending-proposals'],
  },
  {
    name: 'who lost the leadership waits for the next leader without end',
    reason: 'there will be one',
    patches: [replica('this.#proposals.rejectLostBefore(nowMs - patienceMs);', '')],
    killedBy: ['replica/replica', 'replica/membership'],
  },
  {
    name: 'a door does not pass on what was certainly not committed when its node lost the leadership',
    reason: 'whoever asked may ask again',
    patches: [
      inFile('doors/backend.js')("code === 'LEADERSHIP_LOST' && outcome === 'notCommitted'", 'false'),
    ],
    killedBy: ['doors/write-line'],
  },
  {
    name: 'who writes while the leadership is handed over is told that the node has too much to do',
    reason: 'the same node may take it later',
    patches: [inFile('replica/refusals.js')("transferring: ['NO_LEADER'", "transferring: ['OVERLOADED'")],
    killedBy: ['server/doors'],
  },
  {
    name: 'old bytes that hold a type and the number of the file are a damaged header',
    reason: 'nothing else looks like that',
    patches: [
      recordFormat(
        'if (isPosition && !isBefore(said, durableThrough) && !isBefore(here, said)) return true;',
        'return true;',
      ),
    ],
    killedBy: ['record/torn-write'],
  },
  {
    name: 'a header whose position is damaged is no header',
    reason: 'its checksum is wrong',
    patches: [
      recordFormat('crc32(bytes.subarray(bodyStart, bodyEnd)) === header.readUInt32LE(4))', 'false)'),
    ],
    killedBy: ['record/torn-write'],
  },
  {
    name: 'a door repeats what may be committed',
    reason: 'its node has lost the leadership',
    patches: [
      inFile('doors/backend.js')(
        "code === 'LEADERSHIP_LOST' && outcome === 'notCommitted'",
        "code === 'LEADERSHIP_LOST'",
      ),
    ],
    killedBy: ['doors/write-line'],
  },
  {
    name: 'what waits for a full disk is said to be in no log',
    reason: 'DISK_FULL is so',
    patches: [service("kvError('DISK_FULL', error.message, outcome)", "kvError('DISK_FULL', error.message)")],
    killedBy: ['kv/service'],
  },
  {
    name: 'a write that may be in the log of a full disk is repeated until its time is over',
    reason: 'another attempt may show its outcome',
    patches: [
      router(
        'if (nowMs - diskFullSinceMs >= DISK_FULL_PATIENCE_MS)',
        'if (!call.uncertain && nowMs - diskFullSinceMs >= DISK_FULL_PATIENCE_MS)',
      ),
    ],
    killedBy: ['server/disk-full'],
  },
  {
    name: 'a string operation looks at the state before the write',
    reason: 'conditions are judged there, too',
    patches: [stringOperation('of.keys.present(of.key)', 'of.keys.before(of.key)')],
    killedBy: ['kv/string-operation'],
  },
  {
    name: 'a deadline that changes leaves the version',
    reason: 'the value is the same',
    patches: [
      stringOperation(
        'deadlineMs }; keys.stage(key, living',
        'deadlineMs, ...(this.#present ? { version: this.#present.version } : {}) }; keys.stage(key, living',
      ),
    ],
    killedBy: ['kv/string-operation'],
  },
  {
    name: 'who lets go of a directory takes all lock names away',
    reason: 'it has held the directory alone',
    patches: [
      lock(
        'unlinkIfPossible(env, path); close();',
        "for (const other of env.fs.list(directory)) if (isLockName(other)) unlinkIfPossible(env, directory + '/' + other); close();",
      ),
    ],
    killedBy: ['env/directory-lock'],
  },
  {
    name: 'a database of another kind is an empty directory',
    reason: 'it holds no tree',
    patches: [engines('if (!fs.exists(directory)) return;', 'return;')],
    killedBy: ['lsm/other-engines'],
  },
  {
    name: 'a tree makes nothing that keeps LevelDB away',
    reason: 'nobody opens a tree with LevelDB',
    patches: [
      engines(
        'export function markDirectory({ fs }, directory) {',
        'export function markDirectory({ fs }, directory) { if (directory) return;',
      ),
    ],
    killedBy: ['lsm/other-engines'],
  },
  {
    name: 'a full disk has no room for a mark, so a tree does not open',
    reason: 'an error is an error',
    patches: [engines('if (!isDiskFull(error)) throw error;', 'throw error;')],
    killedBy: ['lsm/fault'],
  },
  {
    name: 'a tree opens as many tables as its option says',
    reason: 'the option says so',
    patches: [inFile('lsm/table/table-cache.js')('this.#shared.limitTo(env.host.maxDescriptors());', '')],
    killedBy: ['lsm/resources'],
  },
  {
    name: 'a lack of descriptors is a failure of the disk',
    reason: 'the file was not opened',
    patches: [
      inFile('lsm/compaction/maintenance.js')(
        'if (isDiskFull(error) || isOutOfDescriptors(error)) this.#retryLater(loop, error);',
        'if (isDiskFull(error)) this.#retryLater(loop, error);',
      ),
    ],
    killedBy: ['lsm/fault'],
  },
  {
    name: 'a lone file of tombstones stays in level 0',
    reason: 'more files will come',
    patches: [
      picker(
        'if (level === 0 && level0IsSmall && tombstones < MANY_TOMBSTONES) continue;',
        'if (level === 0) continue;',
      ),
    ],
    killedBy: ['lsm/compaction-picker'],
  },
  {
    name: 'a log file of any size is written over again',
    reason: 'its bytes are allocated already',
    patches: [
      inFile('record/log-files.js')('return this.use(number).sizeBytes() <= maxSpareBytes;', 'return true;'),
    ],
    killedBy: ['record/recycling'],
  },
  {
    name: 'a snapshot of any size is received',
    reason: 'the sender knows what it has',
    patches: [receiver('return sizeBytes > MAX_SNAPSHOT_BYTES', 'return sizeBytes < 0')],
    killedBy: ['replica/snapshot-offers'],
  },
  {
    name: 'offers that wait for the disk are kept, however many',
    reason: 'they will be looked at',
    patches: [receiver('else if (this.#waiting < MAX_WAITING_MESSAGES)', 'else')],
    killedBy: ['replica/snapshot-offers'],
  },
  {
    name: 'a leader whose disk is full leads on',
    reason: 'there may be space soon',
    patches: [replica("#diskFull() { this.#step({ type: 'transfer' });", '#diskFull() {')],
    killedBy: ['server/disk-full'],
  },
  {
    name: 'a full disk is told by each writer',
    reason: 'each of them has met it',
    patches: [inFile('env/disk-space.js')('this.#isReported || nowMs < this.#nextReportMs', 'false')],
    killedBy: ['env/disk-space'],
  },
  {
    name: 'connections take the descriptors that files need',
    reason: 'limits.maxConnections says so',
    patches: [
      inFile('server/descriptors.js')(
        'clients: Math.min(maxConnections, left - http - resp),',
        'clients: maxConnections,',
      ),
    ],
    killedBy: ['server/descriptors'],
  },
  {
    name: 'members may share an address',
    reason: 'the operator knows where they are',
    patches: [
      inFile('server/member-plan.js')(
        'const shared = changes.length > 0 ? sharedAddress([...members.values()]) : undefined;',
        'const shared = undefined;',
      ),
    ],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'what Node.js makes of base64 is taken',
    reason: 'it decodes whatever it gets',
    patches: [inFile('cli/base64.js')("if (bytes.toString('base64') === text)", 'if (bytes.length >= 0)')],
    killedBy: ['cli/records'],
  },
  {
    name: 'a line that is no UTF-8 is read as if it were',
    reason: 'JSON is text',
    patches: [records('if (!isUtf8(line)) throw', 'if (line.length < 0) throw')],
    killedBy: ['cli/records'],
  },
  {
    name: 'a carriage return at the end of TSV is no part of the value',
    reason: 'it belongs to the end of the line',
    patches: [
      records(
        'value: line.subarray(tab + 1) }',
        'value: line.subarray(tab + 1, line.at(-1) === RETURN ? line.length - 1 : line.length) }',
      ),
    ],
    killedBy: ['cli/records'],
  },
  {
    name: 'a backup is written over the one before',
    reason: 'it has the same name',
    patches: [
      inFile('cli/output-file.js')(
        "fs.openSync(this.#written, 'wx', PRIVATE);",
        "fs.openSync((this.#written = this.#target), 'w', PRIVATE);",
      ),
    ],
    killedBy: ['cli/output-file'],
  },
  {
    name: 'this thread waits for the disk while others want to append',
    reason: 'they came later',
    patches: [recordLog('return this.#queue.length === 0 && !this.#failure;', 'return true;')],
    killedBy: ['record/record-log'],
  },
  {
    name: 'a slow disk stops the thread at every write',
    reason: 'the next one may be quick',
    patches: [recordLog('this.#unblockedWrites = WRITES_AFTER_SLOW_ONE', 'this.#unblockedWrites = 0')],
    killedBy: ['record/record-log'],
  },
  {
    name: 'a mirror is whole when all keys were read',
    reason: 'the changes will come',
    patches: [mirror('syncedMs < this.#readMs', 'false')],
    killedBy: ['server/mirror'],
  },
  {
    name: 'a mirror shows a write in parts',
    reason: 'each change is in order',
    patches: [mirror('if (this.watch.isBetweenWrites)', '')],
    killedBy: ['server/mirror'],
  },
  {
    name: 'changes of several tablets come between those of one write',
    reason: 'each key is in order',
    patches: [merged('current && !current.isBetweenWrites ? current', 'false ? current')],
    killedBy: ['server/watch-tablets'],
  },
  {
    name: 'a watch of several tablets goes on from one version in all of them',
    reason: 'a version is a version',
    patches: [merged("typeof from === 'number' && streams > 1", 'false')],
    killedBy: ['server/watch-tablets'],
  },
  {
    name: 'a leader that cannot read its disk goes on leading',
    reason: 'the client is told, and may ask another node',
    patches: [service('tablet?.replica.yieldLeadership();', '')],
    killedBy: ['kv/service'],
  },
  {
    name: 'a leader whose disk fails gives its leadership away each time',
    reason: 'the other one has a better disk',
    patches: [yields('|| nowMs < this.#nextMs', '')],
    killedBy: ['replica/leadership-yields', 'replica/snapshot-sender'],
  },
  {
    name: 'whoever may read over HTTP switches the balancer',
    reason: 'it changes no key',
    patches: [inFile('doors/http/balance-route.js')('admit(request); const body', 'const body')],
    killedBy: ['doors/http/balance'],
  },
];
