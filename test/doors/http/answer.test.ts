/** How answers are sent: what a body holds is given back, however the answer ends. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Answer, send } from '../../../src/doors/http/answer.js';
import { realEnv } from '../../../src/env/real/real-env.js';

/** Asks a server that answers so. `sent`: why sending failed, if it did; `received`: whether all of it came. */
async function asked(method: string, answer: Answer): Promise<{ sent: unknown; received: boolean }> {
  let sent: Promise<unknown> = Promise.resolve();
  const server = createServer((request, response) => {
    sent = send(response, answer, request.method === 'HEAD', { env: realEnv(), stallMs: 10_000 }).then(
      () => undefined,
      (error: unknown) => error,
    );
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  const received = await fetch(url, { method })
    .then((response) => response.arrayBuffer())
    .then(
      () => true,
      () => false,
    );
  const failure = await sent;
  server.close();
  server.closeAllConnections();
  return { sent: failure, received };
}

test('an answer to HEAD gives its body up', async () => {
  let isOver = false;
  async function* body(): AsyncGenerator<Buffer> {
    try {
      for (;;) yield Buffer.alloc(64 * 1024);
    } finally {
      isOver = true;
    }
  }
  assert.equal(await asked('HEAD', { status: 200, body: body() }), { sent: undefined, received: true });
  assert.is(isOver, true);
});

test('a body that fails cuts the answer off, so that the client sees that it is not whole', async () => {
  async function* body(): AsyncGenerator<Buffer> {
    yield Buffer.from('x');
    throw new Error('the next page cannot be read');
  }
  const { sent, received } = await asked('GET', { status: 200, body: body() });
  assert.match(String(sent), 'next page');
  assert.is(received, false);
});

test.run();
