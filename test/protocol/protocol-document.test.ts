/**
 * PROTOCOL.md against the code. When this fails because the protocol changed on purpose, write the document anew:
 *
 *     npm run build && node dist/test/protocol/protocol-document.test.js --update
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAX_PENDING_PER_CONNECTION } from '../../src/doors/native/request-handler.js';
import { MAX_GROWN_BYTES } from '../../src/kv/atomic-write.js';
import { DEFAULT_KV_LIMITS, MAX_REQUEST_BYTES, MAX_VALUE_BYTES } from '../../src/kv/limits.js';
import { MAX_KEPT_RESULTS, MAX_SESSIONS, MAX_WINDOW } from '../../src/kv/sessions.js';
import { DEFAULT_CHANNEL_OPTIONS } from '../../src/net/channel-options.js';
import { encodeFrame } from '../../src/net/frame-encoder.js';
import { encodeMessage } from '../../src/protocol/codec.js';
import { describeErrors, describeMessages } from '../../src/protocol/describe.js';
import { MAX_ANSWER_BYTES, requestFrameBytes } from '../../src/protocol/limits.js';
import type { OutboundMessage } from '../../src/protocol/messages.js';
import { DEFAULT_PROTOCOL_LIMITS, HELLO_FRAME_BYTES } from '../../src/protocol/protocol-pipeline.js';
import { prove } from '../../src/security/proof.js';
import { parseNodeConfig } from '../../src/server/config.js';
import { SAMPLES } from './samples.js';

// Compiled, this file is dist/test/protocol/…
const DOCUMENT = new URL('../../../PROTOCOL.md', import.meta.url);
const NOTHING = Buffer.alloc(0);

const EXAMPLE: readonly (readonly [string, OutboundMessage])[] = [
  [
    'client: hello',
    { type: 'hello', protocolVersion: 2, role: 'client', clusterId: '', nodeId: 0, storeId: '' },
  ],
  [
    'node: hello',
    { type: 'hello', protocolVersion: 2, role: 'server', clusterId: '', nodeId: 1, storeId: '' },
  ],
  ['node: limits', SAMPLES.limits],
  ['client: openSession', { type: 'openSession', tablet: 0, requestId: 1, window: 1024 }],
  ['node: sessionOpened', { type: 'sessionOpened', requestId: 1, sessionId: 5, window: 1024 }],
  [
    'client: write',
    {
      type: 'write',
      tablet: 0,
      requestId: 2,
      sessionId: 5,
      sequence: 1,
      acknowledgedThrough: 0,
      after: 0,
      operations: [
        {
          action: 'put',
          key: Buffer.from('apple'),
          value: Buffer.from('red'),
          condition: 'absent',
          conditionValue: NOTHING,
          conditionVersion: 0,
        },
      ],
    },
  ],
  [
    'node: writeReply',
    {
      type: 'writeReply',
      requestId: 2,
      applied: true,
      index: 6,
      results: [{ status: 'ok', existed: false, version: 6 }],
    },
  ],
  [
    'client: get',
    {
      type: 'get',
      tablet: 0,
      requestId: 3,
      consistency: 'linearizable',
      key: Buffer.from('apple'),
      omitValue: false,
    },
  ],
  ['node: getReply', { type: 'getReply', requestId: 3, found: true, version: 6, value: Buffer.from('red') }],
];

function describeExample(): string {
  const steps = EXAMPLE.map(([title, message]) => {
    const bytes = Buffer.concat(encodeFrame(encodeMessage(message))).toString('hex');
    const header = `${bytes.slice(0, 8)} ${bytes.slice(8, 16)}`;
    const body = (bytes.slice(16).match(/.{1,32}/g) ?? []).map((line) => line.replace(/(.{8})(?=.)/g, '$1 '));
    return [title, `  ${header}`, ...body.map((line) => `  ${line}`)].join('\n');
  });
  return `\`\`\`\n${steps.join('\n')}\n\`\`\``;
}

function bytesText(bytes: number): string {
  for (const [unit, size] of [
    ['MiB', 2 ** 20],
    ['KiB', 2 ** 10],
  ] as const)
    if (bytes % size === 0) return `${bytes / size} ${unit}`;
  return `${bytes} bytes`;
}

const count = (value: number): string => value.toLocaleString('en');
const time = (ms: number): string => (ms % 60_000 === 0 ? `${ms / 60_000} min` : `${ms / 1000} s`);

const DEFAULTS = parseNodeConfig(
  {
    clusterId: 'c',
    nodeId: 1,
    dataDirectory: 'd',
    nodes: [{ id: 1, client: '127.0.0.1:1', peer: '127.0.0.1:2' }],
  },
  'test',
  '/',
).limits;

function describeLimits(): string {
  const {
    maxKeyBytes,
    maxValueBytes,
    maxRequestBytes,
    maxOperationsPerRequest,
    maxScanEntries,
    maxScanBytes,
  } = DEFAULT_KV_LIMITS;
  const { highWaterBytes, slowReaderTimeoutMs } = DEFAULT_CHANNEL_OPTIONS;
  const { frameTimeoutMs, helloTimeoutMs } = DEFAULT_PROTOCOL_LIMITS;
  const rows = [
    ['a key', `1 byte to ${bytesText(maxKeyBytes)}`, '`KEY_EMPTY`, `KEY_TOO_LARGE`'],
    [
      'a value (`maxValueBytes`)',
      `${bytesText(maxValueBytes)} unless set otherwise; at most ${bytesText(MAX_VALUE_BYTES)}`,
      '`VALUE_TOO_LARGE`; of an `append` the result `valueTooLarge`',
    ],
    [
      'a request (`maxRequestBytes`)',
      `${bytesText(maxRequestBytes)} unless set otherwise; at most ${bytesText(MAX_REQUEST_BYTES)}`,
      '`REQUEST_TOO_LARGE`',
    ],
    [
      'operations of a write (`maxOperationsPerRequest`)',
      `1 to ${count(maxOperationsPerRequest)}`,
      '`INVALID_REQUEST` without any, `REQUEST_TOO_LARGE`',
    ],
    ['values that the appends of a write leave', bytesText(MAX_GROWN_BYTES), 'the result `valueTooLarge`'],
    [
      'the body of a request',
      `\`maxRequestBytes\` and ${bytesText(requestFrameBytes({ maxRequestBytes: 0 }))}`,
      '`FRAME_TOO_LARGE`',
    ],
    ['the body of an answer (`maxAnswerBytes`)', bytesText(MAX_ANSWER_BYTES), 'no node sends more'],
    ['a body before the handshake is done', bytesText(HELLO_FRAME_BYTES), '`FRAME_TOO_LARGE`'],
    [
      'a page of a scan',
      `${count(maxScanEntries)} entries, ${bytesText(maxScanBytes)} of keys and values; at least one entry`,
      '`more`',
    ],
    [
      'requests under way on a connection',
      count(MAX_PENDING_PER_CONNECTION),
      'the node reads no more until some are answered',
    ],
    [
      'requests under way on a node',
      `${count(DEFAULTS.maxPendingRequests)} unless set otherwise`,
      '`OVERLOADED`',
    ],
    [
      'answers that a client leaves unread',
      `${bytesText(highWaterBytes)} for ${time(slowReaderTimeoutMs)}`,
      'the connection is closed',
    ],
    [
      'sessions of a tablet',
      `${count(MAX_SESSIONS)}; in all of them ${count(MAX_KEPT_RESULTS)} results of operations`,
      'the session whose last write is the oldest ends: `SESSION_EXPIRED`',
    ],
    ['the window of a session', `1 to ${count(MAX_WINDOW)}`, 'the nearest that is allowed'],
    ['until the handshake is done', time(helloTimeoutMs), '`HELLO_TIMEOUT`'],
    ['a frame that does not go on', time(frameTimeoutMs), '`FRAME_TIMEOUT`'],
    ['silence of a client', `${time(DEFAULTS.clientIdleTimeoutMs)} unless set otherwise`, '`IDLE_TIMEOUT`'],
  ];
  return [
    '| of what | limit | beyond it |',
    '| --- | --- | --- |',
    ...rows.map((row) => `| ${row.join(' | ')} |`),
  ].join('\n');
}

function describeProofs(): string {
  const meeting = {
    connecting: {
      party: { role: 'administrator', clusterId: '', nodeId: 0, storeId: '' },
      nonce: Buffer.alloc(32, 1),
    },
    accepting: {
      party: { role: 'server', clusterId: '', nodeId: 1, storeId: '' },
      nonce: Buffer.alloc(32, 2),
    },
  };
  const proofs = (['connecting', 'accepting'] as const).map((side) => {
    const hex = prove(Buffer.from('raftree-example!'), side, meeting).toString('hex');
    return `${side} side\n  ${hex.replace(/(.{8})(?=.)/g, '$1 ')}`;
  });
  return `\`\`\`\n${proofs.join('\n')}\n\`\`\``;
}

function withGeneratedParts(document: string): string {
  const parts = {
    messages: describeMessages(),
    errors: describeErrors(),
    example: describeExample(),
    limits: describeLimits(),
    proofs: describeProofs(),
  };
  return Object.entries(parts).reduce(
    (text, [name, content]) =>
      text.replace(
        new RegExp(`(<!-- ${name}: generated -->\n)[^]*?(<!-- end -->)`),
        (_, begin: string, end: string) => `${begin}\n${content}\n\n${end}`,
      ),
    document,
  );
}

if (process.argv.includes('--update')) {
  writeFileSync(DOCUMENT, withGeneratedParts(readFileSync(DOCUMENT, 'utf8')));
}

test('PROTOCOL.md holds what the table says', () => {
  const document = readFileSync(DOCUMENT, 'utf8');
  assert.match(document, '### 16 write');
  assert.match(document, '`NOT_LEADER`');
  assert.is(document, withGeneratedParts(document), 'update it as the top of this file says');
});

test('the comparison notices a change', () => {
  const document = readFileSync(DOCUMENT, 'utf8');
  const changed = document.replace('### 16 write', '### 16 scribble');
  assert.is.not(changed, withGeneratedParts(changed));
});

test.run();
