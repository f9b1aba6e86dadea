/** Mutations of src/raft. */
import { inFile, type Mutation, randomFaults, under } from '../mutation.js';

const configuration = inFile('raft/configuration.js');
const election = inFile('raft/election.js');
const followerReads = inFile('raft/follower-reads.js');
const leadership = inFile('raft/leadership.js');
const localState = inFile('raft/local-state.js');
const logView = inFile('raft/log-view.js');
const outbox = inFile('raft/outbox.js');
const progress = inFile('raft/progress.js');
const quorum = inFile('raft/quorum.js');
const raft = inFile('raft/raft.js');
const readIndex = inFile('raft/read-index.js');
const replication = inFile('raft/replication.js');
const stability = inFile('raft/stability.js');
const transfer = inFile('raft/leader-transfer.js');

const ELECTIONS = ['killLeader', 'isolateLeader', 'slowLinks', 'powerCutOfSome'] as const;

/** As it was once; and who answered did not say what is committed. */
const VOUCHES_FOR_COMMIT = [
  election(
    'const upToDate = log.isUpToDate(message.lastIndex, message.lastTerm);',
    `const { commit, configuration, id } = this.#local;
     const through = isVoter(configuration, id) ? log.lastIndex : commit;
     const own = log.termAt(through) ?? 0;
     const upToDate = message.lastTerm > own || (message.lastTerm === own && message.lastIndex >= through);`,
  ),
  raft('!this.#leadership && log.termAt(message.commitIndex) === message.commitTerm', 'false'),
];

