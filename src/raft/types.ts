/** The core's inputs, outputs and messages. Times are milliseconds of the host's monotonic clock. */
import type { Configuration, ConfigurationChange } from './configuration.js';

/** A positive integer; 0 means no node. */
export type NodeId = number;
export const NOBODY: NodeId = 0;

/** What must survive a restart. `commit` may lag: it is written along with entries, never alone. */
export interface HardState {
  readonly term: number;
  readonly vote: NodeId;
  readonly commit: number;
}

export const EMPTY_HARD_STATE: HardState = { term: 0, vote: NOBODY, commit: 0 };

/**
 * The kinds of entries, with their numbers in the Raft log and in messages. `noop` opens a leader's term (dissertation,
 * section 6.4); `command` is for the state machine; `configuration` holds a change of membership
 * (configuration-codec.ts); `tablet` is for the state machine too, and is applied alone: it may end the group.
 */
export const ENTRY_KIND_NUMBERS = { noop: 1, command: 2, configuration: 3, tablet: 4 } as const;
export type EntryKind = keyof typeof ENTRY_KIND_NUMBERS;

const KINDS_BY_NUMBER = new Map<number, EntryKind>(
  Object.entries(ENTRY_KIND_NUMBERS).map(([kind, number]) => [number, kind as EntryKind]),
);

/** The kind with a number; undefined if there is none. */
export function entryKindOf(number: number): EntryKind | undefined {
  return KINDS_BY_NUMBER.get(number);
}

export interface Entry {
  readonly term: number;
  readonly kind: EntryKind;
  readonly body: Uint8Array;
}

/** What an entry counts in windows and limits: its body and the overhead in a message and on disk. */
export function entrySizeBytes(entry: Entry): number {
  return entry.body.length + 24;
}

export interface RequestVote {
  readonly type: 'requestVote';
  /** For a pre-vote: the term in which the sender would campaign. */
  readonly term: number;
  readonly preVote: boolean;
  /** A leadership transfer: the receiver votes although it hears from a leader. */
  readonly force: boolean;
  readonly lastIndex: number;
  readonly lastTerm: number;
}

/**
 * The answer carries the sender's commit index, because the candidate may lack exactly that: the commit of a change
 * that removed the answering node, after which the candidate could win without its vote.
 */
export interface VoteReply {
  readonly type: 'voteReply';
  readonly term: number;
  readonly preVote: boolean;
  readonly granted: boolean;
  readonly commitIndex: number;
  /** The term of the entry at `commitIndex`. A log that has this term at this index is committed up to it. */
  readonly commitTerm: number;
}

export interface AppendHeader {
  readonly type: 'append';
  readonly term: number;
  readonly previousIndex: number;
  readonly previousTerm: number;
  readonly commitIndex: number;
  /** Every member is known to store the log up to here: none needs earlier entries from another. */
  readonly allMatchedIndex: number;
}

export interface AppendReply {
  readonly type: 'appendReply';
  readonly term: number;
  readonly accepted: boolean;
  /** If accepted: the log matches the leader's up to here, durably. */
  readonly matchIndex: number;
  /**
   * If rejected: the `previousIndex` that did not match, and where the logs may match at the earliest (see
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
  /** A monotonic counter of the leader. An answer to round n proves leadership at the time when round n was sent. */
  readonly round: number;
}

export interface HeartbeatReply {
  readonly type: 'heartbeatReply';
  readonly term: number;
  readonly round: number;
  /**
   * For this long, by its own clock, the sender ignores vote requests of other nodes, except in a leadership transfer.
   */
  readonly promisedMs: number;
}

/**
 * The group has no work: the receiver may stop its election timer if its log ends at `index` and all of it is applied.
 * The rules are in quiet.ts.
 */
export interface QuietOffer {
  readonly type: 'quietOffer';
  readonly term: number;
  /** The end of the leader's log. All of it is committed. */
  readonly index: number;
  /** The heartbeat round with which it was sent. */
  readonly round: number;
  /** The promise of the leader's host (`RaftOptions.quiet`). */
  readonly epoch: number;
}

/** A member is quiet since the offer of this round, or, with `isQuiet` false, not any more. */
export interface QuietReply {
  readonly type: 'quietReply';
  readonly term: number;
  readonly round: number;
  readonly isQuiet: boolean;
}

/** Leadership transfer: campaign now. */
export interface TimeoutNow {
  readonly type: 'timeoutNow';
  readonly term: number;
}

/** A follower or learner asks the leader for a read index. */
export interface ReadIndexRequest {
  readonly type: 'readIndex';
  readonly term: number;
  /** Chosen by the sender and never reused, not even after a restart: a late answer must not confirm another read. */
  readonly id: number;
}

export interface ReadIndexReply {
  readonly type: 'readIndexReply';
  readonly term: number;
  readonly id: number;
  readonly index: number;
}

/** A snapshot's last entry, and the configuration at that entry. */
export interface SnapshotBase {
  readonly index: number;
  readonly term: number;
  readonly configuration: Configuration;
}

