/**
 * PROTOCOL.md against the code. When this fails because the protocol changed on purpose, write the document anew:
 *
 *     npm run build && node dist/test/protocol/protocol-document.test.js --update
 */

import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { encodeFrame } from '../../src/net/frame-encoder.js';
import { encodeMessage } from '../../src/protocol/codec.js';
import { describeErrors, describeMessages } from '../../src/protocol/describe.js';
import type { OutboundMessage } from '../../src/protocol/messages.js';
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
  ['client: openSession', { type: 'openSession', requestId: 1, window: 1024 }],
  ['node: sessionOpened', { type: 'sessionOpened', requestId: 1, sessionId: 5, window: 1024 }],
  [
    'client: write',
    {
      type: 'write',
      requestId: 2,
      sessionId: 5,
      sequence: 1,
      acknowledgedThrough: 0,
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
  ['client: get', { type: 'get', requestId: 3, consistency: 'linearizable', key: Buffer.from('apple') }],
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

function withGeneratedParts(document: string): string {
  const parts = { messages: describeMessages(), errors: describeErrors(), example: describeExample() };
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
