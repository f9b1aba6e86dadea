/**
 * The messages, declared once. Encoder, decoder, TypeScript types and the byte layouts in PROTOCOL.md follow from this
 * table. The numbers never change. A change of a layout is a new protocol version, but `hello` and `error` keep their
 * layouts. Every request and every answer to one begins with `requestId`.
 *
 *     1 to 15                  about the connection, and parts of the streams that it carries
 *     16 to 31, 128 to 255     requests and their answers (`isRequestNumber`)
 *     32 to 127                between nodes
 */
import { entryList } from './entry-list.js';
import type { DecodedFields, EncodableFields, Fields } from './field-kinds.js';
import { bool, bytes, enumeration, list, optional, string, struct, u32, u53 } from './field-kinds.js';

export const PROTOCOL_VERSION = 2;

interface MessageDeclaration<F extends Fields> {
  readonly number: number;
  /** One sentence for PROTOCOL.md. */
  readonly about: string;
  readonly fields: F;
}

function message<const F extends Fields>(number: number, about: string, fields: F): MessageDeclaration<F> {
  return { number, about, fields };
}

const listed = list(struct({ number: u32, body: bytes }));
const consistency = enumeration({ linearizable: 1, stale: 2, lease: 3, follower: 4 });

/** Of times that were measured. */
const quantiles = struct({ p50Us: u53, p99Us: u53 });
const placementKind = enumeration({ range: 1, hash: 2 });

