/**
 * One node of `bench:groups`: a process with the store, the state machines and the peer connections of a real node, and
 * as many groups as it is told. It has no client port. The parent process asks it over IPC, one question at a time.
 */
import * as fs from 'node:fs';
import { lsmEngine } from '../src/engines/lsm-engine.js';
import { parseAddress, silentLogger } from '../src/env/env.js';
import { realEnv } from '../src/env/real/real-env.js';
import { encodeWrite } from '../src/kv/command.js';
import type { CommandResult, KvStateMachine } from '../src/kv/kv-state-machine.js';
import { HistoryBudget } from '../src/kv/watch/history-budget.js';
import { LsmResources } from '../src/lsm/resources.js';
import { BufferBudget } from '../src/net/buffer-budget.js';
import { ONE_TABLET } from '../src/placement/placement.js';
import type { Founder } from '../src/server/birth.js';
import { bufferedBytesOf, clusterSecretsOf, parseNodeConfig } from '../src/server/config.js';
import { KnownPeers } from '../src/server/known-peers.js';
import { firstBaseOf, openKvStateMachine, storeOptionsOf } from '../src/server/kv-group.js';
import { Peers } from '../src/server/peers.js';
import { Store } from '../src/store/store.js';

export interface NodeArguments {
  readonly id: number;
  readonly nodes: readonly { readonly id: number; readonly peer: string }[];
  readonly directory: string;
  readonly groups: number;
  readonly quietAfterMs: number;
}

export type Question =
  /** Opens all groups, and creates them first if they are new. */
  | 'open'
  /** How many groups have a leader here, as this node knows. */
  | 'led'
  /** Writes a key in each group that this node leads, and flushes all trees. */
  | 'write'
  /** Collects garbage, and tells what the process takes. */
  | 'measure'
  | 'close';

export interface Answer {
  readonly groups: number;
  /** Groups with a leader; groups that this node leads. */
  readonly led: number;
  readonly leading: number;
  readonly quiet: number;
  /** Since the process began, of all its threads. */
  readonly cpuMicroseconds: number;
  readonly nowMs: number;
  readonly memoryBytes: { readonly resident: number; readonly heap: number; readonly external: number };
  readonly descriptors: number;
  readonly sentMessages: number;
  /** Since the process began, by Linux's /proc/self/io: files and sockets. */
  readonly writtenBytes: number;
}

const { id, nodes, directory, groups, quietAfterMs } = JSON.parse(process.argv[2] ?? '') as NodeArguments;
const INCARNATION = 'ab'.repeat(16);
const founders: Founder[] = nodes.map((node) => ({ id: node.id, storeId: `store-${node.id}` }));
const config = parseNodeConfig(
  {
    clusterId: 'bench',
    nodeId: id,
    dataDirectory: directory,
    raft: { quietAfterMs },
    // Nobody listens on the client ports.
    nodes: nodes.map((node) => ({ ...node, client: `127.0.0.1:${node.id}` })),
  },
  'bench:groups',
  directory,
);
const env = realEnv();
const resources = new LsmResources({
  blockCacheBytes: config.storage.blockCacheBytes,
  writeBufferBytes: 2 * config.storage.writeBufferBytes,
});
const engine = lsmEngine(config.storage, resources);
const histories = new HistoryBudget(env.clock);
let sentMessages = 0;

