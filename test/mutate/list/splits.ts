/** Mutations of tablets that are split by themselves, and of splits that are ended. */
import { inFile, type Mutation } from '../mutation.js';

const autoSplits = inFile('server/auto-splits.js');
const splits = inFile('server/tablet-splits.js');
const driver = inFile('server/meta-driver.js');
const survey = inFile('lsm/read/survey.js');
const load = inFile('kv/tablet-load.js');
const node = inFile('server/node.js');
const publishing = inFile('server/publishing.js');
const tablets = inFile('server/tablet-set.js');

export const SPLIT_MUTATIONS: readonly Mutation[] = [
  {
    name: 'who watches is told of the end only where the parts are open',
    reason: 'they go on there',
    patches: [
      tablets('if (!this.#isClosed) tellEnd(', 'if (children.every((id) => this.#open.has(id))) tellEnd('),
    ],
    killedBy: ['server/late-split'],
  },
  {
    name: 'a state that was opened stays open when it cannot be noted',
    reason: 'it is opened again later',
    patches: [
      node('catch (error) { await stateMachine.close(); throw error;', 'catch (error) { throw error;'),
    ],
    killedBy: ['server/late-split'],
  },
  {
    name: 'who keeps a tablet that has ended waits for the next entry of its parts',
    reason: 'entries tell what all members have',
    patches: [tablets("if (leader === 0 || role === 'leader') return", 'return')],
    killedBy: ['server/publishing'],
  },
  {
    name: 'a change of a tablet that the map has not heard of counts as taken in',
    reason: 'the map does not name the parent',
    patches: [
      publishing(
        'children.some((child) => each.generation < child.generation && overlap(each, child))',
        'parentsOf(change).some(({ id }) => id === each.id)',
      ),
      publishing('isDone({ children })', 'isDone(change)'),
    ],
    killedBy: ['server/publishing'],
  },
  {
    name: 'a change of a tablet is taken into the map before what made the tablet',
    reason: 'its log says so',
    patches: [
      publishing(
        'this.isDone(change) || !parents.every(({ id }) => state.tablets.has(id))',
        'this.isDone(change)',
      ),
    ],
    killedBy: ['server/publishing'],
  },
  {
    name: 'keys of others in shared tables choose where a tablet is split',
    reason: 'they lie in its tables',
    patches: [survey('found.filter(owns)', 'found')],
    killedBy: ['lsm/survey'],
  },
  {
    name: 'a tablet is split when it was busy for a moment',
    reason: 'it was busy',
    patches: [autoSplits('const BUSY_LOOKS = 3', 'const BUSY_LOOKS = 1')],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'a tablet with one hot key is split beside it',
    reason: 'the key is not alone, so the load can be divided',
    patches: [autoSplits('const LEAST_LOAD_SHARE = 0.25', 'const LEAST_LOAD_SHARE = 0')],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'a tablet that was not split is looked at closely again at once',
    reason: 'it is still too large',
    patches: [autoSplits('const leftAloneUntilMs = nowMs + LEFT_ALONE_MS', 'const leftAloneUntilMs = nowMs')],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'a split that something passing was in the way of waits as long as any other',
    reason: 'it could not be split',
    patches: [autoSplits('const TRIED_AGAIN_MS = 10_000', 'const TRIED_AGAIN_MS = LEFT_ALONE_MS')],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'a tablet that was not too large yet is left alone while it grows',
    reason: 'it was looked at a moment ago',
    patches: [autoSplits('sizeBytes <= seen.leftAloneThroughBytes', 'true')],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'why a tablet is not split is said again and again',
    reason: 'it is so still',
    patches: [autoSplits('problem !== seen.problem', 'true')],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'a cluster without a map is not split by itself',
    reason: 'who needs tablets begins with some',
    patches: [
      inFile('server/node.js')('if (!this.#isSplitting) this', 'if (!this.#isSplitting && map) this'),
    ],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'a cluster without a map is split by its load',
    reason: 'there is a limit',
    patches: [inFile('server/placement-config.js')('keepsMap ?', 'true ?')],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'all tablets that are too large are split at the same time',
    reason: 'each has a leader of its own',
    patches: [
      autoSplits(
        'await this.#split(tablet, wanted, seen); return;',
        'await this.#split(tablet, wanted, seen);',
      ),
    ],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'the first requests since the last look are the sample',
    reason: 'a sample has so many keys, and then it is full',
    patches: [load('this.#random.uint32() % this.#sampled', 'MAX_SAMPLES')],
    killedBy: ['kv/split-point'],
  },
  {
    name: 'a split that is recorded and forgotten stays so',
    reason: 'whoever recorded it ends it',
    patches: [driver("{ type: 'resumeSplit', tablet }", "{ type: 'resumeSplit', tablet: 0 }")],
    killedBy: ['server/auto-splits'],
  },
  {
    name: 'the intent of a split that is refused stays',
    reason: 'the refusal says so to whoever asked',
    patches: [
      splits(
        "if (result.type === 'splitRefused') { await this.#drop(meta, id);",
        "if (result.type === 'splitRefused') {",
      ),
    ],
    killedBy: ['server/auto-splits'],
  },
];
