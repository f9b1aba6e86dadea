/** A program's own state machine: the same on all members, over crashes and snapshots, whatever it does. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient } from '../../src/client/client.js';
import { RaftreeClientError } from '../../src/client/client-error.js';
import { COMMAND_PREFIX } from '../../src/embed/machine-engine.js';
import type { RaftreeNode } from '../../src/embed/raftree-node.js';
import type { Divergence, SmallStateMachine } from '../../src/embed/state-machine.js';
import { memoryEngine } from '../../src/engines/memory-engine.js';
import { silentLogger } from '../../src/env/env.js';
import { errorCode, errorMessage } from '../../src/env/errors.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { Programs } from './programs-lab.js';

type Command = { readonly add: string } | { readonly fail: string };

/** A list of texts. Its state tells each command and the order of all. */
class List implements SmallStateMachine<Command, { length: number }, 'all' | 'throw', string> {
  texts: string[] = [];
  isClosed = false;

  apply(command: Command, index: number): { length: number } | Promise<{ length: number }> {
    if ('fail' in command) throw new Error(`${command.fail} at ${index > 0 ? 'its index' : 'none'}`);
    this.texts.push(command.add);
    return { length: this.texts.length };
  }

  query(query: 'all' | 'throw'): string {
    if (query === 'throw') throw new Error('no such question');
    return this.texts.join(' ');
  }

  toBytes(): Buffer {
    return Buffer.from(JSON.stringify(this.texts));
  }

  fromBytes(bytes: Uint8Array): void {
    this.texts = JSON.parse(Buffer.from(bytes).toString()) as string[];
  }

  close(): void {
    this.isClosed = true;
  }
}

type ListNode = RaftreeNode<Command, { length: number }, 'all' | 'throw', string>;

const stateMachine = () => new List();
const closeAll = (programs: Programs, nodes: readonly RaftreeNode[]) =>
  programs.run(Promise.all(nodes.map((node) => node.close())));
const failure = (call: Promise<unknown>): Promise<string> =>
  call.then(
    (done) => JSON.stringify(done),
    (error: unknown) =>
      error instanceof RaftreeClientError
        ? `${error.code} ${error.outcome}: ${error.message}`
        : String(error),
  );

test('commands of all members are applied once, in one order, and each proposer gets its own result', async () => {
  const programs = new Programs(11, 3);
  const nodes: ListNode[] = await programs.run(programs.startAll(() => ({ stateMachine })));
  const lengths = new Set<number>();
  const propose = async (node: ListNode) => {
    for (let i = 0; i < 20; i++) lengths.add((await node.propose({ add: `${node.nodeId}.${i}` })).length);
  };
  await programs.run(Promise.all(nodes.map(propose)));
  assert.equal(
    [...lengths].sort((a, b) => a - b),
    Array.from({ length: 60 }, (_, i) => i + 1),
  );
  const states = await programs.run(Promise.all(nodes.map((node) => node.query('all'))));
  assert.is(new Set(states).size, 1);
  assert.is(states[0]?.split(' ').length, 60);
  await programs.run((nodes[1] as ListNode).put('beside', 'it'));
  assert.is((await programs.run((nodes[2] as ListNode).get('beside')))?.value.toString(), 'it');
  await closeAll(programs, nodes);
});

test('leaders die, power fails, logs are cut and snapshots are sent: no command is lost or applied twice', async () => {
  const storage = { maxRaftLogBytes: 64 * 1024, raftSegmentBytes: 64 * 1024, trailingEntries: 10 };
  const settings = { stateMachine, storage };
  for (const seed of [12, 13]) {
    const programs = new Programs(seed, 3);
    const nodes: ListNode[] = await programs.run(programs.startAll(() => settings));
    let proposed = 0;
    const propose = async (by: number, count: number) => {
      for (let i = 0; i < count; i++) {
        const { length } = await (nodes[by - 1] as ListNode).propose(
          { add: `${proposed}${'.'.repeat(600)}` },
          { timeoutMs: 60_000 },
        );
        proposed++;
        assert.is(length, proposed);
      }
    };
    await programs.run(propose(1, 5));
    programs.kill(3);
    await programs.run(propose(1, 250));
    nodes[2] = await programs.run(programs.start(3, settings));
    await programs.run(propose(3, 5));
    await programs.world.scheduler.runFor(10_000);
    const states = programs.disks.get(3)?.mount({}).list('/data/groups/1') ?? [];
    assert.ok(
      states.some((name) => /^state-[1-9]/.test(name)),
      `no snapshot was installed: ${states.join()}`,
    );
    for (const id of [1, 2, 3]) {
      const proposing = propose(1 + (id % 3), 10);
      await programs.world.scheduler.runFor(30);
      programs.cutPower(id);
      await programs.run(proposing);
      nodes[id - 1] = await programs.run(programs.start(id, settings));
    }
    for (const id of [1, 2, 3]) programs.cutPower(id);
    const again: ListNode[] = await programs.run(programs.startAll(() => settings));
    const expected = Array.from({ length: proposed }, (_, i) => `${i}${'.'.repeat(600)}`).join(' ');
    for (const node of again)
      assert.ok(
        (await programs.run(node.query('all', { timeoutMs: 60_000 }))) === expected,
        `node ${node.nodeId}`,
      );
    await closeAll(programs, again);
    const reopened: ListNode[] = await programs.run(programs.startAll(() => settings));
    assert.is(await programs.run((reopened[0] as ListNode).query('all', { timeoutMs: 60_000 })), expected);
    await closeAll(programs, reopened);
  }
});