env.fs.makeDirectory(directory);
const store = Store.open<KvStateMachine, CommandResult>(storeOptionsOf(config, directory), {
  env,
  logger: silentLogger,
  openStateMachine: (context) =>
    openKvStateMachine({ env, logger: silentLogger, owner: undefined, histories }, engine, context),
  transport: {
    send: (to, group, message) => {
      sentMessages++;
      peers.send(to, group, message);
    },
    sendAlive: (to, epoch) => {
      sentMessages++;
      peers.sendAlive(to, epoch);
    },
  },
  host: {
    statusChanged() {},
    configurationChanged() {},
    succeeded() {},
    groupFailed: (group, error) => process.stderr.write(`group ${group}: ${error.message}\n`),
    failed: (error) => {
      throw error;
    },
  },
});
const known = new KnownPeers(env, directory);
known.follow(0, nodes);
const peers = new Peers({
  env,
  logger: silentLogger,
  identity: { role: 'peer', clusterId: 'bench', nodeId: id, storeId: `store-${id}` },
  budget: new BufferBudget(env, bufferedBytesOf(config.limits)),
  maxConnections: 256,
  security: { secrets: clusterSecretsOf(config.security, env, silentLogger), random: env.random },
  known,
  announcement: () => ({
    ...{ phase: 'born', incarnation: INCARNATION, founders, joins: false, placement: ONE_TABLET },
    ...{ configurationIndex: 0, members: nodes.map((node) => node.id), isMember: true },
    ...{ engine: 'lsm', starts: 0, run: `run-${process.pid}`, logs: [] },
  }),
  bornIn: () => INCARNATION,
  announced: () => undefined,
  left() {},
  outdated(error) {
    throw error;
  },
  electionTimeoutMinMs: config.raft.electionTimeoutMinMs,
  electionTimeoutMaxMs: config.raft.electionTimeoutMaxMs,
  received: (group, from, message) => store.receive(from, group, message),
  alive: (from, epoch) => store.receiveAlive(from, epoch),
  unreachable: (node) => store.unreachable(node),
});

/** Groups that open at the same time: each opens some files. */
const OPENING = 64;

async function open(): Promise<void> {
  const ids = Array.from({ length: groups }, (_, i) => i + 1);
  const restarted = store.storedGroups.length > 0;
  if (!restarted) {
    const base = firstBaseOf(config, founders);
    await Promise.all(ids.map((group) => store.createGroup(group, base, INCARNATION)));
  }
  for (let from = 0; from < groups; from += OPENING) {
    await Promise.all(ids.slice(from, from + OPENING).map((group) => store.openGroup(group, { restarted })));
  }
  const own = nodes.find((node) => node.id === id);
  await peers.listen(parseAddress(own?.peer ?? ''));
  peers.setMembers(nodes.map((node) => ({ id: node.id, addresses: [node.peer] })));
}

async function write(): Promise<void> {
  const body = encodeWrite(
    config.limits.maxValueBytes,
    {
      type: 'write',
      session: undefined,
      operations: [
        {
          action: 'put',
          key: Buffer.from('key'),
          value: Buffer.alloc(100, 'value'),
          condition: 'always',
          conditionValue: Buffer.alloc(0),
          conditionVersion: 0,
        },
      ],
    },
    env.clock,
  );
  const led = store.groups.filter(({ replica }) => replica.role === 'leader');
  await Promise.all(led.map(({ replica }) => replica.propose(body).catch(() => {})));
}

function answer(): Answer {
  const { user, system } = process.cpuUsage();
  const { rss, heapUsed, external } = process.memoryUsage();
  const led = store.groups.filter(({ replica }) => replica.leader !== 0);
  const [, written = '0'] = /^wchar: (\d+)$/m.exec(fs.readFileSync('/proc/self/io', 'utf8')) ?? [];
  return {
    groups: store.groups.length,
    led: led.length,
    leading: led.filter(({ replica }) => replica.role === 'leader').length,
    quiet: store.quietGroups,
    cpuMicroseconds: user + system,
    nowMs: performance.now(),
    memoryBytes: { resident: rss, heap: heapUsed, external },
    descriptors: fs.readdirSync('/proc/self/fd').length,
    sentMessages,
    writtenBytes: Number(written),
  };
}

async function answerTo(question: Question): Promise<Answer> {
  if (question === 'open') await open();
  if (question === 'write') await write();
  if (question === 'measure') {
    // Twice: what the first collection finalizes, the second one frees.
    globalThis.gc?.();
    await new Promise((resolve) => setImmediate(resolve));
    globalThis.gc?.();
  }
  const now = answer();
  if (question === 'close') {
    await peers.close();
    await store.close();
    resources.close();
  }
  return now;
}

// The parent is gone.
process.on('disconnect', () => process.exit());
process.on('message', (question: Question) => {
  answerTo(question).then(
    (result) => {
      process.send?.(result);
      if (question === 'close') process.disconnect();
    },
    (error: unknown) => {
      process.stderr.write(`node ${id}: ${String(error)}\n`);
      process.exit(1);
    },
  );
});
