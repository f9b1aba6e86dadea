/**
 * `npm run test:keyv`: @keyv/test-suite, Keyv's own tests of stores, over a node. That package depends on vitest and a
 * native SQLite, so it is no dependency: it is fetched from npm's registry into a temporary folder, without its install
 * scripts. Exits as vitest does.
 */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { temporaryDirectory } from '../support/process-cluster.js';

const DIST = fileURLToPath(new URL('../..', import.meta.url));
const PACKAGES = ['@keyv/test-suite@2.1', 'keyv@5', 'vitest@4'];

const suite = (address: string) => `
import * as test from 'vitest';
import suite from '@keyv/test-suite';
import { Keyv } from 'keyv';
import { RaftreeNode } from ${JSON.stringify(path.join(DIST, 'src/index.js'))};
import { KeyvRaftree } from ${JSON.stringify(path.join(DIST, 'src/keyv/index.js'))};

const nodes = [{ id: 1, client: '${address}:0', peer: '${address}:0' }];
const node = await RaftreeNode.start({ clusterId: 'keyv', nodeId: 1, dataDirectory: 'data', nodes });
await node.put('first', 'write');
suite(test, Keyv, () => new KeyvRaftree(node));
test.afterAll(() => node.close());
`;

const directory = temporaryDirectory();
try {
  const run = (program: string, ...args: string[]) =>
    spawnSync(program, args, { cwd: directory, stdio: 'inherit' }).status ?? 1;
  fs.writeFileSync(path.join(directory, 'package.json'), '{"private":true,"type":"module"}');
  fs.writeFileSync(path.join(directory, 'keyv.test.js'), suite('127.0.0.1'));
  // Compiled code is run by Node.js itself.
  const external = `export default { test: { server: { deps: { external: [/${path.basename(DIST)}/] } } } };`;
  fs.writeFileSync(path.join(directory, 'vitest.config.js'), external);
  const installed = run('npm', 'install', '--ignore-scripts', '--no-audit', '--no-fund', ...PACKAGES);
  process.exitCode = installed || run('npx', 'vitest', 'run', '--testTimeout', '20000');
} finally {
  fs.rmSync(directory, { recursive: true, force: true });
}
