/** node.json: what is accepted, and what every fault is told as. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import {
  bufferedBytesOf,
  clusterSecretsOf,
  parseNodeConfig,
  readNodeConfig,
} from '../../src/server/config.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { roomEnv } from '../../src/sim/world/room-env.js';

const GOOD = {
  clusterId: 'c',
  nodeId: 2,
  dataDirectory: 'store',
  nodes: [
    { id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7101' },
    { id: 2, client: '127.0.0.1:7002', peer: '[::1]:7102' },
  ],
};

function faultsOf(config: unknown): string[] {
  try {
    parseNodeConfig(config, 'node.json', '/x');
  } catch (error) {
    assert.instance(error, RaftreeError);
    assert.is((error as RaftreeError).code, 'INVALID_CONFIG');
    return (error as RaftreeError).message
      .split('\n')
      .slice(1)
      .map((line) => line.trim());
  }
  return [];
}

test('a good file is completed with defaults; a relative data folder starts from the file', () => {
  const config = parseNodeConfig(GOOD, 'node.json', '/etc/raftree');
  assert.is(config.dataDirectory, '/etc/raftree/store');
  assert.is(config.raft.heartbeatMs, 100);
  assert.is(config.limits.maxValueBytes, 1024 * 1024);
});

test('what connections may hold follows from the largest request, and has to hold eight of them', () => {
  const MIB = 1024 * 1024;
  const limitsOf = (limits: object) => bufferedBytesOf(parseNodeConfig({ ...GOOD, limits }, 'x', '/').limits);
  assert.is(limitsOf({}), 256 * MIB);
  assert.is(limitsOf({ maxRequestBytes: 64 * MIB }), 512 * MIB);
  assert.is(limitsOf({ maxBufferedBytes: 64 * MIB }), 64 * MIB);
  assert.match(
    faultsOf({ ...GOOD, limits: { maxBufferedBytes: 63 * MIB } })[0] ?? '',
    /^limits\.maxBufferedBytes: found 66060288; expected at least 8 times maxRequestBytes \(67108864\)/,
  );
});

test('a placement divides the keys by hash, or by range at splits in order; how many nodes hold each tablet', () => {
  for (const placement of [
    { by: 'range' },
    { by: 'range', splits: ['g', 'n'], tablets: 3, replicas: 2 },
    { by: 'hash', tablets: 256 },
  ])
    assert.equal(parseNodeConfig({ ...GOOD, placement }, 'x', '/').placement, placement);
  const faultOf = (placement: object) => faultsOf({ ...GOOD, placement })[0] ?? '';
  assert.match(faultOf({ by: 'hash' }), /^placement\.tablets: found nothing; expected how many tablets/);
  assert.match(faultOf({ by: 'hash', tablets: 257 }), /^placement\.tablets: found 257; /);
  assert.match(faultOf({ by: 'hash', tablets: 2, splits: ['a'] }), /^placement\.splits: .*by hash/);
  assert.match(
    faultOf({ by: 'range', tablets: 16 }),
    /^placement\.tablets: found 16; expected 1, one more than "splits"/,
  );
  assert.match(faultOf({ by: 'range', splits: ['n', 'g'] }), /^placement\.splits: .*"g" does not follow "n"/);
  assert.match(faultOf({ by: 'range', splits: [''] }), /^placement\.splits: .*none is empty/);
  assert.match(
    faultOf({ by: 'range', splits: ['x'.repeat(40_000)] }),
    /at most 32768 bytes together, not 40000/,
  );
  assert.match(
    faultOf({ by: 'hash', tablets: 2, replicas: 3 }),
    /^placement\.replicas: found 3; expected at most 2, the number of "nodes"/,
  );
  assert.match(
    faultOf({ by: 'range', replicas: 1 }),
    /^placement\.replicas: found 1; expected 2, the number of "nodes", or nothing: one tablet is on all nodes/,
  );
  assert.match(faultOf({ by: 'list' }), /^placement\.by: found "list"; /);
});

test('every fault is reported at once, with its path, what was found and what is accepted', () => {
  const faults = faultsOf({
    clusterId: '',
    nodeId: 'one',
    dataDirectory: 'store',
    nodes: [{ id: 1.5, client: 'nowhere', peer: '127.0.0.1:99999', extra: 1 }],
    raft: { heartbeatMs: 5 },
    log: { level: 'loud' },
    colour: 'green',
  });
  for (const expected of [
    /^clusterId: found ""; /,
    /^nodeId: found "one"; expected number/,
    /^nodes\[0\]\.id: found 1\.5; expected int/,
    /^nodes\[0\]\.client: found "nowhere"; expected "host:port"/,
    /^nodes\[0\]\.peer: found "127\.0\.0\.1:99999"; expected "host:port"/,
    /^nodes\[0\]\.extra: unknown key$/,
    /^raft\.heartbeatMs: found 5; .*10/,
    /^log\.level: found "loud"; expected one of .*"debug".*"silent"/,
    /^colour: unknown key$/,
  ]) {
    assert.ok(
      faults.some((fault) => expected.test(fault)),
      `${expected} in:\n${faults.join('\n')}`,
    );
  }
  assert.is(faults.length, 9, faults.join('\n'));
});

test('duplicate ids and addresses, an id that is no member, timeouts that cannot work', () => {
  const faults = faultsOf({
    ...GOOD,
    nodeId: 7,
    nodes: [...GOOD.nodes, { id: 2, client: '127.0.0.1:7001', peer: '127.0.0.1:7103' }],
    raft: { heartbeatMs: 1000, electionTimeoutMinMs: 1000, electionTimeoutMaxMs: 900 },
  });
  assert.equal(faults, [
    'nodes[2].id: found 2; expected a value of its own, but nodes[1].id has it too',
    'nodes[2].client: found "127.0.0.1:7001"; expected a value of its own, but nodes[0].client has it too',
    'nodeId: found 7; expected the id of one of "nodes" (1, 2, 2)',
    'raft.electionTimeoutMinMs: found 1000; expected at least three times heartbeatMs (3000)',
    'raft.electionTimeoutMaxMs: found 900; expected at least heartbeatMs more than electionTimeoutMinMs (2000)',
  ]);
});

test('addresses that nobody can connect to are none of a node; a node may listen on all of them', () => {
  const [, ...others] = GOOD.nodes;
  const first = { id: 1, client: '0.0.0.0:0', peer: '[::]:7101' };
  assert.equal(faultsOf({ ...GOOD, nodes: [first, ...others] }), [
    'nodes[0].client: found "0.0.0.0:0"; 0.0.0.0:0 has port 0, which nobody can connect to; give the real port',
    'nodes[0].peer: found "[::]:7101"; [::]:7101 is no address of one machine; give the one that others reach it by, ' +
      'and listen on this one ("listen")',
  ]);
  const twice = { id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7001' };
  assert.equal(faultsOf({ ...GOOD, nodes: [twice, ...others] }), [
    'nodes[0].peer: found "127.0.0.1:7001"; expected a value of its own, but nodes[0].client has it too',
  ]);
  const security = { clusterSecret: 'x'.repeat(16) };
  assert.equal(faultsOf({ ...GOOD, security, listen: { client: '0.0.0.0:7001', peer: '[::]:7101' } }), []);
});

test('L6: chunks of a snapshot that would take longer than they may are refused, with what to do', () => {
  const storage = { snapshotChunkBytes: 1024 * 1024, snapshotBytesPerSecond: 64 * 1024 };
  assert.equal(faultsOf({ ...GOOD, storage }), [
    'storage.snapshotChunkBytes: found 1048576; expected at most what snapshotBytesPerSecond allows in ' +
      'raft.electionTimeoutMaxMs (131072): make it smaller, or snapshotBytesPerSecond larger',
  ]);
});

test('a file that is missing, is not JSON, or is no object', () => {
  const disk = new SimDisk();
  const env = roomEnv(1, disk);
  env.fs.makeDirectory('/etc');
  const write = (text: string) => {
    const file = env.fs.open('/etc/node.json', env.fs.exists('/etc/node.json') ? 'modify' : 'create');
    file.truncate(0);
    file.writeSync([Buffer.from(text)], 0);
    file.close();
  };
  const message = () => {
    try {
      readNodeConfig(env, '/etc/node.json');
    } catch (error) {
      return (error as Error).message;
    }
    return '';
  };
  assert.match(message(), /^\/etc\/node\.json cannot be read: it does not exist$/);
  write('{ "clusterId": ');
  assert.match(message(), /^\/etc\/node\.json is not JSON: /);
  write('[]');
  assert.match(message(), /\(the whole file\): found \[\]; expected object/);
});

const SIXTEEN = '0123456789abcdef';

test('a cluster secret is checked, and never shown', () => {
  const securityFaults = (security: unknown) => faultsOf({ ...GOOD, security });
  for (const security of [
    {},
    { clusterSecret: SIXTEEN },
    { clusterSecret: [SIXTEEN, `${SIXTEEN}2`] },
    { clusterSecret: 'ü'.repeat(8) },
    { clusterSecretFile: 'secret' },
    { insecure: true },
  ])
    assert.equal(securityFaults(security), [], JSON.stringify(security));
  for (const [security, expected] of [
    [
      { clusterSecret: 'hunter2' },
      /^security\.clusterSecret: found a value \(not shown\); it has 7 bytes; expected 16/,
    ],
    [{ clusterSecret: [SIXTEEN, 'hunter2'] }, /^security\.clusterSecret\[1\]: .*it has 7 bytes/],
    [{ clusterSecret: '' }, /^security\.clusterSecret: .*it has 0 bytes/],
    [{ clusterSecret: [] }, /^security\.clusterSecret: .*>=1/],
    [{ clusterSecret: 1234567890123456 }, /^security\.clusterSecret: .*expected a text, or a list/],
    [
      { clusterSecret: SIXTEEN, clusterSecretFile: 'f' },
      /^security\.clusterSecretFile: .*remove one of them/,
    ],
    [{ clusterSecret: SIXTEEN, insecure: true }, /^security\.insecure: .*remove one of them/],
    [{ clusterSecretFile: '' }, /^security\.clusterSecretFile: found "";/],
    [{ secret: SIXTEEN }, /^security\.secret: unknown key$/],
  ] as const) {
    const faults = securityFaults(security);
    assert.is(faults.length, 1, faults.join());
    assert.match(faults[0] ?? '', expected);
    assert.not.match(faults[0] ?? '', /hunter2|1234567890123456/);
  }
});

test('peers on other than loopback need a secret, or the word that it is insecure', () => {
  const listening = (peer: string, security: unknown = {}) =>
    faultsOf({ ...GOOD, listen: { peer }, security });
  for (const peer of ['127.0.0.1:1', 'localhost:1', '[::1]:1', '127.9.9.9:0'])
    assert.equal(listening(peer), []);
  for (const peer of ['0.0.0.0:1', '10.0.0.1:1', '[::]:1', 'node1.example.com:1']) {
    const faults = listening(peer);
    assert.is(faults.length, 1);
    assert.match(
      faults[0] ?? '',
      /^security\.clusterSecret: found nothing; expected a secret.*"insecure": true/,
    );
    assert.equal(listening(peer, { clusterSecret: SIXTEEN }), []);
    assert.equal(listening(peer, { insecure: true }), []);
  }
  const elsewhere = { ...GOOD, nodes: GOOD.nodes.map((node) => ({ ...node, peer: `10.0.0.${node.id}:1` })) };
  assert.is(faultsOf(elsewhere).length, 1, 'its own address is listened to');
  assert.equal(faultsOf({ ...elsewhere, listen: { peer: '127.0.0.1:1' } }), []);
});

test('a secret file that every user may read is used, with a warning', () => {
  for (const isReadableByOthers of [true, false]) {
    const warnings: string[] = [];
    const { fs } = roomEnv(1);
    fs.readFile = () => Buffer.from(`${SIXTEEN}\n`);
    fs.isReadableByOthers = () => isReadableByOthers;
    const security = { insecure: false, clusterSecretFile: '/secret' };
    const warn = (_fields: unknown, message: string) => void warnings.push(message);
    assert.equal(clusterSecretsOf(security, { fs }, { warn }).map(String), [SIXTEEN]);
    assert.is(warnings.length, isReadableByOthers ? 1 : 0);
  }
});

test('a secret file lies beside node.json', () => {
  const { security } = parseNodeConfig(
    { ...GOOD, security: { clusterSecretFile: 'secret' } },
    'node.json',
    '/etc/raftree',
  );
  assert.is(security.clusterSecretFile, '/etc/raftree/secret');
});

test.run();
