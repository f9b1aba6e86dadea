/** Mutations of src/lsm. */
import { inFile, type Mutation } from '../mutation.js';

const edit = inFile('lsm/version/version-edit.js');
const droppable = inFile('lsm/compaction/droppable-tables.js');
const versions = inFile('lsm/version/version-set.js');
const tree = inFile('lsm/lsm-tree.js');
const maintenance = inFile('lsm/compaction/maintenance.js');
const closing = inFile('lsm/close-tree.js');
const commitLog = inFile('lsm/write/commit-log.js');
const memtable = inFile('lsm/memtable/memtable.js');
const freezer = inFile('lsm/write/freezer.js');
const log = inFile('record/record-log.js');
const repair = inFile('lsm/tools/repair.js');
const versionFilter = inFile('lsm/compaction/version-filter.js');
const reader = inFile('lsm/read/reader.js');
const iterator = inFile('lsm/read/iterator.js');

export const LSM_MUTATIONS: readonly Mutation[] = [
  {
    name: 'compaction keeps what lies outside of the bounds of a tree',
    reason: 'no reader sees it',
    patches: [versionFilter('if (this.#isForeign)', 'if (false)')],
    killedBy: ['lsm/key-bounds'],
  },
  {
    name: 'a get finds what lies outside of the bounds of a tree',
    reason: 'nobody asks for it',
    patches: [reader('this.#versions.owned?.owns(key) === false', 'false')],
    killedBy: ['lsm/key-bounds'],
  },
  {
    name: 'an iterator in reverse shows what lies outside of the bounds of a tree',
    reason: 'the way forward does not',
    patches: [
      iterator('if (this.#keyIsDone || top.sequence > this.#sequence)', 'if (top.sequence > this.#sequence)'),
    ],
    killedBy: ['lsm/key-bounds'],
  },
  {
    name: 'the filter of a memtable lacks what came after it was made',
    reason: 'it was filled',
    patches: [
      memtable(
        'if (this.#filtered < this.#count) this.#filterNewest();',
        'if (!this.#filter) this.#filterNewest();',
      ),
    ],
    killedBy: ['lsm/memtable'],
  },
  {
    name: 'the filter of a memtable is asked for long keys, which it does not hold',
    reason: 'it holds keys',
    patches: [memtable(' && key.length <= MOST_FILTERED_BYTES', '')],
    killedBy: ['lsm/memtable'],
  },
  {
    name: 'a tree goes on that did not get what was deferred',
    reason: 'it can ask again',
    patches: [freezer('this.#host.failed(error);', '')],
    killedBy: ['kv/deferred'],
  },
  {
    name: 'a memtable is frozen without what was deferred',
    reason: 'it comes with the next one',
    patches: [
      freezer(
        'if (!this.#insertDeferred()) return false; this.#host.memtables.freeze();',
        'this.#host.memtables.freeze(); this.#insertDeferred();',
      ),
    ],
    killedBy: ['kv/crash'],
  },
  {
    name: 'a batch that has only deferred operations takes no sequence',
    reason: 'it has no entry',
    patches: [
      commitLog('this.#lastGiven + Math.max(1, operations.length)', 'this.#lastGiven + operations.length'),
    ],
    killedBy: ['kv/crash', 'kv/kv-state-machine'],
  },
  {
    name: 'on a full disk an opening relies on a MANIFEST that may not be durable',
    reason: 'it was just read',
    patches: [versions('syncManifest(options.env, directory, newest);', '')],
    killedBy: ['lsm/kill-then-power-cut'],
  },
  {
    name: 'on a full disk an opening relies on a WAL that may not be durable',
    reason: 'the next append settles it',
    patches: [log('syncRecovered(this.#recovered);', '')],
    killedBy: ['lsm/kill-then-power-cut'],
  },
  {
    name: 'tables that a full disk could not name stay',
    reason: 'the next opening removes them',
    patches: [versions('this.#removeUnnamed(number);', '{}')],
    killedBy: ['lsm/fault'],
  },
  {
    name: 'the end of the WAL is written into the MANIFEST before the WAL is synced',
    reason: 'a close syncs both',
    patches: [log('await file.sync(); if (this.#unsettled', 'if (this.#unsettled')],
    killedBy: ['lsm/wal-end', 'lsm/crash-random'],
  },
  {
    name: 'the end of a WAL file that is not needed any more is kept',
    reason: 'nobody asks for it',
    patches: [edit('walEnd: walEnd && walEnd.file >= oldestWal ? walEnd : undefined', 'walEnd')],
    killedBy: ['lsm/wal-end'],
  },
  {
    name: 'a repair forgets where the WAL ends',
    reason: 'what repair keeps was read a moment ago',
    patches: [repair('...(walIsKept && tree.walEnd && { walEnd: tree.walEnd }),', '')],
    killedBy: ['lsm/wal-end'],
  },
  {
    name: 'a table is removed although an older one of a deeper level overlaps it',
    reason: 'the range is deleted anyway',
    patches: [droppable('!staying.some((older) => overlappingInOrder(older, file).length > 0) &&', '')],
    killedBy: ['lsm/drop-tables'],
  },
  {
    name: 'a table of level 0 is removed although an older one overlaps it',
    reason: 'level 0 is searched whole',
    patches: [droppable('(level > 0 || overlapping(kept, file).length === 0)', 'true')],
    killedBy: ['lsm/drop-tables'],
  },
  {
    name: 'a table that a compaction reads is removed',
    reason: 'its file stays while it is read',
    patches: [droppable('!inUse.has(file) &&', '')],
    killedBy: ['lsm/drop-tables'],
  },
  {
    name: 'a table with what was written since is removed',
    reason: 'its keys lie in the range',
    patches: [droppable('file.metadata.largestSequence <= lastSequence &&', '')],
    killedBy: ['lsm/drop-tables'],
  },
  {
    name: 'tables are removed before what was written earlier is durable',
    reason: 'the removal itself is',
    patches: [
      tree(
        'await writes.freezer.flushAll(); life.checkWritable(); return background.add',
        'return background.add',
      ),
    ],
    killedBy: ['lsm/drop-tables'],
  },
  {
    name: 'a snapshot that is taken while tables are removed is not asked for',
    reason: 'there was none a moment ago',
    patches: [versions('if (isRefused()) { const numbers', 'if (false) { const numbers')],
    killedBy: ['lsm/drop-tables'],
  },
  {
    name: 'a flush is refused because a compaction found no space',
    reason: 'the disk is full',
    patches: [
      maintenance("if (loop === 'flush') this.#host.flushDelayed(error);", 'this.#host.flushDelayed(error);'),
    ],
    killedBy: ['lsm/fault'],
  },
  {
    name: 'a compaction without space refuses the writes that wait for a flush',
    reason: 'the disk is full',
    patches: [maintenance("stall === 'memtables' ? 'flush' : 'compaction'", "'compaction'")],
    killedBy: ['lsm/fault'],
  },
  {
    name: 'a tree without a WAL is closed without a flush',
    reason: 'the writes were acknowledged',
    patches: [closing('await freezer.flushAll();', '')],
    killedBy: ['lsm/fault'],
  },
  {
    name: 'a table that cannot be closed keeps the directory locked',
    reason: 'the process ends soon',
    patches: [closing('await attempt(() => tables.closeAll());', 'tables.closeAll();')],
    killedBy: ['lsm/fault'],
  },
];
