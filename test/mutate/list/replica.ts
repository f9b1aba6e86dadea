/** Mutations of src/replica, and of how its messages travel. */
import { inFile, type Mutation, randomFaults, under } from '../mutation.js';

const lane = inFile('protocol/bulk-lane.js');
const applier = inFile('replica/applier.js');
const compaction = inFile('replica/log-compaction.js');
const proposals = inFile('replica/pending-proposals.js');
const reads = inFile('replica/pending-reads.js');
const receiver = inFile('replica/snapshot-receiver.js');
const replica = inFile('replica/replica.js');
const installer = inFile('replica/snapshot-installer.js');
const writer = inFile('replica/log-writer.js');

const ELECTIONS = ['killLeader', 'isolateLeader', 'slowLinks', 'powerCutOfSome'] as const;
const CUTS = ['powerCut', 'powerCutOfAll', 'powerCutOfSome'] as const;

export const REPLICA_MUTATIONS: readonly Mutation[] = [
  {
    name: 'the host hears of a new configuration at the end of the turn',
    reason: 'so it hears of everything else',
    patches: [replica('if (this.#announced) this.#announceConfiguration();', '')],
    killedBy: ['replica/membership'],
  },
  {
    name: 'the log is cut beyond what the state machine has durably',
    reason: 'what is applied seems to be done with',
    patches: [compaction('Math.min(wanted, durableIndex)', 'Math.min(wanted, appliedIndex)')],
    killedBy: ['replica/log-compaction', 'replica/compaction'],
  },
  {
    name: 'a read is answered when it is confirmed',
    reason: 'its index is committed',
    patches: [reads('if (index > appliedIndex) break;', '')],
    killedBy: randomFaults(60),
  },
  {
    name: 'another leader’s entry answers a proposal at its index',
    reason: 'the index says which it is',
    patches: [proposals('if (proposal.term === entries[i]?.term)', 'if (proposal)')],
    killedBy: ['replica/pending-proposals'],
  },
  {
    name: 'lost leadership means not committed',
    reason: 'the next leader will not know the entry',
    patches: [
      proposals(
        "(proposal) => proposal.term >= term, leadershipLost('unknown')",
        "() => true, leadershipLost('notCommitted')",
      ),
    ],
    killedBy: randomFaults(100, ...ELECTIONS),
  },
  {
    name: 'a node that stops says not committed',
    reason: 'it will not finish it',
    patches: [
      replica(
        "this.#proposals.rejectAll(stopped('unknown', error));",
        "this.#proposals.rejectAll(stopped('notCommitted', error));",
      ),
    ],
    killedBy: ['replica/replica', 'replica/closing'],
  },
  {
    name: 'a leader takes proposals that its full disk cannot',
    reason: 'there may be space soon',
    patches: [replica("if (this.role === 'leader' && this.isDiskFull) {", 'if (false) {')],
    killedBy: ['replica/replica', 'server/disk-full'],
  },
  {
    name: 'what waits for a full disk is overtaken',
    reason: 'the disk may have space again',
    patches: [
      writer(
        'if (this.#diskFull) this.#parts.log.hold(batch); else this.#append(batch);',
        'this.#append(batch);',
      ),
    ],
    killedBy: randomFaults(80, 'fullDisk'),
  },
  {
    name: 'batches whose entries were replaced are tried again whole',
    reason: 'each batch is as it was',
    patches: [writer('this.#unpersisted = withoutReplaced(this.#unpersisted);', '')],
    killedBy: ['replica/log-writer'],
  },
  {
    name: 'what waits for a full disk is tried again behind a snapshot',
    reason: 'each batch is tried again',
    patches: [writer('if (batch.snapshot) {', 'if (false) {')],
    killedBy: ['replica/log-writer', 'replica/snapshot'],
  },
  {
    name: 'the files of a snapshot are not synced',
    reason: 'they are verified, so they are there',
    patches: [receiver('await incoming.open.sync();', '')],
    killedBy: randomFaults(80, ...CUTS),
  },
  {
    name: 'the names of a snapshot’s files are not synced',
    reason: 'the files are',
    patches: [receiver('env.fs.syncDirectory(received);', '')],
    killedBy: ['replica/snapshot'],
  },
  {
    name: 'the name of a snapshot’s directory is not synced',
    reason: 'the files are',
    patches: [receiver('env.fs.syncDirectory(directories.path);', '')],
    killedBy: ['replica/snapshot'],
  },
  {
    name: 'a received snapshot is not verified',
    reason: 'every chunk has a checksum',
    patches: [receiver('await stateMachine.check(received);', '')],
    killedBy: ['replica/snapshot'],
  },
  {
    name: 'a chunk is taken whatever its checksum',
    reason: 'TCP has one',
    patches: [receiver('if (crc32(chunk.bytes) === chunk.checksum)', 'if (chunk.bytes)')],
    killedBy: ['replica/snapshot'],
  },
  {
    name: 'a chunk is taken wherever it belongs',
    reason: 'they come in order',
    patches: [
      receiver(
        'chunk.file === incoming.file && chunk.offset === incoming.offset',
        'chunk.file === incoming.file',
      ),
    ],
    killedBy: ['replica/snapshot'],
  },
  {
    name: 'a checkpoint does not wait for the range being applied',
    reason: 'applying is paused',
    patches: [applier('Promise.all([this.#applying, this.#alone])', 'Promise.all([this.#alone])')],
    killedBy: ['replica/late-apply', 'replica/snapshot'],
  },
  {
    name: 'a snapshot is taken over while a checkpoint is made',
    reason: 'applying is paused',
    patches: [applier('Promise.all([this.#applying, this.#alone])', 'Promise.all([this.#applying])')],
    killedBy: ['replica/late-apply'],
  },
  {
    name: 'a range that waits is applied after the snapshot that replaced it',
    reason: 'what is committed must be applied',
    patches: [installer('applier.forgetWaiting();', '')],
    killedBy: ['replica/ledger', 'replica/late-apply', 'replica/snapshot'],
  },
  {
    name: 'the directory of a snapshot that is not taken over yet is removed',
    reason: 'the log names another',
    patches: [installer('log.base.directory, ...this.#installed]', 'log.base.directory]')],
    killedBy: under('piledSnapshots', 20),
  },
  {
    name: 'a checkpoint is named after what is committed',
    reason: 'it soon holds it',
    patches: [replica('const index = stateMachine.appliedIndex;', 'const index = this.commitIndex;')],
    killedBy: randomFaults(80),
  },
  {
    name: 'a message between nodes is as large as a small request at most',
    reason: 'no request is larger here',
    patches: [lane('= MAX_REQUEST_BYTES + 4 * MIB', '= 2 * MIB')],
    killedBy: under('raisedLeader', 5),
  },
  {
    name: 'all members get the entries of the first one',
    reason: 'they are encoded once',
    patches: [replica('if (filled?.first !== first || filled.last !== last)', 'if (filled === undefined)')],
    killedBy: randomFaults(20),
  },
];
