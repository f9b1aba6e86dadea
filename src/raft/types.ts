/** The vocabulary of the core: what goes in, what comes out. Times are milliseconds of the host's monotonic clock. */
import type { Configuration, ConfigurationChange } from './configuration.js';

/** A positive integer; 0 stands for nobody. */
export type NodeId = number;
export const NOBODY: NodeId = 0;

/** What must not be forgotten. `commit` may lag: it is written along with entries, never alone. */
export interface HardState {
  readonly term: number;
  readonly vote: NodeId;
  readonly commit: number;
}

export const EMPTY_HARD_STATE: HardState = { term: 0, vote: NOBODY, commit: 0 };

/**
 * `noop` opens a leader's term (dissertation, section 6.4); `command` is the state machine's business; `configuration`
 * holds a change of membership (configuration-codec.ts).
 */
export type EntryKind = 'noop' | 'command' | 'configuration';

export interface Entry {
  readonly term: number;
  readonly kind: EntryKind;
  readonly body: Uint8Array;
}

/** What an entry costs in windows and limits: its body and what surrounds it in a message and on disk. */
export function entrySizeBytes(entry: Entry): number {
  return entry.body.length + 24;
}

export interface RequestVote {
  readonly type: 'requestVote';
  /** Of a pre-vote: the term the sender would campaign in. */
  readonly term: number;
  readonly preVote: boolean;
  /** The leader asked for it: loyalty to that leader is no reason to refuse. */
  readonly force: boolean;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

/**
 * Whoever answers says how far it knows the log to be committed. The asker may lack just that: of a change that removed
 * the one who answers, and without whom it could then be elected.
 */
export interface VoteReply {
  readonly type: 'voteReply';
  readonly term: number;
  readonly preVote: boolean;
  readonly granted: boolean;
  readonly commitIndex: number;
  /** Of the entry at `commitIndex`: a log that holds it there is committed up to it. */
  readonly commitTerm: number;
}

export interface AppendHeader {
  readonly type: 'append';
  readonly term: number;
  readonly previousIndex: number;
  readonly previousTerm: number;
  readonly commitIndex: number;
  /** Every member is known to hold the log up to here: nobody needs the entries before it from another. */
  readonly allMatchedIndex: number;
}

export interface AppendReply {
  readonly type: 'appendReply';
  readonly term: number;
  readonly accepted: boolean;
  /** Accepted: the log equals the leader's up to here, durably. */
  readonly matchIndex: number;
  /**
   * Refused: the `previousIndex` that did not match, and where the sender's log may first agree (see
   * LogView.lastNotAfter).
   */
  readonly rejectedIndex: number;
  readonly hintIndex: number;
  readonly hintTerm: number;
}

export interface Heartbeat {
  readonly type: 'heartbeat';
  readonly term: number;
  readonly commitIndex: number;
  /** The leader's own monotonic counter: an answer to round n proves leadership at the time round n was sent. */
  readonly round: number;
}

export interface HeartbeatReply {
  readonly type: 'heartbeatReply';
  readonly term: number;
  readonly round: number;
  /** For so long, by its own clock, the sender helps nobody to depose the leader. */
  readonly promisedMs: number;
}

/** The leader hands over: campaign now. */
export interface TimeoutNow {
  readonly type: 'timeoutNow';
  readonly term: number;
}

/** A follower or learner asks the leader for an index to read at. */
export interface ReadIndexRequest {
  readonly type: 'readIndex';
  readonly term: number;
  /** The asker's own, never used twice: a late answer must not meet another read, over restarts either. */
  readonly id: number;
}

export interface ReadIndexReply {
  readonly type: 'readIndexReply';
  readonly term: number;
  readonly id: number;
  readonly index: number;
}

/** The last entry that a snapshot holds, and the configuration there. */
export interface SnapshotBase {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/**
 * A snapshot whose bytes have all arrived and are safe in a place of the host's. The host that received them makes this
 * message; it is answered with an `appendReply`.
 */
export interface SnapshotMessage {
  readonly type: 'snapshot';
  /** Of the leader that sent it. */
  readonly term: number;
  readonly snapshot: SnapshotBase;
}

type SameBothWays =
  | RequestVote
  | VoteReply
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexReply;

/** What one host sends to another: with the entries themselves. */
export type AppendMessage = AppendHeader & { readonly entries: readonly Entry[] };
export type WireMessage = SameBothWays | AppendMessage;
/** As it arrives in the core. */
export type Message = WireMessage | SnapshotMessage;

/** As it leaves the core: naming entries by range (`last` < `first`: none), for the host to fill from its log. */
export type AppendRange = AppendHeader & { readonly first: number; readonly last: number };
export type OutgoingMessage = SameBothWays | AppendRange;

export interface Envelope {
  readonly to: NodeId;
  readonly message: OutgoingMessage;
}

export type Input =
  /** Time has passed. To come at least a few times per heartbeat interval. */
  | { readonly type: 'tick' }
  | { readonly type: 'message'; readonly from: NodeId; readonly message: Message }
  /** New commands, in this order. */
  | { readonly type: 'propose'; readonly bodies: readonly Uint8Array[] }
  /**
   * A change of membership, one at a time. `expectedIndex`: only if the configuration in force has this index, so that
   * a change which is asked for twice does not undo one that came in between.
   */
  | {
      readonly type: 'changeConfiguration';
      readonly change: ConfigurationChange;
      readonly expectedIndex?: number | undefined;
    }
  /** Hand leadership to that voter. */
  | { readonly type: 'transfer'; readonly to: NodeId }
  /** Hand leadership to the voter that holds most of the log; to the next best as soon as that one is `unreachable`. */
  | { readonly type: 'handOver' }
  /** This node is about to stop: it does not campaign any more, nor when it is told to. */
  | { readonly type: 'stopCampaigning' }
  /** A linearizable read; `id` comes back in `Output.reads` or `Output.failedReads`. Ids are the host's. */
  | { readonly type: 'read'; readonly id: number; readonly level: ReadLevel }
  /** The batch of that number, and so every one before it, is durable. */
  | { readonly type: 'persisted'; readonly batch: number }
  /** The state machine has applied everything up to here. */
  | { readonly type: 'applied'; readonly index: number }
  /** The host has dropped the log up to here (at most what was applied). */
  | { readonly type: 'compacted'; readonly index: number }
  /** A snapshot that `Output.snapshotsNeeded` asked for has reached that node whole, or has not. */
  | { readonly type: 'snapshotSent'; readonly node: NodeId; readonly index: number; readonly ok: boolean }
  /** Messages to that node were lost or its connection broke. */
  | { readonly type: 'unreachable'; readonly node: NodeId };

/**
 * How a read is made linearizable: `index`, by a round of heartbeats, on the leader only; `lease`, without one while
 * the leader's lease holds; `follower`, on any member, which asks the leader for the index.
 */
export type ReadLevel = 'index' | 'lease' | 'follower';

export type Refusal =
  /** Another node leads, or none does. */
  | 'notLeader'
  /** A limit is reached: try again later. */
  | 'overloaded'
  /** Leadership is being handed over: try again shortly. */
  | 'transferring'
  /** A command above `maxEntryBytes`. */
  | 'tooLarge'
  /** Another change of membership is not applied yet, or the leader has committed nothing in its term. */
  | 'changePending'
  /** The change is not allowed here. */
  | 'changeInvalid'
  /** Another configuration is in force than the one that was expected. */
  | 'changeConflict'
  /** No other voter was heard from lately. */
  | 'noSuccessor';

/** Why a message does not count; senders.ts has the rules. */
export type MessageRefusal =
  /** It comes from no member as far as this node can know. */
  | 'stranger'
  /** Its term lies so far ahead that no cluster gets there. */
  | 'termTooFar'
  /** Another node leads the same term. */
  | 'secondLeader'
  /** Only the leader of the term may say so. */
  | 'notLeader'
  /** It contradicts itself. */
  | 'malformed';

/**
 * What a proposal, a read, a change of members or an order to hand over is told at once. Other inputs are always
 * accepted.
 */
export type StepResult =
  | { readonly accepted: true; readonly index: number; readonly term: number }
  | { readonly accepted: false; readonly refusal: Refusal; readonly leader: NodeId };

export interface AppendBatch {
  /** Counts up from 1. Batches are to be made durable in order and answered with `persisted`. */
  readonly batch: number;
  readonly hardState: HardState;
  /** Index of the first of `entries`; whatever the log held from there on is replaced. Meaningless without entries. */
  readonly first: number;
  readonly entries: readonly Entry[];
  /**
   * Before the entries: the whole log and the state machine are replaced by this snapshot. The batch is persisted when
   * that is durable; `applied` then follows for the snapshot's index.
   */
  readonly snapshot: SnapshotBase | undefined;
}

export type Role = 'follower' | 'preCandidate' | 'candidate' | 'leader';

export interface RoleStatus {
  readonly role: Role;
  readonly term: number;
  readonly leader: NodeId;
}

export interface Output {
  /** To be written and synced. It may run in parallel with the sending of `send`. */
  readonly append: AppendBatch | undefined;
  /** To be sent now, after `append` has been handed to the log (so that ranges can be filled). */
  readonly send: readonly Envelope[];
  /**
   * Committed and durable here, to be applied in order and answered with `applied`; no further range comes before that.
   */
  readonly apply: { readonly first: number; readonly last: number } | undefined;
  /** Reads that may be answered once the state machine has applied `index`. */
  readonly reads: readonly { readonly id: number; readonly index: number }[];
  /** Reads that this node can no longer confirm: it does not lead any more. */
  readonly failedReads: readonly number[];
  /** Set when role, term or leader has changed. */
  readonly status: RoleStatus | undefined;
  /** Every member holds the log up to here: nobody will need a snapshot because of what is cut before it. */
  readonly allMatchedIndex: number;
  /** Members that need entries which this log no longer has: to be sent a snapshot, and reported by `snapshotSent`. */
  readonly snapshotsNeeded: readonly NodeId[];
  /** Set when the configuration in force has changed. */
  readonly configuration: Configuration | undefined;
}

export interface PeerStatus {
  readonly id: NodeId;
  readonly matchIndex: number;
  readonly nextIndex: number;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  /** Nothing is sent before it answers. */
  readonly isPaused: boolean;
  readonly inflightMessages: number;
  readonly lastHeardMs: number;
}

export interface RaftOptions {
  readonly id: NodeId;
  readonly heartbeatMs: number;
  /** Election timeouts are drawn from [min, max). */
  readonly electionTimeoutMinMs: number;
  readonly electionTimeoutMaxMs: number;
  /** How much faster one node's clock may run than another's: 0.1 for a tenth. Leases are shorter by it. */
  readonly maxClockDrift: number;
  /** A larger command is refused. */
  readonly maxEntryBytes: number;
  /** Bytes of entries in one append message, and in one range to apply; a larger single entry goes alone. */
  readonly maxAppendBytes: number;
  readonly maxApplyBytes: number;
  /** Unacknowledged append messages, and bytes of them, to one follower. */
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** Bytes proposed and not yet committed; above it proposals are refused. */
  readonly maxUncommittedBytes: number;
  /** Reads not yet confirmed; above it reads are refused. */
  readonly maxPendingReads: number;
  /**
   * A leader appends an entry once a change of membership is in force (the default). Without it, as in etcd, a restart
   * of all members before the next entry may lead back to the members before the change.
   */
  readonly confirmsChanges?: boolean;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/**
 * Where the log of a new group starts. Its first configuration is at this base, in no entry: a node that joins later
 * starts at 0 and so lacks it, and gets it with a snapshot.
 */
export const FIRST_BASE: { readonly index: number; readonly term: number } = { index: 1, term: 1 };

/** What the host found on its disk. */
export interface RaftState {
  readonly hardState: HardState;
  /** The log starts after this entry; the configuration was this one there. */
  readonly base: SnapshotBase;
  /** Term and size of every entry after the base, and the change of each configuration entry. */
  readonly entries: Iterable<{
    readonly term: number;
    readonly sizeBytes: number;
    readonly change?: ConfigurationChange | undefined;
  }>;
  /** What the state machine has durably applied. */
  readonly applied: number;
  /** True if this node has run before: it then neither votes nor campaigns for one maximum election timeout … */
  readonly restarted: boolean;
  /** … and not for as long as an earlier process, with other options, may have promised to be loyal. */
  readonly promisedMs?: number | undefined;
}