test('a command for which apply throws fails for its proposer, alike on all members, and they go on', async () => {
  const programs = new Programs(14, 3);
  const nodes: ListNode[] = await programs.run(programs.startAll(() => ({ stateMachine })));
  for (const node of nodes) {
    assert.is(
      await programs.run(failure(node.propose({ fail: 'refused' }))),
      'COMMAND_FAILED notCommitted: refused at its index',
    );
    assert.is((await programs.run(node.propose({ add: 'a' }))).length, node.nodeId);
    assert.match(
      await programs.run(failure(node.query('throw'))),
      /^QUERY_FAILED notCommitted: no such question/,
    );
  }
  for (const node of nodes) assert.is(await programs.run(node.query('all')), 'a a a');
  await closeAll(programs, nodes);
});

test('an apply that takes seconds holds up neither heartbeats nor reads of keys', async () => {
  const programs = new Programs(15, 3);
  class Slow extends List {
    override apply(command: Command, index: number): Promise<{ length: number }> {
      return new Promise((resolve, reject) => {
        programs.world.scheduler.after(4000, () => {
          Promise.resolve(super.apply(command, index)).then(resolve, reject);
        });
      });
    }
  }
  const nodes: ListNode[] = await programs.run(programs.startAll(() => ({ stateMachine: () => new Slow() })));
  await programs.run((nodes[0] as ListNode).put('k', 'v'));
  const { term } = await programs.run((nodes[0] as ListNode).status());
  const proposing = Promise.all(nodes.map((node) => node.propose({ add: 'slow' }, { timeoutMs: 60_000 })));
  await programs.world.scheduler.runFor(2000);
  assert.is((await programs.run((nodes[0] as ListNode).get('k', { level: 'stale' })))?.value.toString(), 'v');
  await programs.run(proposing);
  assert.is((await programs.run((nodes[0] as ListNode).status())).term, term);
  assert.is(await programs.run((nodes[2] as ListNode).query('all', { timeoutMs: 60_000 })), 'slow slow slow');
  await closeAll(programs, nodes);
});

test('an apply that does not end does not keep a node from closing', async () => {
  const programs = new Programs(16, 1);
  class Stuck extends List {
    override apply(): Promise<{ length: number }> {
      return new Promise(() => {});
    }
  }
  const node: ListNode = await programs.run(programs.start(1, { stateMachine: () => new Stuck() }));
  await programs.run(node.put('k', 'v'));
  const proposing = failure(node.propose({ add: 'never' }));
  await programs.world.scheduler.runFor(500);
  await programs.run(node.close());
  assert.match(await proposing, /^CLIENT_CLOSED unknown/);
  const again: ListNode = await programs.run(programs.start(1, { stateMachine }));
  assert.is(await programs.run(again.query('all')), 'never');
  await programs.run(again.close());
});

test('members whose apply differs are found by their checksums, loudly on both', async () => {
  const programs = new Programs(17, 3);
  const found = new Map<number, Divergence[]>();
  const logged = new Map<number, string[]>();
  class Wrong extends List {
    override apply(command: Command, index: number) {
      const result = super.apply(command, index);
      if (this.texts.length === 120) this.texts[7] = 'different here';
      return result;
    }
  }
  const nodes: ListNode[] = await programs.run(
    programs.startAll((id) => {
      found.set(id, []);
      const lines: string[] = [];
      logged.set(id, lines);
      return {
        stateMachine: () => (id === 2 ? new Wrong() : new List()),
        checksumEvery: 100,
        onDivergence: (divergence) => found.get(id)?.push(divergence),
        logger: { ...silentLogger, error: (_fields, message) => lines.push(message) },
      };
    }),
  );
  const propose = async () => {
    for (let i = 0; i < 210; i++) await (nodes[0] as ListNode).propose({ add: `${i}` });
  };
  await programs.run(propose());
  await programs.world.scheduler.runFor(2000);
  assert.equal(found.get(1), [{ nodeId: 2, commands: 200 }]);
  assert.equal(found.get(3), [{ nodeId: 2, commands: 200 }]);
  assert.equal(
    found.get(2)?.sort((a, b) => a.nodeId - b.nodeId),
    [
      { nodeId: 1, commands: 200 },
      { nodeId: 3, commands: 200 },
    ],
  );
  for (const id of [1, 2, 3])
    assert.match(logged.get(id)?.join() ?? '', /after 200 commands the state of node \d differs/);
  await closeAll(programs, nodes);
});

