/** What clients may send to the RESP door and should not: refused in its own form, with everything bounded. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type HttpNode, RawConnection, startHttpNode } from '../../support/http-node.js';

const LIMITS = { maxValueBytes: 64 * 1024, maxRequestBytes: 256 * 1024 };
let node: HttpNode;
let port = 0;

test.before(async () => {
  node = await startHttpNode({}, { resp: { listen: '127.0.0.1:0' }, limits: LIMITS });
  port = node.node.addresses.resp?.port ?? 0;
});
test.after(() => node.close());

/** The answer to commands that are followed by QUIT. */
async function answers(text: string, to = port): Promise<string> {
  const connection = new RawConnection(to);
  connection.write(Buffer.from(`${text}\r\nQUIT\r\n`, 'latin1'));
  const all = await connection.closed;
  return all.replace(/\+OK\r\n$/, '');
}

test('bytes that are no command are answered, and the connection closes', async () => {
  assert.match(await answers('*1\r\n$536870912\r\n'), /^-ERR Protocol error: invalid bulk length\r\n$/);
  assert.match(await answers('*2000000\r\n'), /^-ERR Protocol error: invalid multibulk length\r\n$/);
  assert.match(
    await answers('PING\r\n*1\r\n:1'),
    /^\+PONG\r\n-ERR Protocol error: expected '\$', got ':'\r\n$/,
  );
});

test('a request that a browser was made to send ends the connection before its body is read', async () => {
  const all = await answers('POST / HTTP/1.1\r\nHost: x\r\n\r\nSET stolen 1');
  assert.match(all, /^-ERR unknown command 'POST'/);
  assert.is(await answers('EXISTS stolen'), ':0\r\n');
});

test('unknown commands, arity, options and numbers have the texts of Redis', async () => {
  assert.is(
    await answers('LPUSH a b'),
    "-ERR unknown command 'LPUSH', with args beginning with: 'a' 'b' \r\n",
  );
  assert.is(await answers('GET'), "-ERR wrong number of arguments for 'get' command\r\n");
  assert.is(await answers('SET a b EX'), '-ERR syntax error\r\n');
  assert.is(await answers('SET a b NX XX'), '-ERR syntax error\r\n');
  assert.is(await answers('SET a b EX 0'), "-ERR invalid expire time in 'set' command\r\n");
  assert.is(await answers('SET a b EX 9223372036854775807'), "-ERR invalid expire time in 'set' command\r\n");
  assert.is(await answers('INCRBY a x'), '-ERR value is not an integer or out of range\r\n');
  assert.is(await answers('SELECT 1'), '-ERR DB index is out of range\r\n');
  assert.is(await answers('HELLO 4'), '-NOPROTO unsupported protocol version\r\n');
  assert.is(await answers('SCAN 77'), '-ERR invalid cursor\r\n');
  assert.is(
    await answers('constructor'),
    "-ERR unknown command 'constructor', with args beginning with: \r\n",
  );
  assert.match(await answers('FLUSHALL'), /^-NOPERM .*resp\.allowFlush/);
});

test('sizes above the limits are errors', async () => {
  assert.match(await answers(`SET ${'k'.repeat(5000)} v`), /^-ERR KEY_TOO_LARGE/);
  assert.match(await answers('SET "" v'), /^-ERR KEY_EMPTY/);
  const large = 'v'.repeat(LIMITS.maxValueBytes + 1);
  assert.match(
    await answers(`*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$${large.length}\r\n${large}`),
    /^-ERR VALUE_TOO_LARGE/,
  );
  assert.match(
    await answers(`SETRANGE k ${LIMITS.maxValueBytes} x`),
    /^-ERR string exceeds maximum allowed size/,
  );
  assert.match(await answers(`RENAME k ${'k'.repeat(5000)}`), /^-ERR KEY_TOO_LARGE/);
});

test('a transaction holds few of the commands whose answers take long to make', async () => {
  const all = await answers(`MULTI\r\n${'COMMAND\r\n'.repeat(8)}INFO\r\nEXEC`);
  assert.match(all, /-ERR a transaction has at most 8 of LCS, COMMAND and INFO\r\n-EXECABORT/);
  assert.is(
    await answers('MSET x ab y bc\r\nMULTI\r\nLCS x y\r\nEXEC'),
    '+OK\r\n+OK\r\n+QUEUED\r\n*1\r\n$1\r\nb\r\n',
  );
});