/**
 * A snapshot whose bytes have arrived and are durable at the host. The receiving host creates this message; the core
 * answers it with an `appendReply`.
 */
export interface SnapshotMessage {
  readonly type: 'snapshot';
  /** The term of the leader that sent it. */
  readonly term: number;
  readonly snapshot: SnapshotBase;
}

/** Messages that are the same for the core and between hosts. */
export type SameBothWays =
  | RequestVote
  | VoteReply
  | AppendReply
  | Heartbeat
  | HeartbeatReply
  | QuietOffer
  | QuietReply
  | TimeoutNow
  | ReadIndexRequest
  | ReadIndexReply;

/** A message between hosts, with the entries themselves. */
export type AppendMessage = AppendHeader & { readonly entries: readonly Entry[] };
export type WireMessage = SameBothWays | AppendMessage;
/** A message as the core receives it. */
export type Message = WireMessage | SnapshotMessage;

/**
 * A message as the core sends it. It names entries by their range (`last` < `first`: none); the host fills them in from
 * its log.
 */
export type AppendRange = AppendHeader & { readonly first: number; readonly last: number };
export type OutgoingMessage = SameBothWays | AppendRange;

export interface Envelope {
  readonly to: NodeId;
  readonly message: OutgoingMessage;
}

export type Input =
  /**
   * Time has passed. Send it at least a few times per heartbeat interval, or by the time that `tickDueMs` names.
   * `isLate`: this process was paused. Without it the core judges that by the time since the last tick.
   */
  | { readonly type: 'tick'; readonly isLate?: boolean }
  | { readonly type: 'message'; readonly from: NodeId; readonly message: Message }
  /** An entry of the kind `tablet`. Refused while a change of members is pending, is joint, or there is a learner. */
  | { readonly type: 'proposeTablet'; readonly body: Uint8Array }
  /** There is no leader, and the host knows that none will come by itself soon. */
  | { readonly type: 'campaign' }
  /** New commands, in this order. */
  | { readonly type: 'propose'; readonly bodies: readonly Uint8Array[] }
  /**
   * A configuration change; one at a time. With `expectedIndex` it is accepted only if the configuration in force has
   * this index: so a repeated request does not undo a change made in between.
   */
  | {
      readonly type: 'changeConfiguration';
      readonly change: ConfigurationChange;
      readonly expectedIndex?: number | undefined;
    }
  /**
   * Transfer leadership to that voter. Without `to`: to the voter that holds most of the log, and to the next best as
   * soon as that one is `unreachable`.
   */
  | { readonly type: 'transfer'; readonly to?: NodeId }
  /** This node shuts down: it does not campaign any more, and it ignores TimeoutNow. */
  | { readonly type: 'stopCampaigning' }
  /** A linearizable read. `id` is chosen by the host and comes back in `Output.reads` or `Output.failedReads`. */
  | { readonly type: 'read'; readonly id: number; readonly method: ReadMethod }
  /** This batch and all before it are durable. */
  | { readonly type: 'persisted'; readonly batch: number }
  /** The state machine has applied everything up to here. */
  | { readonly type: 'applied'; readonly index: number }
  /** The host has dropped the log up to here (not above the applied index). */
  | { readonly type: 'compacted'; readonly index: number }
  /** The transfer of a snapshot requested by `Output.snapshotsNeeded` has ended: `ok` if the node has all of it. */
  | { readonly type: 'snapshotSent'; readonly node: NodeId; readonly index: number; readonly ok: boolean }
  /** Messages to this node were lost, or its connection broke. */
  | { readonly type: 'unreachable'; readonly node: NodeId }
  /**
   * A node that this quiet replica relies on broke its promise. `isSilent`: nothing was heard of it for a minimum
   * election timeout.
   */
  | { readonly type: 'wake'; readonly isSilent: boolean };

/**
 * How a read is made linearizable. `index`: by a heartbeat round, on the leader only. `lease`: without a round while
 * the leader's lease holds. `follower`: on any member, which asks the leader for the index.
 */
export type ReadMethod = 'index' | 'lease' | 'follower';

export type Refusal =
  /** This node does not lead. */
  | 'notLeader'
  /** A limit is reached. Retry later. */
  | 'overloaded'
  /** A leadership transfer is in progress. Retry shortly. */
  | 'transferring'
  /** A command above `maxEntryBytes`. */
  | 'tooLarge'
  /** Another configuration change is not applied yet, or the leader has not committed an entry of its term. */
  | 'changePending'
  /** The change is not allowed in this configuration. */
  | 'changeInvalid'
  /** The configuration in force is not the expected one. */
  | 'changeConflict'
  /** No other voter was heard from recently. */
  | 'noSuccessor';

/** Why a message is ignored. The rules are in senders.ts. */
export type MessageRefusal =
  /** The sender is no member, as far as this node can know. */
  | 'stranger'
  /** The term is so far ahead that no cluster gets there. */
  | 'termTooFar'
  /** Another node leads this term. */
  | 'secondLeader'
  /** Only this term's leader may send it. */
  | 'notLeader'
  /** The message is inconsistent. */
  | 'malformed';

