/** Mutations of src/record. */
import { inFile, type Mutation, randomFaults } from '../mutation.js';

const files = inFile('record/log-files.js');
const log = inFile('record/record-log.js');
const recovery = inFile('record/recovery.js');
const record = inFile('record/record.js');
const settle = inFile('record/settle.js');

const POWER = ['powerCut', 'powerCutOfSome', 'isolateLeader', 'slowDisk'] as const;
const CUTS = ['powerCut', 'powerCutOfAll', 'powerCutOfSome'] as const;

export const RECORD_MUTATIONS: readonly Mutation[] = [
  {
    name: 'the checksum of a record’s body is not checked',
    reason: 'the header has one',
    patches: [record('if (crc32(bytes.subarray(bodyStart, bodyEnd)) !== bodyCrc) return undefined;', '')],
    killedBy: randomFaults(80, ...CUTS),
  },
  {
    name: 'the checksum of a record’s header is not checked',
    reason: 'the body has one',
    patches: [
      record(
        'if (crc32(bytes.subarray(offset + 4, bodyStart)) !== bytes.readUInt32LE(offset)) return undefined;',
        '',
      ),
    ],
    killedBy: ['record/record'],
  },
  {
    name: 'a bad record at the end is the tail of a crash, whatever it looks like',
    reason: 'a crash is the usual cause',
    patches: [recovery("if (remains === 'damaged') {", 'if (false) {')],
    killedBy: ['record/record', 'record/torn-write'],
  },
  {
    name: 'a later record that says that a bad one was synced is not looked for',
    reason: 'recovery ends at the first bad record',
    patches: [recovery('if (record && isBefore(bad, record.durableThrough))', 'if (false)')],
    killedBy: ['record/record'],
  },
  {
    name: 'a log that was closed may end earlier',
    reason: 'the end of a log may be torn',
    patches: [recovery('if (!syncedThrough || !isBefore(end, syncedThrough)) return;', 'return;')],
    killedBy: ['lsm/damage'],
  },
  {
    name: 'a record of another file is believed',
    reason: 'it is intact',
    patches: [record('if (readUint53(bytes, offset + 16) !== fileNumber) return undefined;', '')],
    killedBy: randomFaults(80, ...CUTS),
  },
  {
    name: 'what is not synced counts as durable',
    reason: 'it has been written',
    patches: [
      log(
        'if (durable) this.#durableThrough = { file: this.#current, offset: this.#offset }; else',
        'this.#durableThrough = { file: this.#current, offset: this.#offset }; if (!durable)',
      ),
    ],
    killedBy: ['record/crash', 'record/record-log'],
  },
  {
    name: 'a single payload is written and not synced',
    reason: 'the next one is',
    patches: [log('file.writeDurableNow(chunks, start)', 'file.writeSync(chunks, start)')],
    killedBy: randomFaults(80, ...CUTS),
  },
  {
    name: 'a single payload is synced without what stands before it',
    reason: 'it came alone',
    patches: [
      log(
        'this.#unblockedWrites > 0 || this.#unsyncedBytes > 0 || this.#syncing',
        'this.#unblockedWrites > 0',
      ),
    ],
    killedBy: ['record/crash', 'record/record-log'],
  },
  {
    name: 'a durable write is durable with all that stands before it',
    reason: 'a sync syncs the file',
    patches: [log('if (this.#unsyncedBytes === 0) return file.writeDurable', 'return file.writeDurable')],
    killedBy: ['record/record-log', 'record/crash'],
  },
  {
    name: 'a file is not synced before its successor is used',
    reason: 'the successor’s sync will do',
    patches: [
      log(
        'try { await file.sync(); } catch (error) { throw this.#fail(error); } this.#durableThrough',
        'this.#durableThrough',
      ),
    ],
    killedBy: ['record/crash', 'record/record-log'],
  },
  {
    name: 'what is left of a write on a full disk is not cut off',
    reason: 'the next write goes over it',
    patches: [
      log(
        'file.truncate(validEnd); this.#allocated = validEnd; await file.sync();',
        'this.#allocated = validEnd;',
      ),
    ],
    killedBy: ['record/record-log'],
  },
  {
    name: 'a sync that fails for want of space is a full disk',
    reason: 'the code says so',
    patches: [log('if (!isDiskFull(error) || isFailedSync(error))', 'if (!isDiskFull(error))')],
    killedBy: ['record/record-log'],
  },
  {
    name: 'what is queued behind a group that failed is written',
    reason: 'each group stands for itself',
    patches: [log('this.#rejectQueue(error); continue;', 'continue;')],
    killedBy: ['record/record-log'],
  },
  {
    name: 'a group is durable if its first append asks for it',
    reason: 'they mostly all do',
    patches: [log('group.some((item) => item.durable)', 'group[0].durable')],
    killedBy: ['record/record-log', 'record/crash'],
  },
  {
    name: 'what a failed sync left in the page cache counts',
    reason: 'it reads well',
    patches: [settle('if (doubtfulFrom < end.offset) {', 'if (false) {')],
    killedBy: ['record/record-log'],
  },
  {
    name: 'the torn tail is not cut off',
    reason: 'it is written over',
    patches: [settle('if (file.sizeBytes() !== end.offset) file.truncate(end.offset);', '')],
    killedBy: randomFaults(80, ...CUTS),
  },
  {
    name: 'an old file goes while its successor has no durable preamble',
    reason: 'the successor is the current one',
    patches: [log('this.#options.preamble ? this.#durableThrough.file : this.#current', 'this.#current')],
    killedBy: ['record/record-log', 'record/crash'],
  },
  {
    name: 'the name of a new file is not synced',
    reason: 'its bytes are',
    patches: [files('await env.fs.syncDirectoryLater(directory);', '')],
    killedBy: randomFaults(60, ...POWER),
  },
  {
    name: 'a spare file left by a crash is used',
    reason: 'it is a spare',
    patches: [files('if (sparePattern.test(entry))', 'if (false)')],
    killedBy: ['record/recycling', 'record/record-log'],
  },
];
