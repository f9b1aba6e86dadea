/** What replicas say to each other, through the protocol and back. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { encodeOpenSession } from '../../src/kv/command.js';
import { decodeMessage, encodeMessage } from '../../src/protocol/codec.js';
import { MESSAGES, type OutboundMessage } from '../../src/protocol/messages.js';
import { configurationOf } from '../../src/raft/configuration.js';
import { encodeChange } from '../../src/raft/configuration-codec.js';
import type { ReplicaMessage } from '../../src/replica/snapshot-messages.js';
import { fromProtocol, toProtocol } from '../../src/server/raft-messages.js';
import { SAMPLES } from '../protocol/samples.js';

function travelled(message: OutboundMessage) {
  const frame = encodeMessage(message);
  return decodeMessage({ type: MESSAGES[message.type].number, body: Buffer.concat(frame.body) });
}

const CHANGE = encodeChange({ changes: [{ type: 'addVoter', node: 4, context: 'n4' }], transition: 'joint' });

const SENT: readonly ReplicaMessage[] = [
  { type: 'requestVote', term: 5, preVote: false, force: true, lastIndex: 9, lastTerm: 4 },
  { type: 'timeoutNow', term: 5 },
  { type: 'readIndex', term: 5, id: 3 },
  { type: 'readIndexReply', term: 5, id: 3, index: 9 },
  {
    type: 'append',
    term: 5,
    previousIndex: 8,
    previousTerm: 4,
    commitIndex: 7,
    allMatchedIndex: 6,
    entries: [
      { term: 5, kind: 'noop', body: Buffer.alloc(0) },
      { term: 5, kind: 'configuration', body: CHANGE },
      { term: 5, kind: 'command', body: encodeOpenSession(7) },
    ],
  },
  {
    type: 'snapshotOffer',
    term: 5,
    checkpoint: 77,
    snapshot: {
      index: 9,
      term: 4,
      configuration: {
        ...configurationOf([1, 2], { 1: 'n1' }),
        outgoing: [1, 3],
        learnersNext: [3],
        autoLeave: true,
      },
    },
    files: [{ name: 'MANIFEST', sizeBytes: 100 }],
  },
  { type: 'snapshotWanted', term: 5, checkpoint: 77, file: 0, offset: 50 },
  {
    type: 'snapshotChunk',
    term: 5,
    checkpoint: 77,
    file: 0,
    offset: 50,
    checksum: 7,
    bytes: Buffer.from('bytes'),
  },
];

test('every message arrives as it was sent', () => {
  for (const message of SENT) {
    const received = fromProtocol(travelled(toProtocol(3, message)));
    assert.is(received?.group, 3);
    for (const [field, value] of Object.entries(message)) {
      if (field !== 'entries') assert.equal(Reflect.get(received?.message ?? {}, field), value, field);
    }
    if (message.type !== 'append' || received?.message.type !== 'append') continue;
    assert.equal(
      received.message.entries.map(({ term, kind, body }) => ({ term, kind, body: Buffer.from(body) })),
      message.entries,
    );
  }
});

test("a client's message is none between replicas", () => {
  for (const name of ['get', 'write', 'status', 'changeMembers'] as const) {
    assert.is(fromProtocol(travelled(SAMPLES[name])), undefined);
  }
});

test('what only looks like a message between replicas is refused', () => {
  const { append, snapshotOffer } = SAMPLES;
  const messages: OutboundMessage[] = [
    append,
    { ...append, entries: [{ term: 4, kind: 'configuration', body: Buffer.from('no change') }] },
    {
      ...append,
      entries: [
        {
          ...{ term: 4, kind: 'configuration' },
          body: encodeChange({ changes: [{ type: 'addVoter', node: 0 }], transition: 'auto' }),
        },
      ],
    },
    { ...append, entries: [{ term: 4, kind: 'command', body: Buffer.from('no command') }] },
    snapshotOffer,
    { ...snapshotOffer, configuration: Buffer.alloc(0) },
  ];
  for (const message of messages) {
    assert.throws(
      () => fromProtocol(travelled(message)),
      (error: Error) => errorCode(error) === 'MALFORMED_MESSAGE',
    );
  }
});

test('an entry that nobody can apply is taken only if it is committed: then it is void for all alike', () => {
  const entries = [{ term: 4, kind: 'command' as const, body: Buffer.from('no command') }];
  const sent = (commitIndex: number) =>
    fromProtocol(travelled({ ...SAMPLES.append, previousIndex: 8, commitIndex, entries }));
  assert.throws(() => sent(8), /cannot be read/);
  assert.is(sent(9)?.message.type, 'append');
});

test.run();
