/** Messages as requests to kv/, results as messages; and what the document says of errors is what kv/ means. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { readOf, replyTo, writeOf } from '../../../src/doors/native/translation.js';
import { ADMINISTRATION_ERROR_OUTCOMES } from '../../../src/doors/ports.js';
import { commandOf, encodeWrite } from '../../../src/kv/command.js';
import { KV_ERROR_OUTCOMES, kvError } from '../../../src/kv/kv-error.js';
import { decodeMessage, encodeMessage } from '../../../src/protocol/codec.js';
import { ERROR_CODES, isErrorCode } from '../../../src/protocol/error-codes.js';
import type { Message, OutboundMessage } from '../../../src/protocol/messages.js';
import { AT_0 } from '../../kv/kv-lab.js';
import { SAMPLES } from '../../protocol/samples.js';

/** The message as it arrives. */
function received<Name extends Message['type']>(
  message: OutboundMessage & { readonly type: Name },
): Extract<Message, { readonly type: Name }> {
  const { type, body } = encodeMessage(message);
  return decodeMessage({ type, body: Buffer.concat(body) }) as Extract<Message, { readonly type: Name }>;
}

test('every field of a write arrives in the command; session 0 is none', () => {
  const request = writeOf(received(SAMPLES.write));
  assert.equal(request.session, { id: 5, sequence: 3, acknowledgedThrough: 2, after: 1 });
  assert.equal(request.operations, SAMPLES.write.operations);
  const { tablet, ...write } = request;
  assert.is(tablet, 7);
  const command = commandOf(encodeWrite(77, request, { nowMs: () => 8.9 }));
  assert.is(
    JSON.stringify(sorted(command)),
    JSON.stringify(sorted({ ...write, maxValueBytes: 77, stampMs: 8 })),
  );
  assert.is(writeOf(received({ ...SAMPLES.write, sessionId: 0 })).session, undefined);
});

/** The fields in one order, at the first two levels. */
function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}

test('every action and condition of the protocol is one of kv', () => {
  for (const action of ['put', 'append', 'delete', 'check', 'expire', 'persist'] as const)
    for (const condition of ['always', 'exists', 'absent', 'valueIs', 'versionIs'] as const) {
      const operations = [{ ...SAMPLES.write.operations[0], action, condition }] as never;
      const request = writeOf(received({ ...SAMPLES.write, operations }));
      const command = commandOf(encodeWrite(1, request, AT_0));
      assert.ok(command.type === 'write');
      assert.equal([command.operations[0]?.action, command.operations[0]?.condition], [action, condition]);
    }
});

test('reads arrive whole', () => {
  for (const sample of [SAMPLES.get, SAMPLES.scan]) {
    const { requestId: _, ...fields } = sample;
    assert.equal(readOf(received(sample)), fields);
  }
});

test('results are answered under the number of their request', () => {
  const value = Buffer.from('v');
  const entries = [{ key: Buffer.from('k'), version: 3, value }];
  const results = [{ status: 'ok' as const, existed: false, version: 9 }];
  assert.equal(
    [
      replyTo(7, { type: 'written', write: { applied: true, index: 9, results } }),
      replyTo(7, { type: 'sessionOpened', sessionId: 4, window: 2 }),
      replyTo(7, { type: 'found', version: 3, value }),
      replyTo(7, { type: 'absent' }),
      replyTo(7, { type: 'page', entries, more: true }),
      replyTo(7, { type: 'done', index: 5, changed: false, warnings: ['w'] }),
    ],
    [
      { type: 'writeReply', requestId: 7, applied: true, index: 9, results },
      { type: 'sessionOpened', requestId: 7, sessionId: 4, window: 2 },
      { type: 'getReply', requestId: 7, found: true, version: 3, value, remainingMs: undefined },
      {
        ...{ type: 'getReply', requestId: 7, found: false, version: 0 },
        ...{ value: Buffer.alloc(0), remainingMs: undefined },
      },
      { type: 'scanReply', requestId: 7, entries, more: true, coveredTo: undefined },
      { type: 'done', requestId: 7, index: 5, changed: false, warnings: ['w'] },
    ],
  );
});

test('an error keeps its outcome, whatever its code usually means, and names the leader', () => {
  const error = (code: 'NOT_LEADER' | 'LEADERSHIP_LOST') => replyTo(7, kvError(code, 'text', 'notCommitted'));
  const base = { type: 'error', requestId: 7, message: 'text', outcome: 'notCommitted' };
  const nobody = { leaderId: 0, leaderAddress: '' };
  assert.equal(error('LEADERSHIP_LOST'), { ...base, code: 'LEADERSHIP_LOST', ...nobody });
  assert.equal(replyTo(7, { ...kvError('NOT_LEADER', 'text'), leader: { id: 3, address: 'n3:7001' } }), {
    ...base,
    code: 'NOT_LEADER',
    leaderId: 3,
    leaderAddress: 'n3:7001',
  });
});

test('PROTOCOL.md has every code of kv and of the administration, with the outcome that it means there', () => {
  const meant = { ...KV_ERROR_OUTCOMES, ...ADMINISTRATION_ERROR_OUTCOMES };
  for (const [code, outcome] of Object.entries(meant)) {
    assert.ok(isErrorCode(code), code);
    assert.equal([code, ERROR_CODES[code].outcome, ERROR_CODES[code].about], [code, outcome, 'request']);
  }
});

test.run();
