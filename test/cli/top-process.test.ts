/** `raftree top` as a process: once, and on a terminal that it gives back however it ends. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { MAIN, ProcessCluster, raftree } from '../support/process-cluster.js';
import { hasTerminals, Terminal } from '../support/terminal.js';

const ENTER = '\x1b[?1049h';
const LEAVE = '\x1b[?25h\x1b[?1049l';

let cluster: ProcessCluster;

test.before(async () => {
  cluster = await ProcessCluster.create(1);
  await cluster.start(1);
});

test.after(() => cluster.destroy());

test('--once: a table, or JSON; where no node listens it ends with 5', async () => {
  const endpoints = ['--endpoints', cluster.endpoint(1)];
  const { code, stdout } = await raftree(['top', '--once', ...endpoints]);
  assert.is(code, 0);
  assert.match(
    stdout.toString(),
    /^1 of 1 nodes answer · node 1 leads, term \d+ · ~\d+ keys\n\nnode role .*\n1 {4}leader .*%\n\nnode commit ms .*\n1 {4}.*\n\n$/,
  );
  const [row] = JSON.parse((await raftree(['top', '--once', '--json', ...endpoints])).stdout.toString());
  assert.equal([row.nodeId, row.role, row.answers, row.behindEntries], [1, 'leader', true, 0]);
  assert.ok(row.residentBytes > 1e7 && row.readsPerSecond >= 0 && row.answerP99Ms > 0);
  assert.ok(row.loopDelayMs >= 0 && row.freeBytes > 0 && row.writtenBytesPerSecond >= 0);
  const [port] = await freePorts(1);
  const nobody = await raftree(['top', '--endpoints', `127.0.0.1:${port}`]);
  assert.equal([nobody.code, nobody.stdout.length], [5, 0], 'without a screen');
});

test('on a terminal: drawn anew, and given back at q, Ctrl-C, SIGTERM and a crash', async () => {
  if (!hasTerminals) {
    console.log('note: skipped: without Python there is no terminal');
    return;
  }
  const options = `--import=data:text/javascript,process.on('SIGUSR2',()=>{throw%20new%20Error('planted')})`;
  const ways: [name: string, end: (terminal: Terminal) => void, code: number, after: string][] = [
    ['q', (terminal) => terminal.type('q'), 0, ''],
    ['Ctrl-C', (terminal) => terminal.type('\x03'), 0, ''],
    ['SIGTERM', (terminal) => terminal.signal('SIGTERM'), 0, ''],
    ['a crash', (terminal) => terminal.signal('SIGUSR2'), 4, 'raftree: planted\r\n'],
  ];
  await Promise.all(
    ways.map(async ([name, end, code, after]) => {
      const command = [process.execPath, MAIN, 'top', '--endpoints', cluster.endpoint(1)];
      const terminal = new Terminal(command, { NODE_OPTIONS: options });
      try {
        await terminal.shows(/1 of 1 nodes answer/);
        await terminal.shows(/1 of 1 nodes answer/);
        end(terminal);
        assert.is(await terminal.ended(), code, name);
        const { output } = terminal;
        assert.ok(output.startsWith(ENTER), name);
        assert.equal(output.split(LEAVE).slice(1), [after], name);
      } finally {
        terminal.kill();
      }
    }),
  );
});

test.run();
