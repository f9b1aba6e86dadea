/** Mutations of watches. */
import { inFile, type Mutation, randomFaults } from '../mutation.js';

const history = inFile('kv/watch/change-history.js');
const watcher = inFile('kv/watch/watcher.js');
const batchKeys = inFile('kv/batch-keys.js');
const client = inFile('client/tablet-watch.js');
const clientWatch = inFile('client/watch.js');
const streams = inFile('doors/native/watch-streams.js');

export const WATCH_MUTATIONS: readonly Mutation[] = [
  {
    name: 'after a split by hash all tablets are followed, not only the parts',
    reason: 'any of them may own keys of the range',
    patches: [
      clientWatch('parts.filter((part) => ended.some((stream) => overlap(part, stream.part)))', 'parts'),
    ],
    killedBy: ['client/merged-watch'],
  },
  {
    name: 'a watch skips what a snapshot has brought',
    reason: 'it goes on with what comes',
    patches: [watcher('if (this.#through + 1 < this.#history.oldestVersion) this.#fallBehind(); else', '')],
    killedBy: randomFaults(80, 'kill', 'powerCut', 'isolateLeader'),
  },
  {
    name: 'a watch goes on with the next version when a part of one was told',
    reason: 'most writes change one key',
    patches: [client('isInPart && this.#part.keys.has(name)', 'false')],
    killedBy: randomFaults(80, 'kill', 'breakConnections'),
  },
  {
    name: 'a history is said to be complete from a version of which it lacks a part',
    reason: 'off by one',
    patches: [history('first.lastVersion + 1)', 'first.lastVersion)')],
    killedBy: ['kv/watch/watches'],
  },
  {
    name: 'memory that pages show is written over',
    reason: 'chunks are used again',
    patches: [history('chunk.isShared = true;', '')],
    killedBy: ['kv/watch/watches'],
  },
  {
    name: 'changes are told before the engine has them',
    reason: 'they will be there soon',
    patches: [history('this.#end += sizeBytes;', 'this.#end += sizeBytes; this.publish(version);')],
    killedBy: ['kv/watch/watches'],
  },
  {
    name: 'a deadline that is changed is told as a put',
    reason: 'something has changed',
    patches: [batchKeys('else if (change.version === index)', 'else')],
    killedBy: randomFaults(40),
  },
  {
    name: 'the end of a life is not told',
    reason: 'no write has changed the key',
    patches: [batchKeys('this.#history?.add(EXPIRE, index, key.stored, NOTHING);', '')],
    killedBy: randomFaults(40),
  },
  {
    name: 'progress is told to a watch that is behind',
    reason: 'the node has applied it',
    patches: [streams('stream.tablet === tablet && stream.watcher.hasMore', 'false')],
    killedBy: ['server/watch'],
  },
];
