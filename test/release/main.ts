/**
 * npm run release:check
 *
 * Tries the package as its users get it: packs it, installs the tarball into an empty project (the dependencies come
 * from npm's registry, or its cache), and there imports every entry, uses the engine, and starts a node twice, with the
 * command line and the client library as its clients. Not part of `npm test`, because it downloads.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { freePorts } from '../../bench/free-ports.js';
import { entries, manifest, packInto, run } from '../support/packed.js';
import { until } from '../support/process-cluster.js';

const USE_ENGINES = `
import { LsmTree } from 'raftree/lsm';
import { RaftreeLevel } from 'raftree/level';
const tree = await LsmTree.open('tree');
await tree.write([{ type: 'put', key: Buffer.from('k'), value: Buffer.from('v') }]);
await tree.flush();
await tree.close();
const again = await LsmTree.open('tree');
if (again.getSync(Buffer.from('k'))?.toString() !== 'v') throw new Error('the tree has lost its key');
await again.close();
const db = new RaftreeLevel('level');
await db.put('k', 'v');
if ((await db.get('k')) !== 'v') throw new Error('the database has lost its key');
await db.close();
`;

const useClient = (endpoint: string) => `
import { RaftreeClient } from 'raftree/client';
const client = new RaftreeClient({ endpoints: ['${endpoint}'] });
await client.batch([{ action: 'put', key: 'a', value: '1' }, { action: 'put', key: 'b', value: '2' }]);
const found = [];
for await (const { key, value } of client.scan()) found.push(key + '=' + value);
if (found.join() !== 'a=1,b=2,colour=red') throw new Error('the scan found ' + found);
await client.close();
`;

const useNode = (client: number, peer: number) => `
import { RaftreeNode } from 'raftree';
const node = await RaftreeNode.start({
  clusterId: 'embedded',
  nodeId: 1,
  dataDirectory: 'embedded',
  nodes: [{ id: 1, client: '127.0.0.1:${client}', peer: '127.0.0.1:${peer}' }],
});
await node.put('k', 'v');
if ((await node.get('k'))?.value.toString() !== 'v') throw new Error('the node has lost its key');
await node.close();
`;

function check(condition: boolean, what: string): void {
  if (!condition) throw new Error(`this does not hold: ${what}`);
  console.log(`ok: ${what}`);
}

/** What is in the package and should not be, or the other way round. */
function checkFiles(installed: string): void {
  for (const name of [
    'README.md',
    'LICENSE',
    'PROTOCOL.md',
    'ARCHITECTURE.md',
    'SECURITY.md',
    'docs/formats.md',
  ])
    check(existsSync(join(installed, name)), `${name} is in the package`);
  const files = readdirSync(installed, { recursive: true }).map(String);
  check(
    !files.some((file) => /^(src|test|bench|data|dist.(test|bench|src.sim))\b/.test(file)),
    'no tests, no simulator, no data',
  );
  const maps = files.filter((file) => file.endsWith('.map'));
  const withSource = (map: string) => {
    const { sourcesContent } = JSON.parse(readFileSync(join(installed, map), 'utf8')) as {
      readonly sourcesContent?: readonly (string | null)[];
    };
    return typeof sourcesContent?.[0] === 'string';
  };
  check(maps.length > 0 && maps.every(withSource), `${maps.length} source maps hold their sources`);
}

async function started(binary: string, project: string): Promise<ChildProcess> {
  const child = spawn(binary, ['start', 'node.json'], { cwd: project, stdio: ['ignore', 'pipe', 'inherit'] });
  let said = '';
  child.stdout.on('data', (chunk: Buffer) => {
    said += chunk.toString();
  });
  await until(() => said.includes('is ready: leader'), 'the node is ready');
  return child;
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    child.once('close', resolve);
    child.kill('SIGTERM');
  });
}

async function checkNode(project: string): Promise<void> {
  const [client = 0, peer = 0] = await freePorts(2);
  const endpoint = `127.0.0.1:${client}`;
  const node = {
    clusterId: 'release',
    nodeId: 1,
    dataDirectory: 'node',
    nodes: [{ id: 1, client: endpoint, peer: `127.0.0.1:${peer}` }],
    log: { level: 'warn' },
  };
  writeFileSync(join(project, 'node.json'), JSON.stringify(node));
  const binary = join(project, 'node_modules', '.bin', 'raftree');
  const raftree = (...args: string[]) => run(binary, [...args, '--endpoints', endpoint], project).trim();
  check(
    run(binary, ['--version'], project).trim() === manifest.version,
    `raftree --version is ${manifest.version}`,
  );
  const first = await started(binary, project);
  try {
    check(raftree('put', 'colour', 'red').startsWith('ok, version'), 'the command line puts');
    check(raftree('get', 'colour') === 'red', 'and gets');
    writeFileSync(join(project, 'client.js'), useClient(endpoint));
    run(process.execPath, ['client.js'], project);
    check(true, 'the client library writes a batch and scans');
  } finally {
    check((await ended(first)) === 0, 'SIGTERM ends the node with exit code 0');
  }
  const second = await started(binary, project);
  try {
    check(raftree('get', 'b') === '2', 'the node has its data when it is started again');
  } finally {
    await ended(second);
  }
}

const project = mkdtempSync(join(tmpdir(), 'raftree-release-'));
try {
  const tarball = packInto(project);
  writeFileSync(
    join(project, 'package.json'),
    JSON.stringify({ name: 'user', private: true, type: 'module' }),
  );
  run('npm', ['install', '--prefer-offline', '--no-audit', '--no-fund', tarball], project);
  checkFiles(join(project, 'node_modules', manifest.name));
  for (const entry of entries) {
    const source = `const names = Object.keys(await import('${entry}')); if (names.length === 0) process.exit(1);`;
    run(process.execPath, ['--input-type=module', '--eval', source], project);
    check(true, `${entry} is imported`);
  }
  writeFileSync(join(project, 'engines.js'), USE_ENGINES);
  run(process.execPath, ['engines.js'], project);
  check(true, 'raftree/lsm and raftree/level write, close and read again');
  const [client = 0, peer = 0] = await freePorts(2);
  writeFileSync(join(project, 'node.js'), useNode(client, peer));
  run(process.execPath, ['node.js'], project);
  check(true, 'a program starts a node, writes, reads and closes it');
  await checkNode(project);
} finally {
  rmSync(project, { recursive: true, force: true });
}
