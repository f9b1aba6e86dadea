/** Mutations of tablets: who owns a key, and what is told about others. */
import { inFile, type Mutation } from '../mutation.js';

const machine = inFile('kv/kv-state-machine.js');
const service = inFile('kv/service.js');
const partitionKey = inFile('placement/partition-key.js');
const tabletMap = inFile('placement/tablet-map.js');

export const TABLET_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a tablet takes writes of keys that it does not own',
    reason: 'the check at the door seems to be enough',
    patches: [machine('if (this.range && !ownsAll(this.range, operations))', 'if (false)')],
    killedBy: ['kv/tablet-range'],
  },
  {
    name: 'a tablet copies to keys that it does not own',
    reason: 'only the first key of an operation is looked at',
    patches: [machine("if (action === 'modify' && !", "if (action === 'none' && !")],
    killedBy: ['kv/tablet-range'],
  },
  {
    name: 'a tablet answers reads of keys that it does not own',
    reason: 'they are not there, so they are absent',
    patches: [service('stateMachine.range?.owns(key) === false', 'false')],
    killedBy: ['kv/tablet-range'],
  },
  {
    name: 'a tablet answers scans beyond its range',
    reason: 'it has no such keys, so there are none',
    patches: [service('stateMachine.range?.covers(from, to) === false', 'false')],
    killedBy: ['kv/tablet-range'],
  },
  {
    name: 'an empty tag is hashed',
    reason: 'off by one: all keys with {} would share a tablet',
    patches: [partitionKey('close > open + 1', 'close > open')],
    killedBy: ['placement/placement'],
  },
  {
    name: 'what is learned late replaces what is newer',
    reason: 'the last answer seems to be the newest',
    patches: [tabletMap('(a, b) => b.generation - a.generation', '() => 0')],
    killedBy: ['placement/placement'],
  },
];