test('no pattern stops the node: a long one is refused, a hard one leaves others their turn', async () => {
  const hard = `*[${'b'.repeat(100_000)}]`;
  const pattern = `$${hard.length}\r\n${hard}`;
  const scan = `*4\r\n$4\r\nSCAN\r\n$1\r\n0\r\n$5\r\nMATCH\r\n${pattern}`;
  const refused = '-ERR pattern is too long\r\n';
  assert.is(await answers(`*2\r\n$4\r\nKEYS\r\n${pattern}`), refused);
  assert.is(await answers(scan), refused);
  const prefix = 'p'.repeat(3000);
  await answers(`SET ${prefix}abc v`);
  assert.is(await answers(`KEYS ${prefix}*c`), `*1\r\n$3003\r\n${prefix}abc\r\n`);
  for (let i = 0; i < 40; i++) await answers(`SET ${'a'.repeat(4000)}${i} v`);
  const gaps: number[] = [];
  let lastMs = performance.now();
  const timer = setInterval(() => {
    gaps.push(performance.now() - lastMs);
    lastMs = performance.now();
  }, 1);
  const startedMs = performance.now();
  assert.is(await answers(`KEYS *${'a'.repeat(500)}b`), '*0\r\n');
  const tookMs = performance.now() - startedMs;
  clearInterval(timer);
  assert.ok(Math.max(...gaps) < tookMs / 3, `${Math.max(...gaps)} of ${tookMs} ms in one turn`);
});

async function metric(of: HttpNode, name: string): Promise<number> {
  const text = await (await fetch(`${of.url}/metrics`)).text();
  return Number(
    text
      .split('\n')
      .find((line) => line.startsWith(name))
      ?.split(' ')
      .at(-1),
  );
}

test('what a transaction and WATCH keep counts in the budget of the node, until they end', async () => {
  const connection = new RawConnection(port);
  const key = 'w'.repeat(4000);
  connection.write(`WATCH ${key}1 ${key}2 ${key}3\r\nMULTI\r\n`);
  for (let i = 0; i < 40; i++) connection.write(`SET kept ${'v'.repeat(5000)}\r\n`);
  await connection.until(/(\+QUEUED\r\n){40}/);
  assert.ok((await metric(node, 'raftree_buffered_bytes')) > 220_000);
  connection.write('DISCARD\r\nPING\r\n');
  await connection.until(/PONG/);
  assert.ok((await metric(node, 'raftree_buffered_bytes')) < 5000);
  connection.write('QUIT\r\n');
  await connection.closed;
});

test('an answer that becomes too large ends its reads early', async () => {
  const small = await startHttpNode({}, { resp: { listen: '127.0.0.1:0', maxBufferedBytes: 1024 * 1024 } });
  try {
    const to = small.node.addresses.resp?.port ?? 0;
    const value = 'v'.repeat(100_000);
    await answers(`*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$${value.length}\r\n${value}`, to);
    const before = await metric(small, 'raftree_reads_total{level="linearizable"}');
    assert.match(await answers(`MGET ${'k '.repeat(500)}`, to), /^-TRYAGAIN/);
    const reads = (await metric(small, 'raftree_reads_total{level="linearizable"}')) - before;
    assert.ok(reads > 0 && reads <= 32, `${reads} reads`);
  } finally {
    await small.close();
  }
});

test('transactions: nested, aborted, without MULTI, with commands on all keys', async () => {
  assert.is(await answers('EXEC\r\nDISCARD'), '-ERR EXEC without MULTI\r\n-ERR DISCARD without MULTI\r\n');
  assert.is(
    await answers('MULTI\r\nMULTI\r\nWATCH a\r\nEXEC'),
    '+OK\r\n-ERR MULTI calls can not be nested\r\n-ERR WATCH inside MULTI is not allowed\r\n*0\r\n',
  );
  const aborted = await answers('MULTI\r\nSET t 1\r\nGET\r\nEXEC\r\nGET t');
  assert.match(aborted, /-EXECABORT Transaction discarded because of previous errors\.\r\n\$-1\r\n$/);
  assert.match(
    await answers('MULTI\r\nKEYS *\r\nEXEC'),
    /-ERR Command not allowed inside a transaction\r\n-EXECABORT/,
  );
  const partly = await answers('MULTI\r\nSET t x\r\nINCR t\r\nAPPEND t y\r\nGET t\r\nPING\r\nEXEC');
  assert.match(
    partly,
    /\*5\r\n\+OK\r\n-ERR value is not an integer or out of range\r\n:2\r\n\$2\r\nxy\r\n\+PONG\r\n$/,
  );
  assert.match(await answers('MULTI\r\nCLIENT SETNAME n\r\nDISCARD\r\nCLIENT GETNAME'), /\+OK\r\n\$-1\r\n$/);
});

