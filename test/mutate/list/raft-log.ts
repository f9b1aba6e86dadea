/** Mutations of src/raft-log. */
import { inFile, type Mutation, randomFaults, under } from '../mutation.js';

const log = inFile('raft-log/raft-log.js');
const format = inFile('raft-log/format.js');

const POWER = ['powerCut', 'powerCutOfSome', 'isolateLeader', 'slowDisk'] as const;
const CUTS = ['powerCut', 'powerCutOfAll', 'powerCutOfSome'] as const;

export const RAFT_LOG_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a group is retired in one record, and followed in another',
    reason: 'both are written before anyone is told',
    patches: [
      log(
        'const { payload } = encodeGroups([ ...[id, ...absorbed].map(encodeRetired), ...groups.flatMap(({ payloads }) => payloads), ]);',
        'await this.#records.append(encodeRetired(id), true); ' +
          'const { payload } = encodeGroups(groups.flatMap(({ payloads }) => payloads));',
      ),
    ],
    killedBy: ['raft-log/succession'],
  },
  {
    name: 'a group that follows another begins in term 0',
    reason: 'it is new',
    patches: [log('term: base.term, vote: NOBODY', 'term: 0, vote: NOBODY')],
    killedBy: ['raft-log/succession'],
  },
  {
    name: 'entries are copied forward beside another write',
    reason: 'writes keep their order',
    patches: [log('this.#writing > 0 || ', '')],
    killedBy: ['raft-log/raft-log'],
  },
  {
    name: 'entries are copied forward that wait for space on the disk',
    reason: 'they are in the log',
    patches: [log('this.#writing > 0 || waits', 'this.#writing > 0')],
    killedBy: ['raft-log/raft-log'],
  },
  {
    name: 'a snapshot is copied forward that waits for space on the disk',
    reason: 'it is the base of the log',
    patches: [log(' || base.directory !== this.#writtenBase?.directory', '')],
    killedBy: ['raft-log/copy-forward'],
  },
  {
    name: 'after a cut that a full disk refused, the next append lets its segments go',
    reason: 'writes become durable in order',
    patches: [log(' || (isOfBase && !hasBase)', '')],
    killedBy: ['raft-log/copy-forward'],
  },
  {
    name: 'nothing is copied forward',
    reason: 'each group has its limit',
    patches: [log('this.#reviewedFile = currentFile;', 'return;')],
    killedBy: ['raft-log/raft-log'],
  },
  {
    name: 'the Raft log is not synced',
    reason: 'a flag',
    patches: [log('append(payload, true, single)', 'append(payload, false)')],
    killedBy: randomFaults(40, ...POWER),
  },
  {
    name: 'a base is not synced before segments go',
    reason: 'it holds nothing that is not elsewhere',
    patches: [
      log(
        'this.#write(encodeBase(this.#id, base, false), () => {',
        'this.#records().append(encodeBase(this.#id, base, false), false).then(() => {',
      ),
    ],
    killedBy: randomFaults(80, ...CUTS),
  },
  {
    name: 'the record that installs a snapshot is not synced',
    reason: 'the files are',
    patches: [
      log(
        'this.#write(both.payload, ({ file, offset }) => {',
        'this.#records().append(both.payload, false).then(({ file, offset }) => {',
      ),
    ],
    killedBy: ['replica/snapshot', 'raft-log/crash'],
  },
  {
    name: 'a segment goes while a crash may still lead back to it',
    reason: 'what replaces it has been written',
    patches: [log('if (pin) return pin.file;', '')],
    killedBy: ['raft-log/crash'],
  },
  {
    name: 'replaced entries pin no segment',
    reason: 'only bases do',
    patches: [log('if (first <= this.#index.last) this.#pin(false);', '')],
    killedBy: ['raft-log/raft-log', 'raft-log/crash'],
  },
  {
    name: 'a new segment begins without the hard state',
    reason: 'it comes with the next batch',
    patches: [
      log(
        '{ hardState: this.#writtenHardState, first: 0, entries: [] }',
        '{ hardState: EMPTY_HARD_STATE, first: 0, entries: [] }',
      ),
    ],
    killedBy: ['raft-log/raft-log', 'raft-log/crash'],
  },
  {
    name: 'a new segment begins with a base that is not written yet',
    reason: 'two fields of almost one name',
    patches: [
      log(
        'const payloads = [encodeBase(this.#id, this.#writtenBase, false), payload];',
        'const payloads = [encodeBase(this.#id, this.#base, false), payload];',
      ),
    ],
    killedBy: ['raft-log/crash', 'replica/snapshot'],
  },
  {
    name: 'a hard state without entries is not recovered',
    reason: 'a batch is its entries',
    patches: [
      log(
        'this.#writtenHardState = record.hardState;',
        'if (record.entries.length > 0) this.#writtenHardState = record.hardState;',
      ),
    ],
    killedBy: under('secondVote', 5),
  },
  {
    name: 'entries are not checked when they are read back',
    reason: 'recovery has checked them',
    patches: [format('if (crc32(bytes) !== checksum) return undefined;', '')],
    killedBy: ['raft-log/raft-log'],
  },
  {
    name: 'entries that are not written yet leave the cache',
    reason: 'a limit is a limit',
    patches: [log('if (!this.#index.isPlaced(this.#cache.first)) break;', '')],
    killedBy: ['raft-log/raft-log'],
  },
  {
    name: 'a cut keeps the configuration of the base before',
    reason: 'the configuration seldom changes',
    patches: [
      log('const configuration = this.configurationAt(index);', 'const { configuration } = this.#base;'),
    ],
    killedBy: randomFaults(200),
  },
  {
    name: 'a cut right at a change of members loses it',
    reason: 'off by one',
    patches: [log('if (at > index) break;', 'if (at >= index) break;')],
    killedBy: ['raft-log/raft-log'],
  },
  {
    name: 'a change of members that was replaced still counts',
    reason: 'the list of changes only grows',
    patches: [log('while ((this.#changes.at(-1)?.index ?? 0) >= index) this.#changes.pop();', '')],
    killedBy: ['raft-log/raft-log'],
  },
  {
    name: 'a log that lacks entries is opened',
    reason: 'the leader will send them',
    patches: [log('const lost = !isEmpty && this.#index.first !== index + 1;', 'const lost = false;')],
    killedBy: ['raft-log/raft-log'],
  },
];
