/** Mutations of src/env: the lock of a directory. */
import { inFile, type Mutation } from '../mutation.js';

const lock = inFile('env/directory-lock.js');
const owned = inFile('env/owned-files.js');

export const ENV_MUTATIONS: readonly Mutation[] = [
  {
    name: 'who has made its name in a directory does not look again who else is there',
    reason: 'it has looked before',
    patches: [lock('isAlone = !(await holderBeside(env, directory, name)) && ', 'isAlone = ')],
    killedBy: ['env/directory-lock'],
  },
  {
    name: 'a file of another process namespace is taken for a dead one’s',
    reason: 'its number means nothing here',
    patches: [
      lock(
        'if (holder && env.host.isAlive(holder))',
        'if (holder && holder.pidNamespace === "" && env.host.isAlive(holder))',
      ),
    ],
    killedBy: ['env/directory-lock-process'],
  },
  {
    name: 'a tree whose directory was replaced goes on there',
    reason: 'its path is the same',
    patches: [owned('lock.check();', '')],
    killedBy: ['lsm/tree-directory'],
  },
];
