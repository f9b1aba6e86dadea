/**
 * The page in a real browser: Chromium, where one is installed (Debian's package `chromium`, or RAFTREE_CHROMIUM names
 * its program). Where there is none the tests say that they skip.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import type { AddressInfo } from 'node:net';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { ProcessCluster, until } from '../support/process-cluster.js';

/** What the tests use of playwright-core. */
interface Page {
  goto(url: string): Promise<unknown>;
  on(event: 'pageerror', listener: (error: Error) => void): void;
  on(
    event: 'console',
    listener: (message: { type(): string; text(): string; location(): { url: string } }) => void,
  ): void;
  evaluate<Result>(script: string): Promise<Result>;
  fill(selector: string, text: string): Promise<void>;
  click(selector: string): Promise<void>;
  press(selector: string, key: string): Promise<void>;
  textContent(selector: string): Promise<string | null>;
}
interface Browser {
  newPage(options: {
    viewport: { width: number; height: number };
    colorScheme: 'light' | 'dark';
    bypassCSP?: boolean;
  }): Promise<Page>;
  close(): Promise<void>;
}
interface Playwright {
  readonly chromium: { launch(options: { executablePath: string; args: string[] }): Promise<Browser> };
}
interface Violation {
  readonly id: string;
  readonly impact: string;
  readonly nodes: readonly { readonly html: string }[];
}

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const PAGE = fileURLToPath(new URL('../../../page', import.meta.url));
const require = createRequire(import.meta.url);
const PROGRAMS = [
  process.env.RAFTREE_CHROMIUM,
  '/usr/bin/chromium',
  '/usr/bin/chromium-browser',
  '/usr/bin/google-chrome',
];
const program = PROGRAMS.find((each) => each !== undefined && fs.existsSync(each));
const playwright = moduleOf<Playwright>('playwright-core');
const axeFile = fileOf('axe-core/axe.min.js');

function fileOf(name: string): string | undefined {
  try {
    return require.resolve(name);
  } catch {
    return undefined;
  }
}

function moduleOf<Module>(name: string): Module | undefined {
  return fileOf(name) === undefined ? undefined : (require(name) as Module);
}

/** Waits until it holds in the page. */
function holds(page: Page, condition: string): Promise<void> {
  return until(() => page.evaluate<boolean>(condition), condition);
}

const ELECTION_SHOWN_MS = 2000;
const DESKTOP = { width: 1180, height: 900 };
const PHONE = { width: 390, height: 844 };