export const RAFT_MUTATIONS: readonly Mutation[] = [
  // Votes and terms
  {
    name: 'two votes in one term',
    reason: 'a vote looks like a question of the log alone',
    patches: [election('(vote === from || (vote === NOBODY && this.#leader === NOBODY))', 'true')],
    killedBy: randomFaults(40, ...ELECTIONS),
  },
  {
    name: 'term and vote are forgotten on restart',
    reason: 'the log holds a term already',
    patches: [
      localState('this.#vote = state.hardState.vote;', 'this.#vote = 0;'),
      localState('this.#term = state.hardState.term;', 'this.#term = this.log.lastTerm;'),
    ],
    killedBy: under('secondVote', 5),
  },
  {
    name: 'messages of a term leave before it is durable',
    reason: 'it is faster, and the disk is seldom slow',
    patches: [
      localState(
        'this.outbox.sendAfter(this.stability.termBatch, to, message);',
        'if (to === this.id) this.outbox.sendAfter(this.stability.termBatch, to, message); else this.outbox.send(to, message);',
      ),
    ],
    killedBy: under('secondVote', 5),
  },
  {
    name: 'a vote leaves before it is durable',
    reason: 'only a new term is thought of as something that must be durable',
    patches: [
      localState(
        'this.#vote = candidate; this.#hardStateChanged = true; this.stability.termChanged();',
        'this.#vote = candidate; this.#hardStateChanged = true;',
      ),
    ],
    killedBy: randomFaults(200),
  },
  {
    name: 'the own vote counts before it is durable',
    reason: 'a candidate knows its own vote, so why wait for it',
    patches: [
      election(
        "this.#setRole('candidate'); this.#votes = new Map();",
        "this.#setRole('candidate'); this.#votes = new Map([[id, true]]);",
      ),
      raft('this.#election.stand(nowMs, force);', 'this.#election.stand(nowMs, force); this.#tally(nowMs);'),
    ],
    killedBy: under('voteBeforeDurable', 10),
  },
  {
    name: 'a late vote of an earlier term counts',
    reason: 'the role says that a campaign is under way',
    patches: [
      election(
        "else if (this.#role !== 'candidate' || message.term !== term) return false;",
        "else if (this.#role !== 'candidate') return false;",
      ),
    ],
    killedBy: ['raft/votes'],
  },
  {
    name: 'the longer log wins, whatever its last term',
    reason: 'the first half of the comparison forgotten',
    patches: [
      logView(
        'return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.#lastIndex);',
        'return lastIndex >= this.#lastIndex;',
      ),
    ],
    killedBy: under('longerLog', 5),
  },
  {
    name: 'the last term alone decides which log is complete',
    reason: 'the second half of the comparison forgotten',
    patches: [
      logView(
        'return lastTerm > this.lastTerm || (lastTerm === this.lastTerm && lastIndex >= this.#lastIndex);',
        'return lastTerm >= this.lastTerm;',
      ),
    ],
    killedBy: randomFaults(40, ...ELECTIONS),
  },
  {
    name: 'a removed voter compares candidates with its commit only',
    reason: 'what it holds beyond that seems to be committed without it',
    patches: VOUCHES_FOR_COMMIT,
    killedBy: under('removedVoter', 5),
  },
  {
    name: 'who hears a leader helps to depose it',
    reason: 'a newer term always counts, says the paper',
    patches: [
      election(
        'return nowMs - this.#lastLeaderContactMs < this.#options.electionTimeoutMinMs;',
        "return this.#role === 'leader';",
      ),
    ],
    killedBy: under('disloyal', 5),
  },
  {
    name: 'loyalty ends when a message of a later term takes the leader',
    reason: 'who follows nobody owes nothing',
    patches: [
      election(
        'return nowMs - this.#lastLeaderContactMs',
        'return this.#leader !== NOBODY && nowMs - this.#lastLeaderContactMs',
      ),
    ],
    killedBy: ['raft/ledger'],
  },
  {
    name: 'a restarted node votes at once',
    reason: 'its vote is durable, so why should it wait',
    patches: [election('restarted && !alone ? Math.max(options.electionTimeoutMaxMs, promisedMs) : 0', '0')],
    killedBy: under('restartInLease', 5),
  },
  {
    name: 'alone is who is the only voter of what it has applied',
    reason: 'membership takes effect when it is applied',
    patches: [
      election(
        'const alone = local.membership.isAlone(options.id);',
        `const { voters, outgoing } = local.configuration;
         const alone = voters.length === 1 && outgoing.length === 0 && voters[0] === options.id;`,
      ),
    ],
    killedBy: under('restartInLease', 5),
  },
  {
    name: 'a campaign with a committed change that is not applied',
    reason: 'the configuration in force is the one that is applied',
    patches: [election('!membership.hasPending(applied, commit)', 'true')],
    killedBy: ['raft/ledger'],
  },
  {
    name: 'a pre-candidate that tries again keeps its votes',
    reason: 'who has promised a vote will give it again',
    patches: [
      election('this.#votes = new Map([[this.#local.id, true]]);', 'this.#votes.set(this.#local.id, true);'),
    ],
    killedBy: ['raft/ledger'],
  },
  {
    name: 'a pre-candidate holds on to its leader',
    reason: 'it may still hear from it',
    patches: [
      election("this.#setLeader(NOBODY); this.#setRole('preCandidate');", "this.#setRole('preCandidate');"),
    ],
    killedBy: ['raft/ledger'],
  },
  {
    name: 'a TimeoutNow of an earlier term is obeyed',
    reason: 'a leader has said so',
    patches: [
      raft(
        "if (message.term !== this.term || this.role !== 'follower') return;",
        "if (this.role !== 'follower') return;",
      ),
    ],
    killedBy: under('oldOffer', 5),
  },
  {
    name: 'a commit index that a voter names is believed without its term',
    reason: 'what is committed is committed',
    patches: [
      raft(
        'if (!this.#leadership && log.termAt(message.commitIndex) === message.commitTerm)',
        'if (!this.#leadership && message.commitIndex <= log.lastIndex)',
      ),
    ],
    killedBy: under('longerLog', 5),
  },

  // Quorums and members
  {
    name: 'half of an even number is a majority',
    reason: 'rounded the wrong way; for three and five it makes no difference',
    patches: [quorum('return Math.floor(count / 2) + 1;', 'return Math.ceil(count / 2);')],
    killedBy: under('evenHalves', 5),
  },
  {
    name: 'a joint configuration commits by its new half',
    reason: 'the old voters are on their way out',
    patches: [
      quorum(
        'Math.min(reachedByMajority(configuration.voters, reached), reachedByMajority(configuration.outgoing, reached))',
        'reachedByMajority(configuration.voters, reached)',
      ),
    ],
    killedBy: ['raft/quorum'],
  },
  {
    name: 'a joint configuration elects by its new half',
    reason: 'the old voters are on their way out',
    patches: [quorum('if (incoming === outgoing) return incoming;', 'if (incoming) return incoming;')],
    killedBy: ['raft/quorum'],
  },
  {
    name: 'the acknowledgement of a learner counts',
    reason: 'it holds the log like everybody',
    patches: [
      quorum(
        'Math.min(reachedByMajority(configuration.voters, reached)',
        'Math.min(reachedByMajority([...configuration.voters, ...configuration.learners], reached)',
      ),
    ],
    killedBy: under('learners', 5),
  },
  {
    name: 'two changes of members at once',
    reason: 'each of them alone is allowed',
    patches: [
      leadership("if (this.hasPendingChange) return this.#refused('changePending');", ''),
      inFile('server/admin.js')(
        'if (hasPendingChange || isJoint(configuration))',
        'if (isJoint(configuration))',
      ),
    ],
    killedBy: under('twoChanges', 5),
  },
  {
    name: 'a change of members before one of the own term is committed, or the one before is settled',
    reason: 'no other change is in the log',
    patches: [
      leadership(
        'membership.lastPendingIndex > applied || !isSettled',
        'membership.lastPendingIndex > applied',
      ),
    ],
    killedBy: ['raft/ledger'],
  },
  {
    name: 'a truncated change of members is remembered',
    reason: 'the list of changes lives beside the log',
    patches: [localState('this.membership.truncatedFrom(index);', '')],
    killedBy: under('replacedChange', 5),
  },
  {
    name: 'a voter that is demoted vanishes when the joint configuration is left',
    reason: 'learnersNext looks like something that is over',
    patches: [configuration('ordered([...learners, ...learnersNext])', 'learners')],
    killedBy: ['raft/configuration'],
  },

  // Log and commit
  {
    name: 'an entry of an old term is committed by counting',
    reason: 'a majority holds it',
    patches: [replication('if (reached > commit && log.termAt(reached) === term)', 'if (reached > commit)')],
    killedBy: under('oldTermEntry', 5),
  },
  {
    name: 'a follower acknowledges what is not durable',
    reason: 'it is faster, and the disk is seldom slow',
    patches: [
      localState(
        'this.outbox.sendAfter(this.stability.batchFor(this.#hasUnsaved()), to, message)',
        'this.outbox.send(to, message)',
      ),
    ],
    killedBy: under('earlyAcknowledgement', 5),
  },
  {
    name: 'an acknowledgement waits for the batches that were issued, not for its own',
    reason: 'off by one batch',
    patches: [
      stability('return unsaved ? this.#issuedBatch + 1 : this.#issuedBatch;', 'return this.#issuedBatch;'),
    ],
    killedBy: under('earlyAcknowledgement', 5),
  },
  {
    name: 'a leader counts its own entries before they are durable',
    reason: 'the leader has them, so it counts',
    patches: [
      replication(
        'this.reachedByQuorum(stability.stableIndex, (progress) => progress.match)',
        'this.reachedByQuorum(log.lastIndex, (progress) => progress.match)',
      ),
    ],
    killedBy: under('earlyOwnEntries', 5),
  },
  {
    name: 'an append truncates what it matches',
    reason: 'what comes from the leader is right, so it replaces all',
    patches: [raft('if (present === entry.term) continue;', '')],
    killedBy: under('lateRepetition', 5),
  },
  {
    name: 'an append commits whatever the follower holds',
    reason: 'min(leaderCommit, last index), as in the textbook read too fast',
    patches: [
      raft(
        'local.commitTo(Math.min(message.commitIndex, index));',
        'local.commitTo(Math.min(message.commitIndex, local.log.lastIndex));',
      ),
    ],
    killedBy: ['raft/append'],
  },
  {
    name: 'a heartbeat names a commit beyond what matches',
    reason: 'the follower takes the lesser of it and its log',
    patches: [
      replication(
        'const commitIndex = Math.min(this.#local.commit, progress.match);',
        'const commitIndex = this.#local.commit;',
      ),
    ],
    killedBy: randomFaults(60),
  },
  {
    name: 'what is committed is applied before it is durable here',
    reason: 'a majority has it on disk',
    patches: [
      localState(
        'const available = Math.min(this.#commit, this.stability.stableIndex);',
        'const available = this.#commit;',
      ),
    ],
    killedBy: randomFaults(40),
  },
  {
    name: 'a batch carries the commit that is applied',
    reason: 'what is not applied need not be remembered',
    patches: [localState('commit: this.#commit },', 'commit: Math.min(this.#commit, this.#applied) },')],
    killedBy: under('crashWithPendingChange', 5),
  },
  {
    name: 'the commit index is forgotten on restart',
    reason: 'the paper says it need not be durable',
    patches: [
      localState(
        'this.#commit = Math.max(state.hardState.commit, state.applied);',
        'this.#commit = state.applied;',
      ),
    ],
    killedBy: under('crashWithPendingChange', 5),
  },
  {
    name: 'batches on their way still count for entries that were replaced',
    reason: 'the ABA race: the same index becomes durable, with another entry',
    patches: [
      stability('for (const range of this.#inflight) range.last = Math.min(range.last, from - 1);', ''),
    ],
    killedBy: ['raft/stability', 'raft/fuzz'],
  },
  {
    name: 'a snapshot replaces a log that holds more',
    reason: 'a snapshot has come, so it is installed',
    patches: [
      raft(
        'if (local.log.termAt(index) === snapshot.term) local.commitTo(index);',
        'if (false) local.commitTo(index);',
      ),
    ],
    killedBy: ['raft/append'],
  },
  {
    name: 'an append below what is committed is compared with the log',
    reason: 'the log will tell whether it matches',
    patches: [raft('if (message.previousIndex < local.commit) {', 'if (false) {')],
    killedBy: ['raft/ledger', 'raft/raft', 'raft/fuzz'],
  },
  {
    name: 'a full window whose messages are lost is waited for',
    reason: 'TCP loses nothing',
    patches: [progress("return this.state === 'replicate' &&", 'return false &&')],
    killedBy: ['raft/progress', 'raft/raft', 'raft/fuzz'],
  },
  {
    name: 'of several acknowledgements that wait, the first is sent',
    reason: 'one is enough',
    patches: [
      outbox('if (reach > (reachOf(held.message) ?? 0)) this.#held[at] = { batch, to, message };', ''),
    ],
    killedBy: ['raft/outbox'],
  },

  // Reads and leases
  {
    name: 'a read does not confirm leadership',
    reason: 'a leader knows that it leads',
    patches: [leadership("if (method === 'lease' && this.#hasLease(nowMs))", 'if (true)')],
    killedBy: under('lateLease', 5),
  },
  {
    name: 'a lease is not given up',
    reason: 'a leader that has lost it steps down anyhow',
    patches: [leadership('nowMs < this.#reads.quorumSentMs + promisedMs * (1 - maxClockDrift)', 'true')],
    killedBy: under('lateLease', 5),
  },
  {
    name: 'a lease is longer by the drift, not shorter',
    reason: 'a sign',
    patches: [leadership('promisedMs * (1 - maxClockDrift)', 'promisedMs * (1 + maxClockDrift)')],
    killedBy: under('lastOfLease', 10),
  },
  {
    name: 'a lease counts from the arrival of the answers',
    reason: 'then it is known that a quorum agrees',
    patches: [
      readIndex(
        'for (const { atMs } of this.#sent.splice(0, answered)) this.#quorumSentMs = atMs;',
        'this.#sent.splice(0, answered); if (answered > 0) this.#quorumSentMs = this.heardMs;',
      ),
      leadership(
        'this.replication.receiveHeartbeatReply(nowMs, progress, message',
        'this.#reads.heardMs = nowMs; this.replication.receiveHeartbeatReply(nowMs, progress, message',
      ),
    ],
    killedBy: under('slowAnswers', 5),
  },
  {
    name: 'lease reads before the first commit of the term',
    reason: 'a quorum has answered',
    patches: [
      leadership(
        'return (this.#local.commit >= this.replication.termStart && !this.#transfer.attempted',
        'return (!this.#transfer.attempted',
      ),
    ],
    killedBy: under('earlyLease', 10),
  },
  {
    name: 'lease reads after leadership was offered to another',
    reason: 'the transfer has failed, and this node leads still',
    patches: [leadership('!this.#transfer.attempted &&', '')],
    killedBy: under('leaseAfterTransfer', 5),
  },
  {
    name: 'a transfer that was given up is forgotten',
    reason: 'giving up clears everything',
    patches: [
      transfer(
        'giveUp() { this.#target = undefined;',
        'giveUp() { this.#attempted = false; this.#target = undefined;',
      ),
    ],
    killedBy: under('leaseAfterTransfer', 5),
  },
  {
    name: 'a lease while a change of members is on its way',
    reason: 'it takes effect when it is applied',
    patches: [leadership('if (this.#isLeaving || membership.lastPendingIndex > applied) return false;', '')],
    killedBy: ['raft/ledger', 'raft/raft', 'raft/lease'],
  },
  {
    name: 'a lease trusts the own timeout alone',
    reason: 'all nodes have the same options',
    patches: [
      leadership(
        'Math.min(electionTimeoutMinMs, this.replication.leastPromisedMs())',
        'electionTimeoutMinMs',
      ),
    ],
    killedBy: under('otherTimeouts', 5),
  },
  {
    name: 'a lease outlives leadership',
    reason: 'it ends by itself',
    patches: [
      readIndex('this.#sent = []; this.#quorumSentMs = Number.NEGATIVE_INFINITY;', 'this.#sent = [];'),
    ],
    killedBy: ['raft/read-index', 'raft/lease'],
  },
  {
    name: 'a read joins the round that is under way',
    reason: 'it saves a round',
    patches: [
      readIndex(
        'const round = this.nextRound(nowMs); for',
        'const round = this.#round || this.nextRound(nowMs); for',
      ),
    ],
    killedBy: under('oldRound', 10),
  },
  {
    name: 'a read index before the leader’s first commit',
    reason: 'the commit index only grows',
    patches: [
      leadership(
        'if (this.#reads.hasArrived && this.#local.commit >= this.replication.termStart)',
        'if (this.#reads.hasArrived)',
      ),
    ],
    killedBy: under('earlyRead', 10),
  },
  {
    name: 'read ids begin at 1 in every process',
    reason: 'a counter begins at 1',
    patches: [followerReads('Math.floor(random() * FIRST_WIRE_IDS)', '1')],
    killedBy: under('lateReadReply', 5),
  },

  // A leader's duties
  {
    name: 'a leader that hears from no quorum leads on',
    reason: 'it cannot commit anything, so it does no harm',
    patches: [
      leadership(
        'if (!this.#isHeardByQuorum(nowMs) || this.#diskHangs(nowMs))',
        'if (this.#diskHangs(nowMs))',
      ),
    ],
    killedBy: under('unheardLeader', 3),
  },
  {
    name: 'a late tick judges the others',
    reason: 'a tick is a tick',
    patches: [raft('const isLate = !this.#wasLate &&', 'const isLate = false &&')],
    killedBy: under('shortStall', 5),
  },
  {
    name: 'a leader whose disk hangs leads on',
    reason: 'its heartbeats go out',
    patches: [
      leadership(
        'if (!this.#isHeardByQuorum(nowMs) || this.#diskHangs(nowMs))',
        'if (!this.#isHeardByQuorum(nowMs))',
      ),
    ],
    killedBy: under('hangingDisk', 3),
  },
  {
    name: 'proposals are taken while leadership is transferred',
    reason: 'they will be in the log in time',
    patches: [
      leadership(
        "if (this.#isTransferring()) return this.#refused('transferring'); let sizeBytes",
        'let sizeBytes',
      ),
    ],
    killedBy: ['raft/ledger', 'raft/leader-transfer'],
  },
  {
    name: 'leadership is offered before the chosen one holds the log',
    reason: 'the others will refuse it if it does not',
    patches: [
      leadership('if (this.replication.progressOf(target)?.match !== this.#local.log.lastIndex) return;', ''),
    ],
    killedBy: ['raft/ledger', 'raft/leader-transfer'],
  },
];
