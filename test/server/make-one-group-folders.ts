/**
 * Made `one-group-folders.ts`, with the command line of a version of which a cluster with one tablet had no map:
 *
 *     node dist/test/server/make-one-group-folders.js OLD/dist/src/cli/main.js > test/server/one-group-folders.ts
 *
 * Three nodes write what the file says. Two of them are closed, so that their trees have tables; the third is killed,
 * and what it has applied is in its Raft log alone.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { gzipSync } from 'node:zlib';
import { RaftreeClient } from '../../src/client/client.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { Direct } from '../../src/sim/cluster/direct.js';
import { temporaryDirectory, until } from '../support/process-cluster.js';

const NODES = [1, 2, 3];
/** Nobody else listens there. */
const client = (id: number) => `127.83.0.${id}:7001`;
const operation = { condition: 'always', conditionValue: Buffer.alloc(0), conditionVersion: 0 } as const;
const LINE_LENGTH = 108;

const [main = ''] = process.argv.slice(2);
const directory = temporaryDirectory();
const nodes = NODES.map((id) => ({ id, client: client(id), peer: `127.83.0.${id}:7101` }));
const children = NODES.map((id): ChildProcess => {
  const config = { clusterId: 'processes', nodeId: id, dataDirectory: `n${id}`, nodes };
  const file = path.join(directory, `n${id}.json`);
  fs.writeFileSync(file, JSON.stringify(config));
  return spawn(process.execPath, [main, 'start', file], { stdio: 'ignore' });
});

const user = new RaftreeClient({ endpoints: NODES.map(client), timeoutMs: 30_000 });
for (const key of ['apple', 'grape', 'nut', 'plum']) await user.put(key, `of ${key}`);
await user.delete('nut');
const leader = (await user.status()).leaderId;
const direct = new Direct(realEnv());
const opened = await direct.ask(client(leader), { type: 'openSession', tablet: 0, window: 8 });
if (typeof opened === 'string' || opened.type !== 'sessionOpened') throw new Error(String(opened));
const { sessionId } = opened;
const written: { key: string; sequence: number; index: number }[] = [];
for (const [sequence, key] of ['apple', 'plum', 'apple'].entries()) {
  const answer = await direct.ask(client(leader), {
    ...{ type: 'write', tablet: 0, sessionId, sequence: sequence + 1, acknowledgedThrough: 0, after: 0 },
    operations: [
      { ...operation, action: 'append', key: Buffer.from(key), value: Buffer.from(`+${sequence + 1}`) },
    ],
  });
  if (typeof answer === 'string' || answer.type !== 'writeReply') throw new Error(String(answer));
  written.push({ key, sequence: sequence + 1, index: answer.index });
}
await until(
  async () =>
    (await Promise.all(NODES.map((id) => user.status(client(id))))).every(
      ({ appliedIndex, lastIndex }) => appliedIndex === lastIndex,
    ),
  'all nodes have all',
);
await Promise.all([user.close(), direct.close()]);
for (const [i, child] of children.entries()) {
  const gone = new Promise((resolve) => child.once('close', resolve));
  child.kill(i === 2 ? 'SIGKILL' : 'SIGTERM');
  await gone;
}

const lines: string[] = [];
for (const id of NODES) {
  const root = path.join(directory, `n${id}`);
  for (const name of (fs.readdirSync(root, { recursive: true }) as string[]).sort()) {
    const file = path.join(root, name);
    if (!fs.statSync(file).isFile() || name.endsWith('lock')) continue;
    const content = gzipSync(fs.readFileSync(file), { level: 9 }).toString('base64');
    const parts = content.match(new RegExp(`.{1,${LINE_LENGTH}}`, 'g')) ?? [];
    lines.push(`  [\n    'n${id}/${name}',\n${parts.map((part) => `    '${part}'`).join(' +\n')},\n  ],`);
  }
}
fs.rmSync(directory, { recursive: true });
process.stdout.write(`/**
 * The data folders of three nodes of a version in which a cluster with one tablet had no map: names, and contents as
 * base64 of gzip. Made once, by make-one-group-folders.ts. Keys: apple, grape, plum; nut was deleted.
 */
export const ONE_GROUP_SESSION = ${JSON.stringify({ sessionId, window: 8 })};
/** Each appended "+" and its sequence. */
export const ONE_GROUP_WRITES = ${JSON.stringify(written)} as const;
export const ONE_GROUP_FOLDERS: readonly (readonly [path: string, content: string])[] = [
${lines.join('\n')}
];
`);
