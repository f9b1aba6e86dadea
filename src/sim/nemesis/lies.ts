/** Messages between nodes that would do harm if nodes accepted them. */

import { ONE_TABLET } from '../../placement/placement.js';
import { encodeMessage } from '../../protocol/codec.js';
import type { OutboundMessage } from '../../protocol/messages.js';
import { configurationOf } from '../../raft/configuration.js';
import { encodeChange, encodeConfiguration } from '../../raft/configuration-codec.js';
import type { SeededRandom } from '../world/seeded-random.js';

/** What every client can learn from a node's status. */
export interface Hearsay {
  readonly term: number;
  readonly lastIndex: number;
  readonly commitIndex: number;
  readonly voters: readonly number[];
}

const GROUP = 1;
const MOST = Number.MAX_SAFE_INTEGER;

export type Lie = (known: Hearsay, random: SeededRandom) => readonly OutboundMessage[];

/** By what it is about. */
export const LIES: Readonly<Record<string, Lie>> = {
  absurdTerm: ({ lastIndex }, random) => {
    const term = random.pick([MOST, MOST - 1, MOST - 1000]);
    const head = { group: GROUP, term };
    return [
      random.pick<OutboundMessage>([
        { type: 'heartbeat', ...head, commitIndex: 0, round: 1 },
        {
          type: 'appendReply',
          ...head,
          accepted: true,
          matchIndex: 1,
          rejectedIndex: 0,
          hintIndex: 0,
          hintTerm: 0,
        },
        { type: 'requestVote', ...head, preVote: false, force: true, lastIndex, lastTerm: term },
        { type: 'voteReply', ...head, preVote: false, granted: true, commitIndex: 0, commitTerm: 0 },
        { type: 'heartbeatReply', ...head, round: 1, promisedMs: 0 },
        { type: 'timeoutNow', ...head },
        append(term, { previousIndex: lastIndex, previousTerm: term, entries: [] }),
      ]),
    ];
  },
  secondLeader: ({ term, lastIndex, commitIndex }, random) => {
    const next = term + random.between(0, 1);
    return [
      { type: 'heartbeat', group: GROUP, term: next, commitIndex, round: 1 },
      { type: 'quietOffer', group: GROUP, term: next, index: lastIndex, round: 1, epoch: 1 },
      append(next, {
        previousIndex: lastIndex,
        previousTerm: term,
        commitIndex: lastIndex + 1,
        entries: [{ term: next, kind: 'noop', body: Buffer.alloc(0) }],
      }),
    ];
  },
  unreadableEntry: ({ term, lastIndex }, random) => [
    append(term, {
      previousIndex: lastIndex,
      previousTerm: term,
      commitIndex: lastIndex + 1,
      entries: [{ term, kind: 'command', body: random.bytes(random.between(0, 40)) }],
    }),
  ],
  forgedMembers: ({ term, lastIndex, voters }, random) => {
    const changes = random.chance(0.5)
      ? voters.map((node) => ({ type: 'remove', node }) as const)
      : [{ type: 'addVoter', node: 66, context: '' } as const];
    const body = encodeChange({ changes, transition: 'auto' });
    return [
      append(term, {
        previousIndex: lastIndex,
        previousTerm: term,
        commitIndex: lastIndex + 1,
        entries: [{ term, kind: 'configuration', body }],
      }),
    ];
  },
  forgedReplies: ({ term, lastIndex }) => [
    {
      ...{ type: 'appendReply', group: GROUP, term, accepted: true },
      ...{ matchIndex: lastIndex + 1000, rejectedIndex: 0, hintIndex: 0, hintTerm: 0 },
    },
    { type: 'heartbeatReply', group: GROUP, term, round: MOST, promisedMs: 60_000 },
    { type: 'quietReply', group: GROUP, term, round: 0, isQuiet: true },
    { type: 'alive', epoch: 1 },
    { type: 'readIndexReply', group: GROUP, term, id: 1, index: 0 },
  ],
  votes: ({ term, lastIndex }, random) => [
    {
      ...{
        type: 'requestVote',
        group: GROUP,
        term: term + 1,
        preVote: random.chance(0.5),
        force: random.chance(0.5),
      },
      ...{ lastIndex: lastIndex + 1_000_000, lastTerm: term + 1 },
    },
    {
      ...{ type: 'voteReply', group: GROUP, term: term + 1, preVote: random.chance(0.5), granted: true },
      ...{ commitIndex: lastIndex, commitTerm: term },
    },
  ],
  lists: ({ term, lastIndex, commitIndex }, random) => {
    const beat = {
      type: 'heartbeat',
      group: GROUP,
      term: term + 1,
      commitIndex: lastIndex,
      round: 1,
    } as const;
    const stray = { type: 'heartbeat', group: 99, term, commitIndex, round: 1 } as const;
    const order = { type: 'timeoutNow', group: GROUP, term } as const;
    const listed = [beat, stray, order].map(inList);
    return [
      random.pick<OutboundMessage>([
        { type: 'messages', messages: listed },
        { type: 'messages', messages: [...listed, inList({ type: 'messages', messages: listed })] },
        { type: 'messages', messages: [...listed, inList({ type: 'ping', nextWithinMs: 1 })] },
        { type: 'appends', messages: listed },
        { type: 'appends', messages: [] },
      ]),
    ];
  },
  orders: ({ term }) => [{ type: 'timeoutNow', group: GROUP, term }],
  hugeSnapshot: ({ term, voters }, random) => [
    {
      ...{ type: 'snapshotOffer', group: GROUP, term, checkpoint: 1 },
      ...{ index: random.pick([MOST, 1_000_000]), snapshotTerm: term },
      configuration: encodeConfiguration(configurationOf(voters)),
      files: Array.from({ length: random.pick([1, 200]) }, (_, i) => ({ name: `${i}.sst`, sizeBytes: MOST })),
    },
    {
      ...{ type: 'snapshotChunk', group: GROUP, term, checkpoint: 1, file: 0, offset: 0 },
      ...{ checksum: 0, bytes: Buffer.alloc(1000) },
    },
    { type: 'snapshotWanted', group: GROUP, term, checkpoint: 1, file: 0, offset: MOST },
  ],
  births: ({ lastIndex }, random) => [
    {
      type: 'birth',
      phase: random.pick<'untouched' | 'proposed' | 'adopted'>(['untouched', 'proposed', 'adopted']),
      incarnation: random.chance(0.5) ? '' : 'ab'.repeat(16),
      founders: [1, 2, 3].map((id) => ({ id, storeId: 'cd'.repeat(16) })),
      joins: random.chance(0.5),
      placement: ONE_TABLET,
      configurationIndex: random.pick([0, lastIndex, MOST]),
      members: random.pick([[], [1000], [1, 2]]),
      isMember: random.chance(0.5),
      ...{
        starts: random.pick([0, 1, MOST]),
        run: 'ef',
        logs: random.pick([[], [{ tablet: 1, lastIndex: MOST }]]),
      },
      engine: 'lsm',
    },
  ],
  unfinishedFragment: (_, random) => [
    {
      ...{ type: 'fragment', of: random.pick([34, 41, 43, 36, 99]) },
      ...{
        remaining: random.pick([1, 8 * 1024 * 1024, 0xffff_ffff]),
        bytes: Buffer.alloc(random.pick([0, 100, 20_000])),
      },
    },
  ],
};

/** Sent by a node that is no member. */
export const WITHSTOOD_WITHOUT_SECRET: readonly string[] = [
  'absurdTerm',
  'forgedReplies',
  'births',
  'unfinishedFragment',
  'orders',
];

function inList(message: OutboundMessage): { readonly number: number; readonly body: Uint8Array } {
  const { type: number, body } = encodeMessage(message);
  return { number, body: Buffer.concat(body) };
}

function append(
  term: number,
  rest: Omit<
    Extract<OutboundMessage, { type: 'append' }>,
    'type' | 'group' | 'term' | 'allMatchedIndex' | 'commitIndex'
  > & {
    readonly commitIndex?: number;
  },
): OutboundMessage {
  return { type: 'append', group: GROUP, term, allMatchedIndex: 0, commitIndex: 0, ...rest };
}
