/** The page's files and its feed, `/v1/live`. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LiveFeed } from '../../../src/doors/http/live.js';
import { quantileMs } from '../../../src/server/recent.js';
import { startHttpNode } from '../../support/http-node.js';
import { until } from '../../support/process-cluster.js';

test('the page is served whole, without anything from elsewhere, to who has no token', async () => {
  const node = await startHttpNode({ tokenFile: 'token' }, {}, { token: 'an-example-token' });
  try {
    const page = await fetch(`${node.url}/`);
    assert.is(page.status, 200);
    assert.match(
      page.headers.get('content-security-policy') ?? '',
      /^default-src 'none'; script-src 'self';/,
    );
    const html = await page.text();
    assert.not.match(html, /https?:|style=|onclick/);
    const named = [...html.matchAll(/(?:href|src)="([\w./]+)"/g)].map(([, name]) => `/${name}`);
    assert.equal(named, ['/page.css', '/page.js']);
    const script = await (await fetch(`${node.url}/page.js`)).text();
    named.push(...[...script.matchAll(/from '\.(\/[\w.]+)'/g)].map(([, name]) => `${name}`));
    for (const name of named) assert.is((await fetch(node.url + name)).status, 200, name);
    assert.is(
      (await fetch(`${node.url}/v1/live`)).status,
      401,
      'how the cluster stands is not for everybody',
    );
  } finally {
    await node.close();
  }
});

test('the feed tells the last minutes, then how things stand; a node that closes ends it', async () => {
  const node = await startHttpNode();
  try {
    await fetch(`${node.url}/v1/kv/a`, { method: 'PUT', body: 'x' });
    const feed = await fetch(`${node.url}/v1/live`);
    assert.is(feed.headers.get('content-type'), 'text/event-stream');
    const reader = (feed.body as ReadableStream<Uint8Array>).getReader();
    let text = '';
    const more = async () => {
      const { value, done } = await reader.read();
      text += Buffer.from(value ?? []).toString();
      return !done;
    };
    await until(async () => {
      await more();
      return text.split('event: view\n').length === 3;
    }, 'two views came');
    assert.match(text, /^event: history\ndata: \{"points":\[/);
    const view = JSON.parse(/event: view\ndata: (.*)\n\n/.exec(text)?.[1] ?? '');
    const [own] = view.nodes;
    assert.equal([own.id, own.role, own.reached, own.isVoter], [1, 'leader', true, true]);
    const { log } = view.groups[0];
    assert.ok(
      log.first <= log.applied && log.applied <= log.commit && log.commit <= log.last,
      JSON.stringify(log),
    );
    assert.ok(log.last >= 2, 'the key is in the log');
    assert.is(view.lsm.levels.length > 0, true);
    const closing = node.node.close();
    while (await more());
    await closing;
  } finally {
    await node.close();
  }
});

/** Timers that a test fires. */
function handTimers() {
  const due: (() => void)[] = [];
  return {
    due,
    timers: {
      after: (_delayMs: number, run: () => void) => {
        due.push(run);
        return { cancel: () => due.splice(due.indexOf(run), 1) };
      },
      endOfTurn: () => {},
    },
  };
}

function viewer(feed: LiveFeed): AsyncGenerator<Uint8Array> {
  return feed.answer().body as AsyncGenerator<Uint8Array>;
}

async function nextOf(events: AsyncGenerator<Uint8Array>): Promise<string> {
  const { value, done } = await events.next();
  return done ? 'end' : Buffer.from(value).toString();
}

test('one view is made for all viewers, and none when nobody looks; a slow viewer gets the newest', async () => {
  const { due, timers } = handTimers();
  let made = 0;
  const feed = new LiveFeed(timers, {
    history: () => ({}),
    view: () => ({ made: ++made }),
    refresh: async () => {},
  });
  const [fast, slow] = [viewer(feed), viewer(feed)];
  for (const each of [fast, slow]) assert.match(await nextOf(each), /history/);
  assert.match(await nextOf(fast), /\{"made":1\}/);
  assert.match(await nextOf(slow), /\{"made":1\}/);
  for (const count of [2, 3]) {
    const next = nextOf(fast);
    due.shift()?.();
    assert.match(await next, new RegExp(`\\{"made":${count}\\}`));
  }
  assert.match(await nextOf(slow), /\{"made":3\}/);
  assert.is(feed.viewers, 2);
  await fast.return(undefined);
  await slow.return(undefined);
  assert.is(feed.viewers, 0);
  due.shift()?.();
  await Promise.resolve();
  assert.equal([made, due.length], [3, 0], 'nobody looks');
  const again = viewer(feed);
  await nextOf(again);
  assert.match(await nextOf(again), /\{"made":4\}/);
  const last = nextOf(again);
  feed.close();
  assert.is(await last, 'end');
  assert.equal([feed.viewers, due.length], [0, 0]);
});

test('viewers above the limit are refused', async () => {
  const { timers } = handTimers();
  const feed = new LiveFeed(timers, { history: () => ({}), view: () => ({}), refresh: async () => {} });
  for (let i = 0; i < 64; i++) await viewer(feed).next();
  assert.throws(() => feed.answer(), /64 viewers look at this node already/);
});

test('quantiles of counted values', () => {
  assert.is(quantileMs([0.001, 0.002], [0, 0, 0], 0.5), undefined);
  assert.is(quantileMs([0.001, 0.002], [4, 4, 4], 0.5), 0.5);
  assert.is(quantileMs([0.001, 0.002], [0, 4, 4], 0.5), 1.5);
  assert.is(quantileMs([0.001, 0.002], [0, 0, 4], 0.99), 2, 'larger than every bound');
});

test.run();
