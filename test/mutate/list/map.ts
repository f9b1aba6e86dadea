/** Mutations of the map and of moves: what a replica, an order or an update may do. */
import { inFile, type Mutation } from '../mutation.js';

const meta = inFile('meta/meta.js');
const mapService = inFile('server/map-service.js');
const moves = inFile('meta/moves.js');
const replicaIds = inFile('server/replica-ids.js');
const replicaChange = inFile('server/replica-change.js');
const tabletSet = inFile('server/tablet-set.js');
const mapAdmin = inFile('server/map-admin.js');
const admin = inFile('server/admin.js');
const router = inFile('client/router.js');
const balancer = inFile('server/balancer.js');
const split = inFile('kv/split.js');
const view = inFile('balance/cluster-view.js');

export const MAP_MUTATIONS: readonly Mutation[] = [
  {
    name: 'one node that reaches no leader of the map speaks for all',
    reason: 'it has waited long enough',
    patches: [
      router(
        "if (error.code === 'MAP_UNAVAILABLE') unavailable = error;",
        "if (error.code === 'MAP_UNAVAILABLE') throw error;",
      ),
    ],
    killedBy: ['server/late-split'],
  },
  {
    name: 'a node that refuses to tell what it holds is dead',
    reason: 'it has told nothing',
    patches: [balancer("errorCode(error) === 'MEMBER_UNREACHABLE' ?", 'true ?')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'who plans calls nodes dead that were silent while it was away itself',
    reason: 'they have been silent for so long',
    patches: [balancer('3 * (settings.everyMs + answerWithinMs)', 'Number.MAX_VALUE')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'a plan keeps the turn until it is done',
    reason: 'it takes some milliseconds',
    patches: [balancer('env.clock.nowMs() - turnMs < PLANNED_IN_TURN_MS', 'true')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'who leads the map no longer carries out what it planned',
    reason: 'it led when it began',
    patches: [
      balancer(
        'const orders = await this.#orders(!meta.state.isBalanced); if (!meta.leads) return false;',
        'const orders = await this.#orders(!meta.state.isBalanced);',
      ),
    ],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'all tablets are looked at in one step of a plan',
    reason: 'there are few',
    patches: [view('++taken % TABLETS_IN_STEP === 0', 'false')],
    killedBy: ['balance/plan'],
  },
  {
    name: 'the balancer begins all moves at once',
    reason: 'the sooner the better',
    patches: [balancer('moves.slice(0, Math.max(0, room))', 'moves')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'a report counts for replicas of other nodes',
    reason: 'ids of replicas are given once',
    patches: [view('replicaOn(tablet.descriptor, node)?.replicaId !== report.replicaId', 'false')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'balancing cannot be switched off',
    reason: 'it plans the same',
    patches: [balancer('this.#orders(!meta.state.isBalanced)', 'this.#orders(false)')],
    killedBy: ['server/balancer'],
  },
  {
    name: 'who answered last is silent by the time of the plan',
    reason: 'now is now',
    patches: [
      balancer(
        'planInSteps(map, this.#told, settings, nowMs)',
        'planInSteps(map, this.#told, settings, env.clock.nowMs())',
      ),
    ],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'votes on the map are moved while balancing is off',
    reason: 'they are few',
    patches: [balancer('this.#changeVoters(!meta.state.isBalanced)', 'this.#changeVoters(false)')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'the leader of the map that drains gives up its vote first',
    reason: 'another one is elected',
    patches: [
      balancer('const demote = isOwn ? undefined : planned?.demote', 'const demote = planned?.demote'),
    ],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'a node that drains keeps its vote on the map',
    reason: 'it holds no tablet',
    patches: [inFile('balance/voters.js')("(drained && change(drained, 'drain'))", 'undefined')],
    killedBy: ['server/balancer'],
  },
  {
    name: 'a node whose disk is full is given replicas',
    reason: 'it answers',
    patches: [view(' && !isFull', '')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'a part of a tablet changes its members while one that stays lacks it',
    reason: 'it will get a snapshot',
    patches: [replicaChange('lacking.length > 0', 'false')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a split names other members than there are',
    reason: 'the map has given the ids',
    patches: [split('replicas.length > 0 && !(isOfVoters && nodes.size === replicas.length)', 'false')],
    killedBy: ['kv/split'],
  },
  {
    name: 'a node keeps a tablet that was split while it was away, and whose parts are elsewhere',
    reason: 'its members keep it',
    patches: [tabletSet('return this.#isPassed(id, state);', 'return false;')],
    killedBy: ['server/moves'],
  },
  {
    name: 'who asks for the map waits for a leader of it as long as it takes',
    reason: 'one is elected soon',
    patches: [mapAdmin('while (!isLate)', 'while (true)')],
    killedBy: ['server/moves'],
  },
  {
    name: 'who asks for the map while it has no leader is told so at once',
    reason: 'an operator can ask again',
    patches: [mapAdmin('if (!NO_LEADER.has(errorCode(error)))', 'if (true)')],
    killedBy: ['server/moves'],
  },
  {
    name: 'a split begins also while the map has no leader',
    reason: 'it fails at the intent',
    patches: [admin('await this.#parts.map?.read()', 'undefined')],
    killedBy: ['server/moves'],
  },
  {
    name: 'an update of the map does not look at versions',
    reason: 'two leaders seem never to be there at the same time',
    patches: [meta("condition: 'versionIs'", "condition: 'always'")],
    killedBy: ['meta/meta'],
  },
  {
    name: 'a move to a node that drains is recorded',
    reason: 'a drain seems to be about what is there already',
    patches: [moves('if (node?.isDraining)', 'if (false)')],
    killedBy: ['server/moves'],
  },
  {
    name: 'an acknowledgement of a replica that is gone counts for a later one',
    reason: 'it is the same tablet on the same node',
    patches: [replicaIds('number < own || number < known', 'number < own')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'an acknowledgement of a first replica that is gone counts for a later one',
    reason: 'it names the tablet',
    patches: [replicaIds('own === number && this.of(number, from) === 0', 'own === number')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a first replica is known by no id',
    reason: 'the log of its tablet has none',
    patches: [replicaChange('(isMember(members, node) ? firstIdOf(node) : 0)', '0')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a first replica that has moved stays where it was',
    reason: 'no order made it',
    patches: [
      tabletSet('this.#parts.local().of(id) ?? this.#firstReplica(id)', 'this.#parts.local().of(id)'),
    ],
    killedBy: ['server/map-birth'],
  },
  {
    name: 'a first replica goes without a record',
    reason: 'it has no id',
    patches: [
      tabletSet('this.#forget(id, this.#firstReplica(id) ? this.firstNumberOf(id) : 0)', 'this.#forget(id)'),
    ],
    killedBy: ['server/map-birth'],
  },
  {
    name: 'the map begins for a move that makes no sense',
    reason: 'the map will refuse it',
    patches: [inFile('server/admin.js')('if (members.includes(to))', 'if (false)')],
    killedBy: ['server/map-birth'],
  },
  {
    name: 'a message for an earlier replica is taken by the present one',
    reason: 'it is the same tablet on the same node',
    patches: [replicaIds('number < own || number < known', 'number < known')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a learner is promoted before it has caught up',
    reason: 'it will catch up as a voter',
    patches: [replicaChange('replica.matchIndexOf(add.node) >= lastIndex', 'true')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a move is over before a quorum knows it',
    reason: 'the change took effect at the leader',
    patches: [replicaChange('replica.settledConfiguration < configuration.index', 'false')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a replica that is no member any more stays',
    reason: 'nobody asks it',
    patches: [tabletSet('if (!this.#isOutdated(id, meta)) continue;', 'continue;')],
    killedBy: ['server/moves'],
  },
  {
    name: 'a removal that a crash interrupted is not ended',
    reason: 'it is recorded, so the replica is gone',
    patches: [tabletSet('local.removed.some(({ tablet }) => tablet === id)', 'false')],
    killedBy: ['server/tablet-cuts'],
  },
  {
    name: 'files of a group stay if a crash came before they were removed',
    reason: 'the Raft log does not name it any more',
    patches: [tabletSet('store.removeUnnamed();', '')],
    killedBy: ['server/tablet-cuts'],
  },
  {
    name: 'a late order makes a replica for which the map has none',
    reason: 'the leader of the map has given it',
    patches: [mapService('if (!isWanted)', 'if (false)')],
    killedBy: ['server/map-service'],
  },
  {
    name: 'a replica that was here is made again by a late order',
    reason: 'it is not here',
    patches: [
      tabletSet(
        'this.replicaIdOf(tablet) !== 0 || local.wasRemoved(replicaId)',
        'this.replicaIdOf(tablet) !== 0',
      ),
    ],
    killedBy: ['server/tablet-set'],
  },
  {
    name: 'a replica that a late split made stays, though it is no member any more',
    reason: 'no order of the map made it',
    patches: [
      tabletSet(
        'const descriptor = state.tablets.get(id); if (!own',
        'const descriptor = state.tablets.get(id); if (own?.sinceVersion === 0 && this.#open.get(id)?.stateMachine.begunBy) return false; if (!own',
      ),
    ],
    killedBy: ['server/late-split'],
  },
  {
    name: 'a node that holds tablets is removed',
    reason: 'its tablets have other replicas',
    patches: [mapAdmin('tablets.length === 0 && ', '')],
    killedBy: ['server/moves'],
  },
];