/**
 * What a proposal, a read, a change of members or a transfer of leadership is told at once. Other inputs are always
 * accepted.
 */
export type StepResult =
  | {
      readonly accepted: true;
      readonly index: number;
      readonly term: number;
      /** The input was a message that does not count, for this reason: the core ignored it. */
      readonly ignored?: MessageRefusal;
    }
  | { readonly accepted: false; readonly refusal: Refusal; readonly leader: NodeId };

export interface AppendBatch {
  /** Counts up from 1. The host makes batches durable in order and answers each with `persisted`. */
  readonly batch: number;
  readonly hardState: HardState;
  /** Index of the first of `entries`; they replace everything in the log from there on. Unused without entries. */
  readonly first: number;
  readonly entries: readonly Entry[];
  /**
   * Before the entries: this snapshot replaces the whole log and the state machine. The batch is persisted when that is
   * durable. `applied` then follows for the snapshot's index.
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
  /** Write and sync it. That may run in parallel with `send`. */
  readonly append: AppendBatch | undefined;
  /** Send them now, but after `append` was handed to the log, so that ranges can be filled. */
  readonly send: readonly Envelope[];
  /**
   * Entries that are committed and durable here. The host applies them in order and answers with `applied`. The next
   * range comes only after that.
   */
  readonly apply: { readonly first: number; readonly last: number } | undefined;
  /** Reads that may be answered once the state machine has applied `index`. */
  readonly reads: readonly { readonly id: number; readonly index: number }[];
  /** Reads that this node can no longer confirm: it does not lead any more, or its leader did not answer. */
  readonly failedReads: readonly number[];
  /** Set when role, term or leader has changed. */
  readonly status: RoleStatus | undefined;
  /** Every member stores the log up to here: cutting the log up to here makes no member need a snapshot. */
  readonly allMatchedIndex: number;
  /** Members that need entries which this log no longer has. Send each a snapshot and report it with `snapshotSent`. */
  readonly snapshotsNeeded: readonly NodeId[];
  /** Set when the configuration in force has changed. */
  readonly configuration: Configuration | undefined;
}

/** What a quiet replica relies on. */
export interface Quietness {
  /** It must hear of it when one of these nodes is silent, or begins another epoch. */
  readonly nodes: readonly NodeId[];
  /** Of a follower: the promise of its leader's host. */
  readonly epoch: number | undefined;
}

export interface PeerStatus {
  readonly id: NodeId;
  readonly matchIndex: number;
  readonly nextIndex: number;
  readonly state: 'probe' | 'replicate' | 'snapshot';
  /** Nothing is sent before the follower answers. */
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
  /** How much faster one node's clock may run than another's: 0.1 for a tenth. It shortens leases. */
  readonly maxClockDrift: number;
  /** Larger commands are refused. */
  readonly maxEntryBytes: number;
  /** Bytes of entries in one append message, and in one range to apply. A single larger entry is sent alone. */
  readonly maxAppendBytes: number;
  readonly maxApplyBytes: number;
  /** Unacknowledged append messages, and their bytes, per follower. */
  readonly maxInflightMessages: number;
  readonly maxInflightBytes: number;
  /** Bytes proposed and not yet committed. Above it, proposals are refused. */
  readonly maxUncommittedBytes: number;
  /** Reads not yet confirmed. Above it, reads are refused. */
  readonly maxPendingReads: number;
  /**
   * Whether a leader appends an entry once a configuration change is in force. Default: true. Without it, as in etcd, a
   * restart of all members before the next entry may lead back to the previous configuration.
   */
  readonly confirmsChanges?: boolean;
  /** The group may fall quiet. Without it, it never does. The host then keeps the promises that quiet.ts names. */
  readonly quiet?: {
    /** So long a leader must have had no work. */
    readonly afterMs: number;
    /** Names the promise of this host to its groups: another number breaks all earlier promises. Above 0. */
    readonly epoch: () => number;
  };
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/**
 * Where the log of a new group starts. The first configuration is part of this base, not of an entry. A node that joins
 * later starts at index 0, so it lacks this configuration and gets it with a snapshot.
 */
export const FIRST_BASE: { readonly index: number; readonly term: number } = { index: 1, term: 1 };

/** What the host found on its disk. */
export interface RaftState {
  readonly hardState: HardState;
  /** The log starts after this entry. The configuration is the one at this entry. */
  readonly base: SnapshotBase;
  /** Term and size of every entry after the base, and the change of each configuration entry. */
  readonly entries: Iterable<{
    readonly term: number;
    readonly sizeBytes: number;
    readonly change?: ConfigurationChange | undefined;
  }>;
  /** The index up to which the state machine has durably applied. */
  readonly applied: number;
  /** Whether this node has run before. If so, it neither votes nor campaigns for one maximum election timeout … */
  readonly restarted: boolean;
  /** … and for the time that an earlier process, with other options, may have promised. */
  readonly promisedMs?: number | undefined;
}
