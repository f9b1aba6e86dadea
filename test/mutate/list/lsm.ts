/** Mutations of src/lsm. */
import { inFile, type Mutation } from '../mutation.js';

const edit = inFile('lsm/version/version-edit.js');
const log = inFile('record/record-log.js');
const repair = inFile('lsm/tools/repair.js');

export const LSM_MUTATIONS: readonly Mutation[] = [
  {
    name: 'the end of the WAL is written into the MANIFEST before the WAL is synced',
    reason: 'a close syncs both',
    patches: [
      log(
        'this.#cutAllocated(file); await file.sync(); if (this.#unsettled',
        'this.#cutAllocated(file); if (this.#unsettled',
      ),
    ],
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
];
