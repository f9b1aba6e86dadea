/** A program with three nodes: what it has open is printed before, while and after they run. */
import { RaftreeError, RaftreeNode } from '../../src/index.js';

const [folder = '', ...ports] = process.argv.slice(2);

/** What keeps a process alive, and all sockets. */
const open = () =>
  process.getActiveResourcesInfo().filter((name) => /TCP|Pipe|Timeout|MessagePort|Worker/.test(name));

const nodes = [1, 2, 3].map((id) => ({
  id,
  client: `127.0.0.1:${ports[2 * id - 2]}`,
  peer: `127.0.0.1:${ports[2 * id - 1]}`,
}));
const start = (id: number) =>
  RaftreeNode.start({ clusterId: 'program', nodeId: id, dataDirectory: `${folder}/${id}`, nodes });
const startAll = () => Promise.all(nodes.map(({ id }) => start(id)));

// Node.js opens them when they are first asked for.
void [process.stdout, process.stderr];
const before = open().length;
let all = await startAll();
await Promise.all(all.map((node, i) => node.put(`key ${i}`, `${i}`)));
const second = await start(2).then(
  () => 'started',
  (error: unknown) => (error instanceof RaftreeError ? error.code : String(error)),
);
const during = open().length;
await Promise.all(all.map((node) => node.close()));
const after = open();
all = await startAll();
const found: string[] = [];
for await (const { key, value } of (all[1] as RaftreeNode).scan()) found.push(`${key}=${value}`);
await Promise.all(all.map((node) => node.close()));
console.log(JSON.stringify({ before, during, after, second, found }));
