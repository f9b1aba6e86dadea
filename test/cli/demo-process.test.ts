/** `raftree demo` as a process: what it tells to try works, over HTTP and for clients of Redis, and it ends cleanly. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as net from 'node:net';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAIN, until } from '../support/process-cluster.js';

test('the page, a value over HTTP, and the same for a client of Redis; Ctrl-C ends it', async () => {
  const demo = spawn(process.execPath, [MAIN, 'demo'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const ended = once(demo, 'close');
  try {
    let told = '';
    demo.stdout.setEncoding('utf8').on('data', (text: string) => {
      told += text;
    });
    await until(async () => told.includes('Ctrl-C ends it'), 'the demo runs');
    const url = /curl (http:\S+)/.exec(told)?.[1] ?? '';
    const page = await fetch(new URL('/', url));
    assert.match(await page.text(), /<title>Raftree<\/title>/);
    assert.is((await fetch(url, { method: 'PUT', body: 'hello' })).status, 204);
    const port = Number(/redis-cli -p (\d+) get greeting/.exec(told)?.[1]);
    const socket = net.connect(port, '127.0.0.1');
    socket.write('GET greeting\r\n');
    const [answer] = (await once(socket, 'data')) as [Buffer];
    socket.destroy();
    assert.is(answer.toString(), '$5\r\nhello\r\n');
  } finally {
    demo.kill('SIGINT');
    const [code] = await ended;
    assert.is(code, 0);
  }
});

test.run();
