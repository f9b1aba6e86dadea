/** raftree cluster: several nodes as processes under one supervisor. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { raftree, temporaryDirectory } from '../support/process-cluster.js';

test('cluster start, stop, and start again: the same cluster', async () => {
  const directory = temporaryDirectory();
  const [basePort = 0] = await freePorts(1);
  const endpoints = [0, 1, 2].map((i) => `127.0.0.1:${basePort + i}`).join(',');
  const settings = path.join(directory, 'settings.json');
  const options = ['--directory', directory, '--base-port', String(basePort)];
  const given = async (text: string) => {
    fs.writeFileSync(settings, text);
    return raftree(['cluster', ...options, '--settings', settings]);
  };
  const stop = () => raftree(['cluster', 'stop', '--directory', directory]);
  try {
    assert.is((await stop()).code, 3, 'nothing runs yet');
    for (const [text, reason] of [
      ['{"nodeId":3}', /has "nodeId", which is made for each node: remove it/],
      ['{"placement":{"by":"hash"}}', /placement\.tablets: found nothing; expected how many/],
    ] as const) {
      const refused = await given(text);
      assert.is(refused.code, 2, text);
      assert.match(refused.stderr, reason);
    }
    assert.equal(fs.readdirSync(directory), ['settings.json'], 'nothing was made');
    const start = (round: number) =>
      round === 1 ? given('{"placement":{"by":"range","splits":["m"]}}') : raftree(['cluster', ...options]);
    const modeOf = (name: string) => fs.statSync(path.join(directory, name)).mode & 0o777;
    for (const round of [1, 2]) {
      const running = start(round);
      const put = await raftree([
        'put',
        `round ${round}`,
        'x',
        '--endpoints',
        endpoints,
        '--wait',
        '--timeout',
        '100000',
      ]);
      assert.is(put.code, 0, put.stderr);
      const second = await start(2);
      assert.is(second.code, 3);
      assert.match(second.stderr, /in use by process/);
      const stopped = await stop();
      assert.is(stopped.code, 0, stopped.stderr);
      assert.equal(
        ['n1', 'n1/store', 'n1/node.json', 'n1/store/identity.json'].map(modeOf),
        [0o700, 0o700, 0o600, 0o600],
      );
      const ended = await running;
      assert.is(ended.code, 0, ended.stderr);
      assert.match(ended.stdout.toString(), /^n\d \| node \d is ready: /m);
    }
    const running = start(3);
    const scan = await raftree([
      'scan',
      '--keys-only',
      '--endpoints',
      endpoints,
      '--wait',
      '--timeout',
      '100000',
    ]);
    assert.is(scan.stdout.toString(), 'round 1\nround 2\n');
    const shards = await raftree(['shards', '--endpoints', endpoints]);
    assert.match(shards.stdout.toString(), /the first {2}"m" /);
    assert.is((await raftree(['cluster', '--nodes', '5', '--directory', `${directory}`])).code, 2);
    await stop();
    await running;
    const late = await given('{}');
    assert.is(late.code, 2);
    assert.match(late.stderr, /holds a cluster; start it without --settings/);
    const other = await raftree(['cluster', '--nodes', '5', '--directory', directory]);
    assert.is(other.code, 2);
    assert.match(other.stderr, /holds a cluster of 3 nodes/);
  } finally {
    await stop();
    fs.rmSync(directory, { recursive: true, force: true });
  }
});

test.run();