test('what cannot be proposed is refused, and clients of the cluster cannot write what the machine reads', async () => {
  const programs = new Programs(18, 1);
  const node: ListNode = await programs.run(programs.start(1, { stateMachine }));
  const cyclic: { self?: unknown } = {};
  cyclic.self = cyclic;
  for (const command of [undefined, cyclic, 10n])
    assert.match(
      await programs.run(failure(node.propose(command as unknown as Command))),
      /^INVALID_REQUEST notCommitted/,
    );
  const large = await programs.run(failure(node.propose({ add: 'x'.repeat(2 * 1024 * 1024) })));
  assert.match(large, /^VALUE_TOO_LARGE notCommitted/);
  const { env } = programs.world.start('client', new SimDisk());
  const stranger = new RaftreeClient({ endpoints: ['n1:7001'], env });
  assert.match(
    await programs.run(failure(stranger.put(`${COMMAND_PREFIX}x`, '{}'))),
    /^NOT_PERMITTED notCommitted/,
  );
  assert.match(
    await programs.run(
      failure(
        stranger.batch([
          { action: 'put', key: 'a', value: '' },
          { action: 'delete', key: `${COMMAND_PREFIX}x` },
        ]),
      ),
    ),
    /^NOT_PERMITTED notCommitted/,
  );
  await programs.run(stranger.put('another key', 'is taken'));
  await programs.run(stranger.close());
  // Whatever an operator writes there is a command that fails.
  await programs.run(node.put(`${COMMAND_PREFIX}by hand`, 'no JSON'));
  assert.match((await programs.run(node.get(`${COMMAND_PREFIX}by hand`)))?.value.toString() ?? '', /"error"/);
  assert.is(await programs.run(node.query('all')), '');
  await programs.run(node.close());
});

test('settings that contradict each other, and calls without a machine', async () => {
  const programs = new Programs(20, 1);
  const refused = async (more: object) => {
    const error = await programs.run(
      programs.start(1, more).then(
        () => undefined,
        (e: unknown) => e,
      ),
    );
    assert.is(errorCode(error), 'INVALID_CONFIG');
    return errorMessage(error);
  };
  assert.match(await refused({ stateMachine, engine: memoryEngine }), /not both/);
  assert.match(await refused({ stateMachine, checksumEvery: 10 }), /checksumEvery/);
  assert.match(await refused({ stateMachine, storage: { engine: 'lsm' } }), /storage\.engine says "lsm"/);
  const node = await programs.run(programs.start(1));
  assert.match(
    await programs.run(failure(node.propose(1))),
    /^INVALID_REQUEST notCommitted: .*without a stateMachine/,
  );
  assert.match(await programs.run(failure(node.query(1))), /^INVALID_REQUEST/);
  await programs.run(node.close());
  const other = await programs.run(programs.start(1, { stateMachine }).then(() => undefined, errorCode));
  assert.is(other, 'ENGINE_MISMATCH');
});

test('a machine whose state cannot be written stops its node, which says why', async () => {
  const programs = new Programs(21, 1);
  const failures: string[] = [];
  class Broken extends List {
    override toBytes(): Buffer {
      throw new Error('not today');
    }
  }
  const node: ListNode = await programs.run(
    programs.start(1, {
      stateMachine: () => new Broken(),
      checksumEvery: 100,
      onFailure: (error) => failures.push(error.message),
    }),
  );
  const propose = async () => {
    for (let i = 0; i < 100; i++) await node.propose({ add: 'x' }, { timeoutMs: 3000 });
  };
  await programs.run(failure(propose()));
  assert.match(failures.join(), /state machine has failed to snapshot its state: not today/);
  await programs.run(node.close());
  // The Raft log still has every command.
  const again: ListNode = await programs.run(programs.start(1, { stateMachine }));
  assert.is((await programs.run(again.query('all'))).split(' ').length, 100);
  await programs.run(again.close());
});

test.run();
