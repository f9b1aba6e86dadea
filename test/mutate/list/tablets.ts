/** Mutations of tablets: who owns a key, and what is told about others. */
import { inFile, inProfile, type Mutation, randomFaults } from '../mutation.js';

const machine = inFile('kv/kv-state-machine.js');
const service = inFile('kv/service.js');
const partitionKey = inFile('placement/partition-key.js');
const tabletScan = inFile('client/tablet-scan.js');
const birth = inFile('server/birth.js');
const tabletMap = inFile('placement/tablet-map.js');
const applier = inFile('replica/applier.js');
const store = inFile('store/store.js');
const clientTablets = inFile('client/tablet-cache.js');
const tabletSession = inFile('client/tablet-session.js');
const clientWatch = inFile('client/watch.js');
const tabletSet = inFile('server/tablet-set.js');
const client = inFile('client/client.js');
const mapBirth = inFile('kv/map-birth.js');
const mapPromises = inFile('server/map-birth.js');
const raftLog = inFile('raft-log/raft-log.js');
const call = inFile('client/call.js');
const moves = inFile('meta/moves.js');
const leadership = inFile('raft/leadership.js');
const split = inFile('kv/split.js');
const installer = inFile('replica/snapshot-installer.js');

const WHILE_TABLETS_SPLIT = inProfile('splits', 20, 'orderlyRestart');