test('a client sees its own writes, and gets its answers in order, whatever it sends at once', async () => {
  const lines = Array.from({ length: 3000 }, (_none, i) =>
    i % 3 === 0 ? 'GET p' : i % 3 === 1 ? 'INCR p' : 'PING',
  );
  const all = await answers(lines.join('\r\n'));
  let count = 0;
  const expected = lines.map((line) => {
    if (line === 'PING') return '+PONG\r\n';
    if (line === 'INCR p') return `:${++count}\r\n`;
    return count === 0 ? '$-1\r\n' : `$${String(count).length}\r\n${count}\r\n`;
  });
  assert.is(all, expected.join(''));
});

test('who has shown no token may say little', async () => {
  const guarded = await startHttpNode(
    {},
    { resp: { listen: '127.0.0.1:0', tokenFile: 'token' } },
    { token: 'a-long-enough-token-for-the-door\n' },
  );
  try {
    const to = guarded.node.addresses.resp?.port ?? 0;
    assert.is(await answers('GET a', to), '-NOAUTH Authentication required.\r\n');
    assert.is(await answers('MULTI\r\nWATCH a', to), '-NOAUTH Authentication required.\r\n'.repeat(2));
    assert.match(await answers('HELLO 3', to), /^-NOAUTH HELLO must be called/);
    assert.match(await answers('AUTH wrong\r\nGET a', to), /^-WRONGPASS .*\r\n-NOAUTH/);
    assert.match(await answers('*11\r\n', to), /too many arguments/);
    assert.match(await answers('*1\r\n$20000\r\n', to), /invalid bulk length/);
    const good = 'a-long-enough-token-for-the-door';
    assert.is(await answers(`AUTH ${good}\r\nGET a`, to), '+OK\r\n$-1\r\n');
    assert.match(
      await answers(`HELLO 3 AUTH default ${good} SETNAME n\r\nGET a`, to),
      /^%7\r\n[\s\S]*_\r\n$/,
    );
    assert.match(await answers(`AUTH other ${good}`, to), /^-WRONGPASS/);
    assert.match(await answers(`AUTH ${good}\r\nRESET\r\nGET a`, to), /\+RESET\r\n-NOAUTH/);
  } finally {
    await guarded.close();
  }
});

test('a client that says nothing is disconnected; one that reads nothing holds up nobody', async () => {
  const brief = await startHttpNode(
    {},
    { resp: { listen: '127.0.0.1:0', idleTimeoutMs: 200, maxConnections: 2 } },
  );
  try {
    const to = brief.node.addresses.resp?.port ?? 0;
    const silent = new RawConnection(to);
    const deaf = new RawConnection(to, { reads: false });
    deaf.write(`SET big ${'v'.repeat(60_000)}\r\n${'GET big\r\n'.repeat(2000)}`);
    const third = new RawConnection(to);
    assert.is(await third.closed, '');
    await silent.closed;
    assert.is(await answers('EXISTS none', to), ':0\r\n');
    deaf.socket.destroy();
  } finally {
    await brief.close();
  }
});

test('metrics tell commands and outcomes', async () => {
  await answers('PING\r\nNONSENSE');
  const text = await (await fetch(`${node.url}/metrics`)).text();
  assert.match(text, /raftree_resp_requests_total\{command="ping",outcome="ok"\} \d/);
  assert.match(text, /raftree_resp_requests_total\{command="other",outcome="error"\} \d/);
  assert.match(text, /raftree_connections\{door="resp"\} \d/);
});

test.run();
