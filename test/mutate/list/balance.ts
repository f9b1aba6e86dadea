/** Mutations of src/balance. */
import { inFile, type Mutation, under } from '../mutation.js';

const view = inFile('balance/cluster-view.js');
const shares = inFile('balance/shares.js');
const underWay = inFile('balance/under-way.js');
const replace = inFile('balance/replace.js');
const voters = inFile('balance/voters.js');
const killedBy = ['balance/plan'];
const killedByVoters = ['balance/voters'];

export const BALANCE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a move counts when it is done',
    reason: 'until then the replica is where it was',
    patches: [view('this.#exchange(tablet, from, isNew ? to : undefined);', '')],
    killedBy,
  },
  {
    name: 'whoever has not reported is dead, also for who has just begun to listen',
    reason: 'it is silent',
    patches: [
      view(
        'nowMs - Math.max(reports.sinceMs, heardMs.get(node.id) ?? Number.NEGATIVE_INFINITY)',
        'nowMs - (heardMs.get(node.id) ?? Number.NEGATIVE_INFINITY)',
      ),
    ],
    killedBy,
  },
  {
    name: 'the load of a new leader counts at once',
    reason: 'it is reported',
    patches: [view('leads.forMs >= this.settings.loadWindowMs', 'true')],
    killedBy,
  },
  {
    name: 'what helps a little is moved, also if it makes the other one the fuller',
    reason: 'the fuller one gives',
    patches: [shares('> amount * (1 + 1e-9)', '> 0')],
    killedBy,
  },
  {
    name: 'nodes have no band',
    reason: 'each has its share',
    patches: [shares('Math.max(this.#leastSlack, this.#band * this.#share(view))', '0')],
    killedBy,
  },
  {
    name: 'a replica that the map does not name is removed, however new the members that it knows',
    reason: 'the map is true',
    patches: [underWay('!tablet || report.confIndex > tablet.descriptor.confIndex', '!tablet')],
    killedBy,
  },
  {
    name: 'a leader leaves without handing over',
    reason: 'another is elected',
    patches: [underWay('if (!ledBy || ledBy.node.id !== leaving) return true;', 'return true;')],
    killedBy,
  },
  {
    name: 'a tablet without a quorum is repaired',
    reason: 'it lacks most',
    patches: [replace('return 2 * liveOf(tablet) > tablet.descriptor.replicas.length;', 'return true;')],
    killedBy,
  },
  {
    name: 'a surplus replica goes although another one has died',
    reason: 'it was ordered',
    patches: [
      underWay('if (others.some(({ node }) => view.node(node)?.isDead !== false)) {', 'if (false) {'),
      underWay('if (heard(view, others) < view.settings.replicas) return;', ''),
      underWay('const heardVoters = heard(view, after);', 'const heardVoters = 0;'),
    ],
    killedBy,
  },
  {
    name: 'only what leaders are asked counts as load',
    reason: 'the others do nothing but follow',
    patches: [view('if (!leads) node.operationsPerSecond += operationsPerSecond;', '')],
    killedBy,
  },
  {
    name: 'only writes count as load',
    reason: 'reads cost little',
    patches: [
      inFile('server/balance-report.js')(
        'load: { operations } }',
        'load: {}, group: { replica: { appliedIndex: operations } } }',
      ),
    ],
    killedBy: ['server/balance-report'],
  },
  {
    name: 'what a tablet is asked counts from the last look for splits',
    reason: 'it was taken',
    patches: [inFile('kv/tablet-load.js')('this.#taken = this.#operations;', 'this.#operations = 0;')],
    killedBy: ['server/balance-report'],
  },
  {
    name: 'the vote of a dead node on the map stays with it',
    reason: 'the others are a majority',
    patches: [voters("!drainsOnly && dead && change(dead, 'repair')", 'false')],
    killedBy: under('lostVoters', 1),
  },
  {
    name: 'the voters of the map are changed without a majority of them',
    reason: 'the dead ones are to be replaced',
    patches: [voters('2 * live.length <= voters.length', 'false')],
    killedBy: killedByVoters,
  },
  {
    name: 'a node that drains is given a vote',
    reason: 'it is heard',
    patches: [voters('filter(({ isTarget }) => isTarget)', 'filter(({ isHeard }) => isHeard)')],
    killedBy: killedByVoters,
  },
  {
    name: 'a vote goes to the first node, wherever it stands',
    reason: 'all nodes have the map',
    patches: [
      voters('if (areFewer(ofOne, ofOther)) return -1;', ''),
      voters('return areFewer(ofOther, ofOne) ? 1 :', 'return '),
    ],
    killedBy: killedByVoters,
  },
  {
    name: 'a vote is taken from a node that drains although there are too few',
    reason: 'it is to be stopped',
    patches: [voters('(!leaving || present.length <= replicas)', '!leaving')],
    killedBy: killedByVoters,
  },
];