export const MESSAGES = {
  hello: message(1, 'The first message of both sides; the side that connected speaks first.', {
    protocolVersion: u32,
    role: enumeration({ client: 1, peer: 2, server: 3, administrator: 4 }),
    clusterId: string,
    nodeId: u32,
    storeId: string,
  }),
  error: message(2, 'The request with this id failed; with id 0, the connection did, and it closes.', {
    requestId: u32,
    code: string,
    message: string,
    outcome: enumeration({ notCommitted: 1, unknown: 2 }),
    leaderId: u32,
    leaderAddress: string,
  }),
  ping: message(
    3,
    'Asks whether the other side is there; promises that this side sends again within so many ms (0: no promise).',
    { nextWithinMs: u32 },
  ),
  pong: message(4, 'The answer to ping.', {}),
  challenge: message(
    5,
    'From both sides, after the hello of a peer or administrator: 32 random bytes, or none if no secret is set here.',
    { nonce: bytes },
  ),
  proof: message(
    6,
    'HMAC-SHA256 with the cluster secret, see Handshake; the side that connected proves first.',
    {
      proof: bytes,
    },
  ),
  limits: message(
    7,
    'What a node takes from a client, and the longest body that it sends; told when the handshake is done.',
    {
      maxKeyBytes: u32,
      maxValueBytes: u32,
      maxRequestBytes: u32,
      maxOperationsPerRequest: u32,
      maxAnswerBytes: u32,
    },
  ),
  watchCredit: message(8, 'A client can take so many bytes of changes more.', { watchId: u32, bytes: u32 }),
  watchCancel: message(9, 'A client wants no more changes.', { watchId: u32 }),
  changes: message(
    10,
    'The next changes of a watch, in order; with them all of its changes up to throughVersion were told.',
    {
      watchId: u32,
      throughVersion: u53,
      changes: list(
        struct({
          type: enumeration({ put: 1, delete: 2, expire: 3 }),
          version: u53,
          key: bytes,
          value: bytes,
        }),
      ),
    },
  ),
  watchEnded: message(11, 'The node tells no more changes of a watch; see Watches.', {
    watchId: u32,
    code: string,
    message: string,
    fromVersion: optional(u53),
  }),
  watchProgress: message(
    12,
    'All changes up to throughVersion were told, to every watch of the tablet but those that are behind.',
    { tablet: u32, throughVersion: u53, behind: list(u32) },
  ),
  write: message(16, 'Changes keys. Several operations are one atomic batch: all are applied or none is.', {
    requestId: u32,
    tablet: u32,
    sessionId: u53,
    sequence: u53,
    acknowledgedThrough: u53,
    after: u53,
    operations: list(
      struct({
        action: enumeration({
          put: 1,
          append: 2,
          delete: 3,
          check: 4,
          expire: 5,
          persist: 6,
          increment: 7,
          modify: 8,
        }),
        key: bytes,
        value: bytes,
        condition: enumeration({ always: 1, exists: 2, absent: 3, valueIs: 4, versionIs: 5 }),
        conditionValue: bytes,
        conditionVersion: u53,
        life: optional(
          struct({
            change: enumeration({ set: 1, keep: 2, setIfNew: 3 }),
            ttlMs: u53,
            when: enumeration({ always: 1, ifNone: 2, ifSome: 3, ifLater: 4, ifSooner: 5 }),
          }),
        ),
      }),
    ),
  }),
  writeReply: message(17, 'A write is committed; whether it was applied, its conditions decided.', {
    requestId: u32,
    applied: bool,
    index: u53,
    results: list(
      struct({
        status: enumeration({
          ok: 1,
          conditionFailed: 2,
          valueTooLarge: 3,
          notApplied: 4,
          unchanged: 5,
          notANumber: 6,
          overflow: 7,
        }),
        existed: bool,
        version: u53,
        value: optional(bytes),
      }),
    ),
  }),
  get: message(18, 'Asks for one key.', {
    requestId: u32,
    tablet: u32,
    consistency,
    key: bytes,
    omitValue: bool,
  }),
  getReply: message(19, 'One key, and how long it still lives if it has a deadline.', {
    requestId: u32,
    found: bool,
    version: u53,
    value: bytes,
    remainingMs: optional(u53),
  }),
  scan: message(20, 'Asks for a page of the keys of one tablet, in order.', {
    requestId: u32,
    tablet: u32,
    consistency,
    from: bytes,
    to: optional(bytes),
    limit: u32,
    reverse: bool,
    keysOnly: bool,
  }),
  scanReply: message(
    21,
    'A page of keys; `more` says that others follow, behind `coveredTo`, or without it behind the last entry.',
    {
      requestId: u32,
      entries: list(struct({ key: bytes, version: u53, value: bytes, remainingMs: optional(u53) })),
      more: bool,
      coveredTo: optional(bytes),
    },
  ),
  openSession: message(22, 'Asks for a session, in which a repeated write is applied once.', {
    requestId: u32,
    tablet: u32,
    window: u32,
  }),
  sessionOpened: message(23, 'A session with its number and the window that it really has.', {
    requestId: u32,
    sessionId: u53,
    window: u32,
  }),
  status: message(24, 'Asks a node how it sees its cluster, and one of its tablets.', {
    requestId: u32,
    tablet: u32,
  }),
  statusReply: message(25, 'How a node sees its cluster.', {
    requestId: u32,
    nodeId: u32,
    clusterId: string,
    role: enumeration({ follower: 1, preCandidate: 2, candidate: 3, leader: 4 }),
    term: u53,
    leaderId: u32,
    leaderAddress: string,
    peerAddress: string,
    commitIndex: u53,
    appliedIndex: u53,
    lastIndex: u53,
    durableIndex: u53,
    keysApproximate: u53,
    keysWithDeadline: u53,
    timeMs: u53,
    version: string,
    peers: list(
      struct({
        nodeId: u32,
        clientAddress: string,
        peerAddress: string,
        matchIndex: u53,
        reachable: bool,
        heardMsAgo: optional(u53),
        problem: string,
      }),
    ),
    voters: list(u32),
    outgoing: list(u32),
    learners: list(u32),
    configurationIndex: u53,
    removedBy: u53,
    tablets: u32,
    leads: u32,
    groups: u32,
    quietGroups: u32,
    failedGroups: list(struct({ group: u32, code: string, message: string })),
    logSyncs: u53,
  }),
  changeMembers: message(26, 'Changes who belongs to the cluster; joint if there are several changes.', {
    requestId: u32,
    expectedIndex: optional(u53),
    force: bool,
    changes: list(
      struct({
        type: enumeration({ addVoter: 1, addLearner: 2, remove: 3, promote: 4, demote: 5, update: 6 }),
        nodeId: u32,
        clientAddress: string,
        peerAddress: string,
      }),
    ),
  }),
  transferLeader: message(27, 'Asks the leader of a tablet to transfer leadership to another voter.', {
    requestId: u32,
    tablet: u32,
    nodeId: u32,
  }),
  done: message(28, 'What an operator asked for has taken effect, or (`changed` false) was so before.', {
    requestId: u32,
    index: u53,
    changed: bool,
    warnings: list(string),
  }),
  splitTablet: message(
    134,
    'Asks the leader of a tablet to split it: the key, or by hash its place on the ring, begins the second part.',
    { requestId: u32, tablet: u32, key: bytes },
  ),
  tabletSplit: message(135, 'A tablet has ended, and two others have its keys.', {
    requestId: u32,
    tablet: u32,
    left: u32,
    right: u32,
  }),
  tablets: message(29, 'Asks for a page of the map: the tablets that begin at `from` or behind it.', {
    requestId: u32,
    from: bytes,
    limit: u32,
  }),
  tabletsReply: message(
    30,
    'A page of the map as this node knows it, in the order of the ranges; `more`: others follow.',
    {
      requestId: u32,
      fingerprint: u32,
      by: placementKind,
      hashVersion: u32,
      nodes: list(struct({ nodeId: u32, clientAddress: string, isDraining: bool })),
      tablets: list(
        struct({
          id: u32,
          start: bytes,
          end: optional(bytes),
          generation: u53,
          leaderId: u32,
          term: u53,
          sizeBytes: optional(u53),
          replicas: list(u32),
          splitVersion: u53,
        }),
      ),
      more: bool,
    },
  ),
  watch: message(
    128,
    'Asks for the changes of keys of a tablet in [from, to) from a version on; they come as long as there is credit.',
    {
      requestId: u32,
      tablet: u32,
      watchId: u32,
      from: bytes,
      to: optional(bytes),
      fromVersion: optional(u53),
      pieces: list(struct({ start: bytes, version: u53 })),
      creditBytes: u32,
    },
  ),
  watching: message(129, 'A watch has begun, with changes of this version or later.', {
    requestId: u32,
    fromVersion: u53,
  }),
  watchSync: message(
    132,
    'Asks up to which version a watch must have come to have all that is committed now; see Watches.',
    { requestId: u32, watchId: u32 },
  ),
  watchSynced: message(
    133,
    'When a watch was told all up to committedVersion, it is as new as when that was asked.',
    {
      requestId: u32,
      throughVersion: u53,
      committedVersion: u53,
    },
  ),
  requestVote: message(32, 'A candidate, or with preVote one that might become one, asks for a vote.', {
    group: u32,
    term: u53,
    preVote: bool,
    force: bool,
    lastIndex: u53,
    lastTerm: u53,
  }),
  voteReply: message(33, 'The answer to requestVote.', {
    group: u32,
    term: u53,
    preVote: bool,
    granted: bool,
    commitIndex: u53,
    commitTerm: u53,
  }),
  append: message(34, 'The leader replicates entries that follow previousIndex.', {
    group: u32,
    term: u53,
    previousIndex: u53,
    previousTerm: u53,
    commitIndex: u53,
    allMatchedIndex: u53,
    entries: entryList,
  }),
  appendReply: message(35, 'The answer to append: how far the logs match, or where they may.', {
    group: u32,
    term: u53,
    accepted: bool,
    matchIndex: u53,
    rejectedIndex: u53,
    hintIndex: u53,
    hintTerm: u53,
  }),
  heartbeat: message(
    36,
    'Shows that the leader is there; it still leads when a quorum has answered the round.',
    {
      group: u32,
      term: u53,
      commitIndex: u53,
      round: u53,
    },
  ),
  heartbeatReply: message(
    37,
    'The answer to heartbeat; for promisedMs its sender votes for no other leader.',
    {
      group: u32,
      term: u53,
      round: u53,
      promisedMs: u32,
    },
  ),
  timeoutNow: message(38, 'The leader transfers leadership: the receiver is to campaign at once.', {
    group: u32,
    term: u53,
  }),
  readIndex: message(39, 'A follower asks the leader for an index to read at.', {
    group: u32,
    term: u53,
    id: u53,
  }),
  readIndexReply: message(40, 'The answer to readIndex.', { group: u32, term: u53, id: u53, index: u53 }),
  snapshotOffer: message(
    41,
    'The leader offers a snapshot by the number of its checkpoint: last entry, configuration there, files.',
    {
      group: u32,
      term: u53,
      checkpoint: u53,
      index: u53,
      snapshotTerm: u53,
      configuration: bytes,
      files: list(struct({ name: string, sizeBytes: u53 })),
    },
  ),
  snapshotWanted: message(
    42,
    'The first byte of a snapshot that the receiver lacks. file = files: none. Beyond the end of the file: it is busy.',
    {
      group: u32,
      term: u53,
      checkpoint: u53,
      file: u32,
      offset: u53,
    },
  ),
  snapshotChunk: message(43, 'A part of a file of a snapshot, with its CRC-32.', {
    group: u32,
    term: u53,
    checkpoint: u53,
    file: u32,
    offset: u53,
    checksum: u32,
    bytes,
  }),
  birth: message(
    44,
    'How far the birth of its cluster is on this node, whether it is a member there with this data folder, and its engine.',
    {
      phase: enumeration({ untouched: 1, proposed: 2, adopted: 3, born: 4 }),
      incarnation: string,
      founders: list(struct({ id: u32, storeId: string })),
      joins: bool,
      placement: struct({
        by: placementKind,
        hashVersion: u32,
        tablets: u32,
        splits: list(string),
        replicas: u32,
      }),
      configurationIndex: u53,
      members: list(u32),
      isMember: bool,
      starts: u53,
      run: string,
      logs: list(struct({ tablet: u32, lastIndex: u53 })),
      engine: string,
    },
  ),
  fragment: message(
    45,
    'A part of the body of a message of type `of`; `remaining` bytes of it follow in further fragments.',
    { of: u32, remaining: u32, bytes },
  ),
  fragmentsReceived: message(46, 'How many `bytes` of fragments have come on this connection so far.', {
    totalBytes: u53,
  }),
  quietOffer: message(
    47,
    'The leader has no work: whose log ends at index, and is applied, may stop its election timer under this epoch.',
    { group: u32, term: u53, index: u53, round: u53, epoch: u53 },
  ),
  quietReply: message(
    48,
    'The sender is quiet since the offer of this round, or (`isQuiet` false) not any more.',
    {
      group: u32,
      term: u53,
      round: u53,
      isQuiet: bool,
    },
  ),
  alive: message(
    49,
    'The sender is alive, and keeps its promise to quiet groups; a new epoch breaks the earlier promises.',
    { epoch: u53 },
  ),
  messages: message(
    50,
    'Short messages of several groups, in order; each has the number and the body of a frame of its own.',
    { messages: listed },
  ),
  appends: message(51, 'The same for short appends.', { messages: listed }),
  nodeRequest: message(52, 'A request of one node to another, as JSON; the answer has the same id.', {
    id: u53,
    body: string,
  }),
  nodeReply: message(53, 'The answer to nodeRequest, as JSON.', { id: u53, body: string }),
  moveReplica: message(140, 'Asks any node for a replica of a tablet to go from one node to another.', {
    requestId: u32,
    tablet: u32,
    from: u32,
    to: u32,
  }),
  mergeTablets: message(146, 'Asks any node for two tablets that lie side by side to become one.', {
    requestId: u32,
    left: u32,
    right: u32,
  }),
  drainNode: message(141, 'Asks any node for a node to be emptied of tablets, or not any more.', {
    requestId: u32,
    nodeId: u32,
    isDraining: bool,
  }),
  balance: message(
    144,
    'Asks any node to switch the balancer, which moves replicas and leaders without being asked, and what it would do.',
    { requestId: u32, action: enumeration({ show: 1, on: 2, off: 3 }) },
  ),
  balanceReply: message(
    145,
    'What the balancer sees, what is under way and what comes next. A node 0 in a step: a replica only comes, or goes.',
    {
      requestId: u32,
      isOn: bool,
      changed: bool,
      plannerId: u32,
      maxMoves: u32,
      deadAfterMs: u53,
      nodes: list(
        struct({
          nodeId: u32,
          condition: enumeration({ takesPart: 1, drains: 2, full: 3, silent: 4, dead: 5 }),
          silentMs: u53,
          tablets: u32,
        }),
      ),
      steps: list(
        struct({
          kind: enumeration({ move: 1, lead: 2, vote: 3 }),
          tablet: u32,
          from: u32,
          to: u32,
          reason: string,
          state: enumeration({ underWay: 1, next: 2 }),
        }),
      ),
      furtherSteps: u32,
    },
  ),
  load: message(130, 'Asks a node what it carries.', { requestId: u32 }),
  loadReply: message(
    131,
    'What a node carries: counts since its process was started, and how long work took in its last seconds.',
    {
      requestId: u32,
      reads: u53,
      writes: u53,
      pendingRequests: u32,
      residentBytes: u53,
      processorMs: u53,
      commit: optional(quantiles),
      apply: optional(quantiles),
      sync: optional(quantiles),
      loopDelayUs: optional(u53),
      writtenBytes: u53,
      freeBytes: optional(u53),
    },
  ),
} as const;