export const TABLET_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a map begins with members that have not promised to know it',
    reason: 'its leader has asked all of them',
    patches: [mapBirth('configuration.index !== configurationIndex', 'false')],
    killedBy: ['store/map-birth'],
  },
  {
    name: 'a part of the first tablet has a map beside it, too',
    reason: 'it has the record in its state',
    patches: [machine('this.#owner?.id === FIRST_TABLET ?', 'true ?')],
    killedBy: ['store/map-birth'],
  },
  {
    name: 'a node promises to take part in a map without writing that down',
    reason: 'it will apply the entry soon',
    patches: [mapPromises('promise();\n        return true;', 'return true;')],
    killedBy: ['server/map-birth'],
  },
  {
    name: 'watchers of a tablet that has ended are told of entries behind its end',
    reason: 'they are applied',
    patches: [machine('end?.index ?? appliedIndex', 'appliedIndex')],
    killedBy: ['kv/split'],
  },
  {
    name: 'a tablet that has ended opens sessions',
    reason: 'they change no key',
    patches: [machine('if (this.#hasEnded) return command', 'if (false) return command')],
    killedBy: ['kv/split'],
  },
  {
    name: 'sessions are dropped at a split',
    reason: 'they belong to the parent',
    patches: [
      machine(
        'this.#sessions.restore(this.#engine.entries(SESSION_RANGE),',
        'this.#sessions.restore(isNew ? [] : this.#engine.entries(SESSION_RANGE),',
      ),
    ],
    killedBy: ['kv/split', 'store/split'],
  },
  {
    name: 'a child begins with what its parent has applied since the split',
    reason: 'its state says so',
    patches: [machine('isNew ? begun.index :', 'false ? begun.index :')],
    killedBy: ['kv/split'],
  },
  {
    name: 'a split counts as applied before its children exist',
    reason: 'the state machine has it',
    patches: [applier('await this.#parts.succeed();', '')],
    killedBy: ['store/split'],
  },
  {
    name: 'a split that a crash interrupted is not done again',
    reason: 'its entry is applied',
    patches: [store('if (isAlone && (stateMachine.succession ?? stateMachine.companion)) {', 'if (false) {')],
    killedBy: ['store/split'],
  },
  {
    name: 'a child is made by a message',
    reason: 'its leader knows that this node is a member',
    patches: [
      store(
        'this.#strayMessages++;',
        "this.#raftLog.createGroup(group, { ...this.#raftLog.group(1).base, directory: 'state-0-0' }), this.#strayMessages++;",
      ),
    ],
    killedBy: ['store/split'],
  },
  {
    name: 'a tablet takes writes of keys that it does not own',
    reason: 'the check at the door seems to be enough',
    patches: [machine('if (this.#range && !ownsAll(this.#range, operations))', 'if (false)')],
    killedBy: ['kv/tablet-range'],
  },
  {
    name: 'writes with a stale tablet are carried out',
    reason: 'the client has asked for the map, so it seems to know',
    patches: [
      machine('if (this.#range && !ownsAll(this.#range, operations))', 'if (false)'),
      service('if (!range || ownsAll(range, operations))', 'if (range !== null)'),
    ],
    killedBy: randomFaults(10, 'orderlyRestart'),
  },
  {
    name: 'one session serves all tablets',
    reason: 'a client has one session, as before there were tablets',
    patches: [
      tabletSession(
        'const { tablet } = this;',
        'const tablet = this.tablet && (this.#user.sessionTablet ??= this.tablet);',
      ),
    ],
    killedBy: randomFaults(10, 'orderlyRestart'),
  },
  {
    name: 'a scan asks one tablet for the whole range, and takes what that has for all there is',
    reason: 'the map said who owns the first key',
    patches: [
      tabletScan('const part = tablet ? within(range, tablet) : range;', 'const part = range;'),
      service('stateMachine.range?.covers(from, to) === false) return', 'false) return'),
    ],
    killedBy: randomFaults(20, 'orderlyRestart'),
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
  {
    name: 'a scan in reverse over tablets by hash gives the first keys first',
    reason: 'the pages are in reverse, so the streams seem to be',
    patches: [tabletScan('scan.reverse ? -1 : 1', '1')],
    killedBy: ['server/tablets'],
  },
  {
    name: 'a scan over tablets by range goes on behind the bound of a tablet',
    reason: 'off by one: the key at the bound is in the next tablet',
    patches: [
      tabletScan(
        '{ from: next, to: range.to }',
        '{ from: Buffer.concat([next, Buffer.of(0)]), to: range.to }',
      ),
    ],
    killedBy: ['server/tablets'],
  },
  {
    name: 'a tablet begins with what node.json says, not with what was agreed on',
    reason: 'both seem to be the same',
    patches: [birth('isSamePlacement(said.placement, wanted)', 'true')],
    killedBy: ['server/birth'],
  },
  {
    name: 'the map gives the only tablet another number',
    reason: 'it is the number of that tablet',
    patches: [clientTablets('return this.hasOthers ?', 'return this.#map ?')],
    killedBy: ['client/order'],
  },
  {
    name: 'a version from behind a split is a place to go on from in all of its parts',
    reason: 'versions rise along the tablets',
    patches: [clientWatch('from > this.#tablets.splitVersionOf(part.tablet) + 1', 'false')],
    killedBy: ['server/watch-tablets'],
  },
  {
    name: 'reads that need no leader go to the endpoints only',
    reason: 'any node answers them',
    patches: [client("anywhere ? 'holder' :", "anywhere ? 'any' :")],
    killedBy: ['client/holders'],
  },
  {
    name: 'a tablet that was split goes although its parts were not made here',
    reason: 'all members have them',
    patches: [tabletSet('|| !this.#parts.store().isRetired(tablet.id)', '')],
    killedBy: ['server/late-split'],
  },
  {
    name: 'the error of a call does not say which tablet did not answer',
    reason: 'no node answered',
    patches: [call("this.tablet === 0 ? 'no answer'", "true ? 'no answer'")],
    killedBy: ['server/tablet-mistakes'],
  },
  {
    name: 'a tablet that is being split is moved',
    reason: 'the move waits for the end of the split',
    patches: [
      moves(
        'const intent = state.intents.get(tablet); if (intent)',
        'const intent = state.intents.get(tablet); if (false)',
      ),
    ],
    killedBy: ['server/tablet-mistakes'],
  },
  {
    name: 'the parts of a tablet begin, and the whole goes on',
    reason: 'it has no key any more, so it does no harm',
    patches: [raftLog('if (group) group.isRetired = true;', '')],
    killedBy: WHILE_TABLETS_SPLIT,
  },
  {
    name: 'the first part of a tablet has the keys of the second one, too',
    reason: 'the tablet had them',
    patches: [
      split(
        '{ id: left, start: parent.start, end: point, generation }',
        '{ id: left, start: parent.start, end: parent.end, generation }',
      ),
    ],
    killedBy: WHILE_TABLETS_SPLIT,
  },
  {
    name: 'the log of a part of a tablet begins with its first entry',
    reason: 'it is a new log',
    patches: [
      store(
        'base: { index, term, configuration, directory }',
        'base: { index: 0, term: 0, configuration, directory }',
      ),
      machine('isNew ? begun.index :', 'isNew ? 0 :'),
    ],
    killedBy: WHILE_TABLETS_SPLIT,
  },
  {
    name: 'two records make the parts of a tablet, and end it',
    reason: 'each is durable when it is written',
    patches: [
      raftLog(
        'const { payload } = encodeGroups([ ...[id, ...absorbed].map(encodeRetired), ...groups.flatMap(({ payloads }) => payloads), ]); await this.#records.append(payload, true);',
        'await this.#records.append(encodeGroups(groups.flatMap(({ payloads }) => payloads)).payload, true); await this.#records.append(encodeGroups([encodeRetired(id)]).payload, true);',
      ),
    ],
    killedBy: ['store/split'],
  },
  {
    name: 'a tablet that was split is split again',
    reason: 'the second entry is a split, too',
    patches: [
      inFile('kv/tablet-effect.js')('if (hasEnded && (split ?? named ?? step) !== undefined)', 'if (false)'),
    ],
    killedBy: ['kv/split'],
  },
  {
    name: 'a tablet is split while one of its members is a learner',
    reason: 'it will be a voter soon',
    patches: [
      leadership(
        'isJoint(configuration) || membersOf(configuration).length > configuration.voters.length',
        'isJoint(configuration)',
      ),
      split(
        "if (membersOf(configuration).length > configuration.voters.length) return 'one of its members is a learner';",
        '',
      ),
    ],
    killedBy: ['store/split'],
  },
  {
    name: 'a snapshot of a tablet that was split makes no parts',
    reason: 'parts are made when the entry is applied',
    patches: [
      installer('if (stateMachine.succession ?? stateMachine.companion)', 'if (stateMachine.companion)'),
    ],
    killedBy: ['store/split'],
  },
  {
    name: 'files that no log names stay after a crash',
    reason: 'nobody opens them',
    patches: [store('/^[0-9]+$/.test(name) && !this.#raftLog.group(Number(name))', 'false')],
    killedBy: ['store/split'],
  },
  {
    name: 'a scan whose map has changed begins again at its beginning',
    reason: 'it was refused',
    patches: [tabletScan('range = rangeAfter(range, last.key, scan.reverse);', '')],
    killedBy: ['server/split'],
  },
  {
    name: 'a laggard answers for a part with the whole that it still has',
    reason: 'the part is in it',
    patches: [
      tabletSet(
        'if (id !== 0) return this.#open.get(id);',
        'if (id !== 0) return this.#open.get(id) ?? (this.#firstMap?.byId(id) ? undefined : this.#open.get(1));',
      ),
    ],
    killedBy: ['server/late-split'],
  },
  {
    name: 'a read that waited when its tablet was split is judged by the range from before',
    reason: 'it was right when it came',
    patches: [
      service('stateMachine.range?.owns(key) === false', 'false'),
      service(
        'const refusal = this.#refusedRead(read); if (refusal)',
        "const refusal = this.#refusedRead(read) ?? (read.type === 'get' && this.#tabletOf(read).stateMachine.range?.owns(read.key) === false ? kvError('WRONG_TABLET', NOT_OWNED) : undefined); if (refusal)",
      ),
    ],
    killedBy: ['kv/split'],
  },
];
