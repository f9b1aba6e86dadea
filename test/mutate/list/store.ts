/** Mutations of src/store: what the groups of a node share, and what they must not. */
import { inFile, type Mutation } from '../mutation.js';

const store = inFile('store/store.js');
const ticks = inFile('store/tick-scheduler.js');
const dueTimes = inFile('store/due-times.js');
const lists = inFile('protocol/message-lists.js');
const turns = inFile('replica/snapshot-turns.js');
const sender = inFile('replica/snapshot-sender.js');
const receiver = inFile('replica/snapshot-receiver.js');
const budget = inFile('store/log-budget.js');
const quiet = inFile('store/quiet-groups.js');
const quietLeader = inFile('raft/quiet.js');
const core = inFile('raft/raft.js');
const election = inFile('raft/election.js');
const leadership = inFile('raft/leadership.js');

export const STORE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a group that fails ends the store',
    reason: 'a node has one group',
    patches: [store("if (isLast || errorCode(error.cause) === 'LOG_FAILED')", 'if (error)')],
    killedBy: ['store/store'],
  },
  {
    name: 'a Raft log that failed ends the group that met it',
    reason: 'the others will see for themselves',
    patches: [store("if (isLast || errorCode(error.cause) === 'LOG_FAILED')", 'if (isLast)')],
    killedBy: ['store/store'],
  },
  {
    name: 'a node without any group goes on',
    reason: 'each group has failed by itself',
    patches: [
      store(
        "if (isLast || errorCode(error.cause) === 'LOG_FAILED')",
        "if (errorCode(error.cause) === 'LOG_FAILED')",
      ),
    ],
    killedBy: ['store/store'],
  },
  {
    name: 'a group is begun again over its log',
    reason: 'who begins it knows that it is new',
    patches: [store('this.#raftLog.group(id) || (this.#raftLog.isGone(id) && !comesBack)', 'false')],
    killedBy: ['store/store'],
  },
  {
    name: 'a pause of the process is not reported',
    reason: 'each replica knows when its last tick was',
    patches: [ticks('nowMs - this.#lastRunMs > heartbeatMs', 'false')],
    killedBy: ['store/tick-scheduler'],
  },
  {
    name: 'the timer of idle groups sleeps until one is due',
    reason: 'nothing happens before',
    patches: [ticks('Math.max(tickMs, heartbeatMs / 2)', 'Number.POSITIVE_INFINITY')],
    killedBy: ['store/tick-scheduler'],
  },
  {
    name: 'what falls due sooner waits for the timer that runs',
    reason: 'it runs soon',
    patches: [ticks('this.#entries.move(entry, timeMs); this.#arm(timeMs);', '')],
    killedBy: ['store/tick-scheduler'],
  },
  {
    name: 'what is due later than before keeps its place in the heap',
    reason: 'it comes up in time',
    patches: [
      dueTimes(
        'element.dueMs = dueMs; this.#rise(element); this.#sink(element);',
        'element.dueMs = dueMs; this.#rise(element);',
      ),
    ],
    killedBy: ['store/due-times'],
  },
  {
    name: 'the last of the heap takes the place of what was removed, and stays there',
    reason: 'it was the last',
    patches: [
      dueTimes(
        'this.#put(last, place.at); this.#rise(last); this.#sink(last);',
        'this.#put(last, place.at);',
      ),
    ],
    killedBy: ['store/due-times'],
  },
  {
    name: 'a replica that was removed in a run is called in it',
    reason: 'it was due',
    patches: [ticks('if (entry.place === undefined) continue;', '')],
    killedBy: ['store/tick-scheduler'],
  },
  {
    name: 'a list may hold any message',
    reason: 'each is checked when it is read',
    patches: [
      lists(
        '!NUMBERS[type].has(number) || body.length > MAX_LISTED_BODY_BYTES',
        'body.length > MAX_LISTED_BODY_BYTES',
      ),
    ],
    killedBy: ['protocol/message-lists'],
  },
  {
    name: 'what stands behind a refused message of a list still counts',
    reason: 'it is a message of its own',
    patches: [lists('if (!context.channel.isOpen) return;', '')],
    killedBy: ['protocol/message-lists'],
  },
  {
    name: 'long messages overtake what was collected',
    reason: 'they need not wait',
    patches: [lists('if (!list) { this.#send(context);', 'if (!list) {')],
    killedBy: ['protocol/message-lists'],
  },
  {
    name: 'whoever asks for a turn while one is free passes those that wait',
    reason: 'it is free',
    patches: [
      turns(
        'this.#given < this.#maxSnapshots && this.#asked.size === this.#given + 1',
        'this.#given < this.#maxSnapshots',
      ),
    ],
    killedBy: ['replica/snapshot-turns'],
  },
  {
    name: 'a silent sender keeps its turn',
    reason: 'it may come back',
    patches: [receiver('this.#turn && env.clock.nowMs() - this.#heardMs > stallTimeoutMs', 'false')],
    killedBy: ['replica/snapshot-turns'],
  },
  {
    name: 'a sender that only offers keeps its turn',
    reason: 'it is alive',
    patches: [receiver('if (!this.#turn?.isGiven) this.#heardMs =', 'this.#heardMs =')],
    killedBy: ['replica/snapshot-turns'],
  },
  {
    name: 'a transfer that has ended keeps its turn',
    reason: 'the next transfer of this group will want it',
    patches: [sender('transfer.turn.end();', '')],
    killedBy: ['replica/snapshot-turns'],
  },
  {
    name: 'each group may fill the log',
    reason: 'each has its limit',
    patches: [budget('if (this.#logs.size <= 1)', 'if (true)')],
    killedBy: ['store/log-budget'],
  },
  {
    name: 'all logs are added up to see that a small one is small',
    reason: 'the sum says how much is left',
    patches: [budget('log.sizeBytes <= equalOf(maxLogBytes)', 'false')],
    killedBy: ['store/log-budget'],
  },
  {
    name: 'a log is within its limit because the others leave nothing',
    reason: 'their sum is what counts',
    patches: [budget('log.sizeBytes <= equalOf(maxLogBytes)', 'true')],
    killedBy: ['store/log-budget'],
  },
  {
    name: 'an acceptance from before the last work counts',
    reason: 'the member is quiet',
    patches: [quietLeader(' || round < this.#firstRound', '')],
    killedBy: ['raft/quiet-leader'],
  },
  {
    name: 'a leader falls quiet whose own disk lags behind',
    reason: 'a quorum has it',
    patches: [quietLeader(' || stability.stableIndex !== lastIndex', '')],
    killedBy: ['raft/quiet-leader'],
  },
  {
    name: 'a group is quiet when one member is',
    reason: 'the others follow',
    patches: [quietLeader('!members.every((member)', '!members.some((member)')],
    killedBy: ['raft/quiet'],
  },
  {
    name: 'a member that lacks entries falls quiet',
    reason: 'the leader says that all have everything',
    patches: [core('if (!isDone || isBusy)', 'if (isBusy)')],
    killedBy: ['raft/quiet'],
  },
  {
    name: 'a quiet follower votes',
    reason: 'its leader has not been heard for long',
    patches: [election("this.#role === 'leader' || this.#quietness", "this.#role === 'leader'")],
    killedBy: ['raft/quiet'],
  },
  {
    name: 'a candidate does not wake a quiet follower',
    reason: 'it is loyal',
    patches: [core('if (wasQuiet && !OF_QUIET.has(message.type))', 'if (false)')],
    killedBy: ['raft/quiet'],
  },
  {
    name: 'a leader that wakes steps down if it was quiet for long',
    reason: 'nobody was heard since',
    patches: [leadership('progress.lastHeardMs = nowMs; // Many', '; // Many')],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'a woken follower waits for its leader to notice',
    reason: 'heartbeats come',
    patches: [
      core(
        "this.#local.sendForTerm(this.leader, { type: 'quietReply', term: this.term, round: 0, isQuiet: false });",
        '',
      ),
    ],
    killedBy: ['raft/quiet'],
  },
  {
    name: 'all groups of a silent node campaign at the same time',
    reason: 'their leader is gone, so there is nothing to wait for',
    patches: [
      election(
        'this.#restartTimer(leaderIsSilent ? nowMs - electionTimeoutMinMs + 2 * heartbeatMs : nowMs);',
        'this.#restartTimer(nowMs); this.#deadlineMs = nowMs + 2 * heartbeatMs;',
      ),
    ],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'the silence of a node wakes nobody',
    reason: 'its connection will break',
    patches: [quiet('this.#wake(watched, true);', '')],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'another epoch wakes nobody',
    reason: 'the node is alive',
    patches: [quiet('if (isOther)', 'if (false)')],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'a group falls quiet under an epoch that is over',
    reason: 'the leader has offered it',
    patches: [quiet('quietness.epoch !== undefined && quietness.epoch !== watched.epoch', 'false')],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'a pause of the process counts as the silence of others',
    reason: 'nothing was heard of them',
    patches: [quiet('isLate || nowMs', 'nowMs')],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'a group that is closed leaves the epoch as it is until its state machine is closed',
    reason: 'it is open until then',
    patches: [store('if (!this.#closed) this.#quiet.beginEpoch();', '')],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'a node tells its epoch only with the next tick',
    reason: 'a few times per election timeout',
    patches: [quiet('if (watched.groups.size === 0) this.#options.sendAlive(node, this.epoch);', '')],
    killedBy: ['store/quiet-groups'],
  },
  {
    name: 'the end of one replica leaves the epoch as it is',
    reason: 'the node goes on',
    patches: [store('this.#quiet.beginEpoch(); // Its files', '// Its files')],
    killedBy: ['store/quiet-groups'],
  },
];