if (!program || !playwright || !axeFile) {
  const lacking = program ? 'playwright-core or axe-core' : 'Chromium';
  test.skip('the page in a browser', () => {});
  console.log(`skipped: ${lacking} is not installed, so the page is not tested in a browser`);
} else {
  let cluster: ProcessCluster;
  let browser: Browser;
  let ports: number[] = [];
  const faults: string[] = [];

  test.before(async () => {
    ports = await freePorts(3);
    cluster = await ProcessCluster.create(3, {
      raft: { heartbeatMs: 50, electionTimeoutMinMs: 300, electionTimeoutMaxMs: 600 },
    });
    for (const id of [1, 2, 3]) {
      const config = JSON.parse(fs.readFileSync(cluster.configFile(id), 'utf8')) as NodeConfigInput;
      const http = { listen: `127.0.0.1:${ports[id - 1]}` };
      fs.writeFileSync(cluster.configFile(id), JSON.stringify({ ...config, http }));
    }
    await cluster.startAll();
    // Chromium's sandbox wants rights that containers do not give; the page is our own.
    browser = await playwright.chromium.launch({ executablePath: program, args: ['--no-sandbox'] });
  });
  test.after(async () => {
    await browser?.close();
    await cluster.destroy();
  });

  const open = async (
    id: number,
    viewport = DESKTOP,
    colorScheme: 'light' | 'dark' = 'light',
    bypassCSP = false,
  ) => {
    const page = await browser.newPage({ viewport, colorScheme, bypassCSP });
    page.on('pageerror', (error) => faults.push(error.message));
    page.on('console', (message) => {
      if (message.type() === 'error' && !/404|ERR_/.test(message.text()))
        faults.push(`${message.text()} ${message.location().url}`);
    });
    await page.goto(`http://127.0.0.1:${ports[id - 1]}/`);
    await holds(page, "/leads in term/.test(document.querySelector('#headline').textContent)");
    // Its first scan has ended: a leader that is killed now does not make it fail.
    await holds(page, "!['', '…'].includes(document.querySelector('#said').textContent)");
    return page;
  };

  const axe = fs.readFileSync(axeFile, 'utf8');
  const seriousOf = async (page: Page): Promise<string[]> => {
    await page.evaluate(`${axe};0`);
    const violations = await page.evaluate<Violation[]>('axe.run().then(({ violations }) => violations)');
    return violations
      .filter(({ impact }) => impact === 'serious' || impact === 'critical')
      .map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join()}`);
  };

  test('keys are put, found, read and deleted, and what a key holds is never markup', async () => {
    const page = await open(1);
    const key = 'a/<img src=x onerror=alert(1)> ü%2F';
    await page.fill('#scan [name=prefix]', 'a/');
    await page.click('#watch');
    await holds(page, "document.querySelector('#said').textContent === 'Watching a/…'");
    await page.fill('#entry [name=key]', key);
    await page.fill('#entry [name=value]', '<b>red</b>');
    await page.press('#entry [name=key]', 'Enter');
    await holds(page, "/^Put, version/.test(document.querySelector('#said').textContent)");
    const answer = await fetch(`http://127.0.0.1:${ports[1]}/v1/kv/${encodeURIComponent(key)}`);
    assert.is(await answer.text(), '<b>red</b>');
    await holds(page, "document.querySelectorAll('#changes li').length === 1");
    assert.is(await page.textContent('#changes li .key'), key);
    assert.is(await page.textContent('#changes li .value'), '<b>red</b>');
    await page.click('#watch');
    await holds(page, "document.querySelector('#watch').getAttribute('aria-pressed') === 'false'");
    await fetch(`http://127.0.0.1:${ports[0]}/v1/kv/a%2F%ff%00`, { method: 'PUT', body: 'bytes' });
    await page.fill('#scan [name=prefix]', 'a/');
    await page.press('#scan [name=prefix]', 'Enter');
    await holds(page, "document.querySelector('#said').textContent === '2 keys.'");
    assert.is(await page.evaluate("document.querySelector('#keys img, #keys b, #changes img')"), null);
    for (const [nth, value] of [
      [1, '<b>red</b>'],
      [2, 'bytes'],
    ] as const) {
      await page.click(`#keys li:nth-child(${nth}) button`);
      await holds(page, `document.querySelector('#entry [name=value]').value === ${JSON.stringify(value)}`);
    }
    await page.click('#entry [name=delete]');
    await page.click('#agree');
    await holds(page, "document.querySelector('#said').textContent === 'Deleted.'");
    assert.is((await fetch(`http://127.0.0.1:${ports[0]}/v1/kv/a%2F%ff%00`)).status, 404);
  });

  test('axe finds nothing serious, light and dark, and the phone scrolls one way only', async () => {
    for (const [viewport, scheme] of [
      [DESKTOP, 'light'],
      [PHONE, 'dark'],
    ] as const) {
      // Only so that axe itself can be put into the page.
      const page = await open(2, viewport, scheme, true);
      assert.equal(await seriousOf(page), []);
      const width = await page.evaluate<number>('document.documentElement.scrollWidth');
      assert.ok(width <= viewport.width, `${width} of ${viewport.width}`);
    }
  });

  test('tablets are a map of the keys, and a list; of a single one nothing is shown', async () => {
    assert.is(await (await open(1)).evaluate<boolean>("document.querySelector('#map').hidden"), true);
    const pair = await ProcessCluster.create(2, {
      placement: { by: 'range', splits: ['<i>k', 'n'] },
      raft: { heartbeatMs: 50, electionTimeoutMinMs: 300, electionTimeoutMaxMs: 600 },
    });
    try {
      const http = { listen: `127.0.0.1:${(await freePorts(1))[0]}` };
      const config = JSON.parse(fs.readFileSync(pair.configFile(1), 'utf8')) as NodeConfigInput;
      fs.writeFileSync(pair.configFile(1), JSON.stringify({ ...config, http }));
      await pair.startAll();
      const page = await browser.newPage({ viewport: PHONE, colorScheme: 'dark', bypassCSP: true });
      page.on('pageerror', (error) => faults.push(error.message));
      await page.goto(`http://${http.listen}/`);
      await holds(page, "document.querySelectorAll('#tablets tr').length === 3");
      await holds(page, "!/without a leader/.test(document.querySelector('#headline').textContent)");
      const rows = await page.evaluate<string[][]>(
        "[...document.querySelectorAll('#tablets tr')].map((row) => [...row.cells].map((c) => c.textContent))",
      );
      assert.equal(
        rows.map(([id, from, , , , nodes, change]) => [id, from, nodes, change].join()),
        ['1,the first,1, 2,', '2,<i>k,1, 2,', '3,n,1, 2,'],
      );
      const [one] = rows;
      assert.match(one?.[2] ?? '', /^node [12]$/);
      assert.is(await page.textContent('#underway'), 'No tablet is split or moved now.');
      const state = 'tr[data-id="2"] .role';
      for (const [press, now] of [
        ['Drain: node 2', 'drains'],
        ['Let take part again: node 2', 'takes part'],
      ] as const) {
        await page.click(`[aria-label="${press}"]`);
        await page.click('#agree');
        await holds(page, `document.querySelector('${state}').textContent === '${now}'`);
      }
      assert.is(await page.evaluate<number>("document.querySelectorAll('.keyspace .tablet').length"), 3);
      assert.equal(await seriousOf(page), []);
      const width = await page.evaluate<number>('document.documentElement.scrollWidth');
      assert.ok(width <= PHONE.width, `${width}`);
    } finally {
      await pair.destroy();
    }
  });

  test('splits and moves that are under way are told in words and marked on the map', async () => {
    const node = { isVoter: true, reached: true, role: 'follower', term: 1, leader: 1, matches: [] };
    const tablets = {
      ...{ by: 'range', count: 4, changesCount: 33, isBalanced: false },
      shown: ['', 'g', 'n', 't'].map((start, i) => ({ id: i + 1, start, leader: i, nodes: [1, 2] })),
      changes: [
        { tablet: 2, type: 'move', from: 1, to: 4 },
        { tablet: 3, type: 'split', at: '<b>p' },
      ],
    };
    const view = {
      ...{ atMs: Date.now(), self: 1, clusterId: 'c', version: '1', groups: [], traffic: [], tablets },
      nodes: [1, 2].map((id) => ({ ...node, id, holds: 4, leads: 2, isDraining: id === 2 })),
    };
    const server = createServer(({ url = '' }, response) => {
      const name = url === '/' ? 'index.html' : url.slice(1);
      if (['index.html', 'page.css', 'page.js', 'draw.js'].includes(name)) {
        const type = name.endsWith('js')
          ? 'text/javascript'
          : name.endsWith('css')
            ? 'text/css'
            : 'text/html';
        response.writeHead(200, { 'content-type': type }).end(fs.readFileSync(path.join(PAGE, name)));
      } else if (url === '/v1/live') response.write(`event: view\ndata: ${JSON.stringify(view)}\n\n`);
      else response.end(JSON.stringify({ entries: [], cursor: null }));
    });
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
    try {
      const page = await browser.newPage({ viewport: DESKTOP, colorScheme: 'light', bypassCSP: true });
      page.on('pageerror', (error) => faults.push(error.message));
      await page.goto(`http://127.0.0.1:${(server.address() as AddressInfo).port}/`);
      await holds(page, "document.querySelectorAll('#underway p').length === 3");
      const said = await page.evaluate<string[]>(
        "[...document.querySelectorAll('#underway p')].map((each) => each.textContent)",
      );
      assert.equal(said, [
        'Tablet 2 moves from node 1 to node 4.',
        'Tablet 3 is split at <b>p.',
        'And 31 more.',
      ]);
      assert.is(await page.textContent('#tablets tr:nth-child(3) td:last-child'), 'is split at <b>p');
      assert.is(await page.evaluate<number>("document.querySelectorAll('.tablet.changing').length"), 2);
      assert.is(await page.textContent('tr[data-id="2"] .role'), 'drains');
      const balancing = 'Balancing is off: only nodes that drain are emptied. Switch it on';
      assert.is(await page.textContent('#balancing'), balancing);
      assert.equal(await seriousOf(page), []);
    } finally {
      server.closeAllConnections();
      server.close();
    }
  });

  test('a killed leader: an open page shows the election within two seconds', async () => {
    const leader = await cluster.leader();
    const page = await open(leader === 1 ? 2 : 1);
    const before = await page.textContent('#headline');
    assert.match(before ?? '', new RegExp(`^Node ${leader} leads in term \\d+$`));
    // In the page itself: when the headline names another leader, in ms of its clock.
    const shown = page.evaluate<string>(`new Promise((resolve) => {
      const headline = document.querySelector('#headline');
      const look = () => {
        const [, node] = /^Node (\\d+) leads/.exec(headline.textContent) ?? [];
        if (node !== undefined && node !== '${leader}') resolve(headline.textContent);
      };
      new MutationObserver(look).observe(headline, { childList: true, characterData: true, subtree: true });
    })`);
    const others = ports.filter((_, i) => i !== leader - 1);
    const elected = (async () => {
      for (;;) {
        for (const port of others) {
          const status = (await (await fetch(`http://127.0.0.1:${port}/v1/status`)).json()) as {
            role: string;
          };
          if (status.role === 'leader') return performance.now();
        }
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    })();
    const killed = cluster.signal(leader, 'SIGKILL');
    const [headline, electedMs] = await Promise.all([
      shown.then((text) => ({ text, atMs: performance.now() })),
      elected,
    ]);
    await killed;
    assert.match(headline.text, /leads in term \d+/);
    assert.ok(
      headline.atMs - electedMs < ELECTION_SHOWN_MS,
      `${headline.atMs - electedMs} ms after the election`,
    );
    await holds(page, "/1 of 3 silent/.test(document.querySelector('#headline').textContent)");
    assert.is(await page.textContent(`tr[data-id="${leader}"] .role`), 'silent');
  });

  test('a recorded run: it opens where a rule broke, steps back, and axe finds nothing serious', async () => {
    const run = path.join(cluster.directory, 'run.jsonl');
    const lines = [
      { t: 0, who: 'n1', what: 'start' },
      { t: 1, who: 'n2', what: 'start' },
      { t: 2, who: 'n1', what: 'raft.status', role: 'leader', term: 3, leader: 1 },
      { t: 3, who: 'n1', what: 'raft.send', to: 2, message: { type: 'append' } },
      { t: 4, who: 'world', what: 'broken', rule: 'an example', detail: 'of a rule' },
      { t: 5, who: 'n1', what: 'kill' },
    ];
    fs.writeFileSync(run, lines.map((line) => `${JSON.stringify(line)}\n`).join(''));
    const server = spawn(process.execPath, [MAIN, 'replay', run], { stdio: ['ignore', 'pipe', 'inherit'] });
    try {
      const [said] = (await once(server.stdout, 'data')) as [Buffer];
      const page = await browser.newPage({ viewport: PHONE, colorScheme: 'light', bypassCSP: true });
      page.on('pageerror', (error) => faults.push(error.message));
      await page.goto(/http:\S+/.exec(said.toString())?.[0] ?? '');
      await holds(
        page,
        "document.querySelector('#headline').textContent === 'Broken: an example. of a rule'",
      );
      assert.match((await page.textContent('#events .broken')) ?? '', /world broken/);
      assert.equal(await seriousOf(page), []);
      await page.click('#back');
      await holds(page, "document.querySelector('#headline').textContent === 'n1 leads in term 3'");
    } finally {
      server.kill('SIGTERM');
      await once(server, 'close');
    }
  });

  test('the pages had no fault, and asked for nothing that their policy forbids', () => {
    assert.equal(faults, []);
  });
}

test.run();
