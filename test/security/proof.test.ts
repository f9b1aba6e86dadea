/** The proof of the cluster secret: what it binds, and its bytes. */
import { createHmac } from 'node:crypto';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Meeting, NONCE_BYTES, prove, provenSecret } from '../../src/security/proof.js';

const SECRET = Buffer.from('a secret of tests');
const OTHER = Buffer.from('another secret of tests');
const MEETING: Meeting = {
  connecting: {
    party: { role: 'peer', clusterId: 'demo', nodeId: 2, storeId: 's2' },
    nonce: Buffer.alloc(NONCE_BYTES, 1),
  },
  accepting: {
    party: { role: 'peer', clusterId: 'demo', nodeId: 1, storeId: 's1' },
    nonce: Buffer.alloc(NONCE_BYTES, 2),
  },
};

test('the bytes are those that PROTOCOL.md describes', () => {
  const fields = [
    'raftree cluster secret, proof of the connecting side',
    MEETING.connecting.nonce,
    MEETING.accepting.nonce,
    ...['peer', 'demo', '2', 's2', 'peer', 'demo', '1', 's1'],
  ];
  const hmac = createHmac('sha256', SECRET);
  for (const field of fields.map((each) => Buffer.from(each))) {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(field.length, 0);
    hmac.update(Buffer.concat([length, field]));
  }
  assert.equal(prove(SECRET, 'connecting', MEETING), hmac.digest());
});

test('a proof is taken from who has one of the secrets, and it is known which', () => {
  const proof = prove(OTHER, 'connecting', MEETING);
  assert.is(provenSecret([SECRET, OTHER], 'connecting', MEETING, proof), OTHER);
  assert.is(provenSecret([SECRET], 'connecting', MEETING, proof), undefined);
  assert.is(provenSecret([], 'connecting', MEETING, proof), undefined);
});

test('a proof holds for its own side, its own meeting and its own parties', () => {
  const proof = prove(SECRET, 'connecting', MEETING);
  assert.is(provenSecret([SECRET], 'accepting', MEETING, proof), undefined, 'reflected');
  const { connecting, accepting } = MEETING;
  const others: readonly Meeting[] = [
    { connecting, accepting: { ...accepting, nonce: Buffer.alloc(NONCE_BYTES, 3) } },
    { connecting: { ...connecting, nonce: Buffer.alloc(NONCE_BYTES, 3) }, accepting },
    { connecting: accepting, accepting: connecting },
    ...(['role', 'clusterId', 'storeId'] as const).flatMap((field) => [
      { connecting: { ...connecting, party: { ...connecting.party, [field]: 'other' } }, accepting },
      { connecting, accepting: { ...accepting, party: { ...accepting.party, [field]: 'other' } } },
    ]),
    { connecting: { ...connecting, party: { ...connecting.party, nodeId: 3 } }, accepting },
    { connecting, accepting: { ...accepting, party: { ...accepting.party, nodeId: 3 } } },
    // What moves from one field to the next is another meeting.
    {
      connecting: { ...connecting, party: { ...connecting.party, role: 'peerd', clusterId: 'emo' } },
      accepting,
    },
  ];
  for (const other of others) assert.is(provenSecret([SECRET], 'connecting', other, proof), undefined);
});

test('a proof that is cut, lengthened, empty or changed in any bit is none', () => {
  const proof = prove(SECRET, 'accepting', MEETING);
  const wrong = [Buffer.alloc(0), proof.subarray(0, 31), Buffer.concat([proof, Buffer.alloc(1)])];
  for (let bit = 0; bit < 8 * proof.length; bit++) {
    const changed = Buffer.from(proof);
    changed[bit >> 3] = (changed[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    wrong.push(changed);
  }
  for (const each of wrong) assert.is(provenSecret([SECRET], 'accepting', MEETING, each), undefined);
});

test.run();
