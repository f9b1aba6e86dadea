/** Mutations of merges of tablets. */
import { inFile, type Mutation, under } from '../mutation.js';

const machine = inFile('kv/kv-state-machine.js');
const effect = inFile('kv/tablet-effect.js');
const merge = inFile('kv/merge.js');
const merged = inFile('kv/merged-state.js');
const sessions = inFile('kv/sessions.js');
const service = inFile('kv/service.js');
const history = inFile('kv/watch/change-history.js');
const driver = inFile('server/merge-driver.js');
const records = inFile('meta/merges.js');
const store = inFile('store/store.js');
const log = inFile('raft-log/raft-log.js');
const replica = inFile('replica/replica.js');
const raft = inFile('raft/raft.js');
const plan = inFile('balance/merge-plan.js');
const auto = inFile('server/auto-merges.js');
const balancer = inFile('server/balancer.js');
const tablets = inFile('server/tablet-set.js');
const mapService = inFile('server/map-service.js');

export const MERGE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'two tablets are merged although not every replica is frozen',
    reason: 'a majority has applied it',
    patches: [
      driver(
        'return said.every(isSame) ? first?.data : undefined;',
        'return said.find(({ success }) => success)?.data;',
      ),
    ],
    killedBy: ['server/merge-driver'],
  },
  {
    name: 'an error on the way gives a merge up after it was decided',
    reason: 'it took too long',
    patches: [records("if (intent.stage !== 'freezing')", "if (intent.stage === 'ending')")],
    killedBy: ['server/merge-driver'],
  },
  {
    name: 'a merge that is not decided is never given up',
    reason: 'the nodes come back',
    patches: [driver('if (isLate || isLost)', 'if (isLost)')],
    killedBy: ['server/merge-driver'],
  },
  {
    name: 'the intents of a merge go when one tablet is thawed',
    reason: 'the other one follows',
    patches: [
      driver("ends.every((end) => end?.state === 'done')", "ends.some((end) => end?.state === 'done')"),
    ],
    killedBy: ['server/merge-driver'],
  },
  {
    name: 'a frozen tablet answers reads',
    reason: 'its leader has a lease',
    patches: [
      service(
        "if (freeze && !range?.isNothing) return kvError('TABLET_FROZEN', FROZEN); return read(tablet);",
        'return read(tablet);',
      ),
    ],
    killedBy: ['kv/merge'],
  },
  {
    name: 'a session is asked for again and again where a merge has ended a tablet',
    reason: 'it is frozen',
    patches: [
      service("if (stateMachine.range?.isNothing) throw new RaftreeError('WRONG_TABLET', NOT_OWNED);", ''),
    ],
    killedBy: ['server/merge-laggard'],
  },
  {
    name: 'a frozen tablet takes writes',
    reason: 'it still has the keys',
    patches: [
      machine(
        "if (this.freeze) return command.type === 'expiry' ? { type: 'expired', keys: 0 } : TABLET_FROZEN;",
        '',
      ),
    ],
    killedBy: ['kv/merge'],
  },
  {
    name: 'the time of a frozen tablet goes on',
    reason: 'an expiry without keys changes nothing',
    patches: [
      machine(
        "if (this.freeze) return command.type === 'expiry' ? { type: 'expired', keys: 0 } : TABLET_FROZEN;",
        "if (this.freeze && command.type !== 'expiry') return TABLET_FROZEN;",
      ),
    ],
    killedBy: ['kv/merge'],
  },
  {
    name: 'a late freeze holds a tablet again',
    reason: 'nothing else holds it',
    patches: [merge("if (attempt <= overThrough) return 'this attempt is over';", '')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'a merge goes by the freeze of another attempt',
    reason: 'the tablet is frozen',
    patches: [merge('if (freeze?.attempt !== attempt)', 'if (!freeze)')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'a late thaw frees a tablet that a later attempt holds',
    reason: 'a thaw is a thaw',
    patches: [effect('freeze !== undefined && freeze.attempt > attempt', 'false')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'what is merged begins behind the left one',
    reason: 'its log has the entry',
    patches: [merge('index: Math.max(entry.index, freeze.index),', 'index: entry.index,')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'the sessions of the right one are lost in a merge',
    reason: 'clients open new ones',
    patches: [
      merged(
        'sessions.unite(sources.map((source) => [source.sessions, source.bornAt]));',
        'sessions.unite([[sources[0].sessions, sources[0].bornAt]]);',
      ),
    ],
    killedBy: ['kv/merge'],
  },
  {
    name: 'of a write in each, the one with the lower sequence is remembered',
    reason: 'the first one counts',
    patches: [sessions('present.sequence < sequence', 'present.sequence > sequence')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'a session goes on although one tablet has dropped what it knew',
    reason: 'the other one knows it',
    patches: [sessions('if (!isDrawnId(session.id) || mayBeGone)', 'if (!isDrawnId(session.id))')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'a merge forgets that sessions were dropped',
    reason: 'they are gone',
    patches: [sessions('this.#hasDropped ||= table.#hasDropped;', '')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'deadlines are taken over as they are',
    reason: 'both count milliseconds',
    patches: [merged('const movedMs = deadlineMs + aheadMs;', 'const movedMs = deadlineMs;')],
    killedBy: ['kv/merge'],
  },
  {
    name: 'watchers of what was merged are told from where one tablet keeps its changes',
    reason: 'the other one keeps less',
    patches: [
      history(
        'Math.max(...before.map(({ oldestVersion }) => oldestVersion))',
        'Math.min(...before.map(({ oldestVersion }) => oldestVersion))',
      ),
    ],
    killedBy: ['kv/merge'],
  },
  {
    name: 'the right one takes part on, and what is merged, too',
    reason: 'only the left one has ended',
    patches: [log('[id, ...absorbed].map(encodeRetired)', '[id].map(encodeRetired)')],
    killedBy: ['store/merge'],
  },
  {
    name: 'what is merged is made before the right one is frozen here',
    reason: 'every replica has said that it is',
    patches: [store('group.stateMachine.appliedIndex >= index', 'true')],
    killedBy: ['store/merge'],
  },
  {
    name: 'the members of a frozen tablet change',
    reason: 'the map allows no move',
    patches: [replica('if (succession || isHeld)', 'if (succession)')],
    killedBy: ['store/merge'],
  },
  {
    name: 'that a tablet has ended by a merge is durable in the Raft log only',
    reason: 'the entry is applied again',
    patches: [
      machine(
        'await this.#engine.flush(); } else if (this.#engine.checkpointWithin)',
        '} else if (this.#engine.checkpointWithin)',
      ),
    ],
    killedBy: ['store/merge'],
  },
  {
    name: 'a pre-candidate whom nobody heard waits for its election timeout',
    reason: 'it has asked',
    patches: [raft("this.role === 'follower' || this.role === 'preCandidate'", "this.role === 'follower'")],
    killedBy: ['raft/raft'],
  },
  {
    name: 'fewer tablets are left than the cluster began with',
    reason: 'they are small',
    patches: [plan('|| tablets.length <= leastTablets', '')],
    killedBy: ['balance/merge-plan'],
  },
  {
    name: 'tablets are merged that were small for a moment',
    reason: 'they are small',
    patches: [auto('const LOOKS = 3', 'const LOOKS = 1')],
    killedBy: ['balance/merge-plan'],
  },
  {
    name: 'busy neighbours are merged',
    reason: 'they are small',
    patches: [plan('&& load < mostLoad', '')],
    killedBy: ['balance/merge-plan'],
  },
  {
    name: 'tablets are merged of which a node is away',
    reason: 'it comes back',
    patches: [plan('|| !isFit', '')],
    killedBy: ['balance/merge-plan'],
  },
  {
    name: 'tablets are merged by what a silent node told before',
    reason: 'it has not changed',
    patches: [balancer('.filter(({ node }) => this.#isHeard(node))', '')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'tablets are merged that another node would split again',
    reason: 'here they are small',
    patches: [plan('isLittleFor(fit.get(node), bytes, load)', 'isLittleFor(undefined, bytes, load)')],
    killedBy: ['balance/merge-plan'],
  },
  {
    name: 'votes on the map stay where they are while no merge can be begun',
    reason: 'first things first',
    patches: [balancer('await this.#leaveMeta();', 'await this.#parts.looked([]); await this.#leaveMeta();')],
    killedBy: ['server/balancer-rounds'],
  },
  {
    name: 'one of two tablets goes that a node has to merge yet',
    reason: 'the map has what came of it elsewhere',
    patches: [
      tablets(
        'return [tablet, ...neighbours].every((each) => this.#isElsewhere(each, state));',
        'return this.#isElsewhere(tablet, state);',
      ),
    ],
    killedBy: ['server/merge-laggard'],
  },
  {
    name: 'the right one of two tablets stays when the left one was given up',
    reason: 'it was merged',
    patches: [tablets('!tablet || this.#isFollowed(id)', '!tablet || this.#hasFollowers(id)')],
    killedBy: ['server/merge-laggard'],
  },
  {
    name: 'what a tablet could not be made of stays on the disk until the next start',
    reason: 'a start removes it',
    patches: [
      store(
        'for (const { id: group } of groups) this.#removeFiles(String(group)); throw error;',
        'throw error;',
      ),
    ],
    killedBy: ['server/merge-laggard'],
  },
  {
    name: 'a leader that is cut off answers for a tablet that was merged without it',
    reason: 'it has a lease',
    patches: [
      service(
        "if (freeze && !range?.isNothing) return kvError('TABLET_FROZEN', FROZEN); return read(tablet);",
        'return read(tablet);',
      ),
    ],
    killedBy: under('isolatedMergeLeader', 5),
  },
  {
    name: 'a restart forgets that a tablet is frozen',
    reason: 'its log says so',
    patches: [
      machine(
        'this.#freezing = decodeFreeze(this.#owner?.id ?? 0, this.#engine.get(FREEZE_KEY));',
        'decodeFreeze(this.#owner?.id ?? 0, this.#engine.get(FREEZE_KEY));',
      ),
    ],
    killedBy: under('frozenRestart', 5),
  },
  {
    name: 'clients wait for a replica that cannot be frozen',
    reason: 'its disk will have room again',
    patches: [driver('if (isLate || isLost)', 'if (isLost)')],
    killedBy: under('fullMerge', 2),
  },
  {
    name: 'whoever drives a merge waits for nodes that are down',
    reason: 'they may come back',
    patches: [mapService('ask: askPresent', 'ask')],
    killedBy: under('frozenLaggard', 5),
  },
  {
    name: 'a merge takes a tablet that another one has',
    reason: 'both want it merged',
    patches: [
      records('if (intent) throw', 'if (false) throw'),
      records('expectedVersion: 0, value', 'expectedVersion: state.versionOf(intentKey(id)), value'),
    ],
    killedBy: under('overlappingMerges', 3),
  },
  {
    name: 'a freeze counts although its attempt was given up',
    reason: 'the order was right when it was given',
    patches: [merge("if (attempt <= overThrough) return 'this attempt is over';", '')],
    killedBy: under('lateFreeze', 2),
  },
];