/**
 * Whether a frame of this number begins with `requestId`. A node answers such a frame under that id also if it does not
 * know the number: a later version may have sent it.
 */
export function isRequestNumber(number: number): boolean {
  return (number >= 16 && number <= 31) || (number >= 128 && number <= 255);
}

export type MessageName = keyof typeof MESSAGES;
type FieldsOf<Name extends MessageName> = (typeof MESSAGES)[Name]['fields'];

/** A received message of one type. Its byte strings are views of received memory. */
export type MessageOf<Name extends MessageName> = { readonly type: Name } & DecodedFields<FieldsOf<Name>>;
/** Any received message. `type` tells which. */
export type Message = { [Name in MessageName]: MessageOf<Name> }[MessageName];

/** A message of one type as it is sent. A byte string may be any Uint8Array. */
export type OutboundOf<Name extends MessageName> = { readonly type: Name } & EncodableFields<FieldsOf<Name>>;
export type OutboundMessage = { [Name in MessageName]: OutboundOf<Name> }[MessageName];

/** Messages that a client sends and the node answers under the same requestId. */
export type RequestName =
  | 'write'
  | 'get'
  | 'scan'
  | 'openSession'
  | 'status'
  | 'tablets'
  | 'load'
  | 'changeMembers'
  | 'transferLeader'
  | 'splitTablet'
  | 'moveReplica'
  | 'mergeTablets'
  | 'drainNode'
  | 'balance'
  | 'watch'
  | 'watchSync';
export type Request = { [Name in RequestName]: MessageOf<Name> }[RequestName];

/** One element of `write.operations` as it is sent. */
export type OutboundOperation = OutboundOf<'write'>['operations'][number];
