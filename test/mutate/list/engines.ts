/** Mutations of src/engines. */
import { inFile, type Mutation } from '../mutation.js';

const checkpoints = inFile('engines/sorted-checkpoints.js');
const level = inFile('engines/level-engine.js');
const memory = inFile('engines/memory-engine.js');
const files = inFile('engines/engine-files.js');
const sortedMap = inFile('engines/sorted-map.js');
const node = inFile('server/node.js');
const deferring = inFile('kv/kv-state-machine.js');

export const ENGINE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'an engine that defers is given the sessions after a batch that failed',
    reason: 'they are in memory',
    patches: [deferring('if (this.#isAhead)', 'if (false)')],
    killedBy: ['kv/deferred'],
  },
  {
    name: 'a batch that a deferring engine has refused counts as taken when it asks',
    reason: 'it was given',
    patches: [deferring('this.#given = undefined; throw error;', 'throw error;')],
    killedBy: ['kv/deferred'],
  },
  {
    name: 'the engine before a snapshot is given the sessions of the snapshot',
    reason: 'it is closed in a moment',
    patches: [deferring('before.defer?.(() => last);', '')],
    killedBy: ['kv/deferred'],
  },
  {
    name: 'a batch is begun before there is room for it',
    reason: 'the engine makes room',
    patches: [deferring('hasRoom ? undefined : this.#engine.room?.()', 'undefined')],
    killedBy: ['kv/deferred'],
  },
  {
    name: 'an engine that defers gets the sessions only when it asks',
    reason: 'it asks often enough',
    patches: [deferring('!defers || this.#sessions.changedResults > MAX_DEFERRED_RESULTS', '!defers')],
    killedBy: ['kv/deferred'],
  },
  {
    name: 'a flush of the memory engine does not sync the name of its file',
    reason: 'the file is synced',
    patches: [files('await env.fs.syncDirectoryLater(directory);', '')],
    killedBy: ['engines/conformance'],
  },
  {
    name: 'what is written while the memory engine flushes counts as durable',
    reason: 'one line lower',
    patches: [memory('this.#durableSequence = sequence;', 'this.#durableSequence = this.#sequence;')],
    killedBy: ['engines/memory-engine'],
  },
  {
    name: 'a checkpoint goes before the engine that takes it over has flushed',
    reason: 'it was read whole',
    patches: [checkpoints('await engine.flush();', '')],
    killedBy: ['engines/conformance'],
  },
  {
    name: 'half a checkpoint that was taken over stays',
    reason: 'a new engine is empty',
    patches: [checkpoints('fs.removeTree(store);', '')],
    killedBy: ['engines/memory-engine'],
  },
  {
    name: 'a change of the ordered map is seen by the views of before',
    reason: 'copies cost time',
    patches: [sortedMap('if (chunk && chunk.views === this.#views)', 'if (chunk)')],
    killedBy: ['engines/sorted', 'engines/conformance'],
  },
  {
    name: 'a level engine shows a batch before it is done',
    reason: 'reads are of the newest state',
    patches: [level('{ ...BYTES, snapshot: state.snapshot }', 'BYTES')],
    killedBy: ['engines/conformance'],
  },
  {
    name: 'nodes with different engines take each other for members',
    reason: 'the hello was right',
    patches: [node('if (engine === own)', 'if (engine !== undefined)')],
    killedBy: ['server/engines'],
  },
];

const localNetwork = inFile('embed/local-network.js');
const machine = inFile('embed/machine-engine.js');
const program = inFile('embed/program-machine.js');
const service = inFile('kv/service.js');

/** Mutations of src/embed. */
export const EMBED_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a connection within the process passes the memory of the writer on',
    reason: 'a copy costs time',
    patches: [
      localNetwork(
        'const bytes = Buffer.concat(chunks);',
        'const bytes = chunks.length === 1 ? chunks[0] : Buffer.concat(chunks);',
      ),
    ],
    killedBy: ['embed/local-network'],
  },
  {
    name: 'commands are applied while the file of the state is written',
    reason: 'the state is in it already',
    patches: [
      machine(
        'return this.#withState(() => this.#base.flush());',
        'return this.#withState(async () => { void this.#base.flush(); });',
      ),
    ],
    killedBy: ['embed/machine-engine'],
  },
  {
    name: 'the number of commands does not come back with the state',
    reason: 'it only counts',
    patches: [machine('this.#count = readUint53(first, 0);', '')],
    killedBy: ['embed/machine-engine'],
  },
  {
    name: 'results that are too old stay after a restart',
    reason: 'they were counted before',
    patches: [machine('this.#results = stored.sort((a, b) => a.version - b.version);', '')],
    killedBy: ['embed/machine-engine'],
  },
  {
    name: 'a query does not wait for what was acknowledged',
    reason: 'the own copy is at hand',
    patches: [program("level === 'stale' ? 'stale' : 'follower'", "'stale'")],
    killedBy: ['embed/state-machine'],
  },
  {
    name: 'any client writes the keys of the state machine',
    reason: 'keys are keys',
    patches: [service('if (!prefix || rights.administrate)', 'if (prefix || !prefix)')],
    killedBy: ['embed/state-machine'],
  },
];
