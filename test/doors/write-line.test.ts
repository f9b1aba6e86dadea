/** The writes of one connection of a door take effect in the order in which they came, whoever leads meanwhile. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { RaftreeClientError } from '../../src/client/client-error.js';
import { RaftreeClient } from '../../src/client/index.js';
import { toOperation } from '../../src/client/operations.js';
import { Backend } from '../../src/doors/backend.js';
import { WriteLine } from '../../src/doors/write-line.js';
import { type Outcome, RaftreeError } from '../../src/env/errors.js';
import { commandOf } from '../../src/kv/command.js';
import type { CommandResult } from '../../src/kv/kv-state-machine.js';
import type { Caller } from '../../src/kv/requests.js';
import { KvService } from '../../src/kv/service.js';
import { FIRST_TABLET } from '../../src/placement/placement.js';
import type { Applied } from '../../src/replica/ports.js';
import { FakeCluster } from '../client/fake-cluster.js';

const CALLER: Caller = { door: 'resp', rights: { read: true, write: true, administrate: false } };
const LARGE = 'x'.repeat(1_000_000);

/** A door of a node that leads or not, and that knows the cluster of which another node leads. */
class Door {
  readonly cluster: FakeCluster;
  readonly client: RaftreeClient;
  readonly backend: Backend;
  leads = true;
  /** Why nothing is proposed here. */
  refusal: string | undefined;
  outcome: Outcome = 'notCommitted';
  /** First bytes of the values that were proposed here, in order. */
  readonly proposed: string[] = [];
  readonly #waiting: (() => void)[] = [];

  constructor(cluster: FakeCluster) {
    this.cluster = cluster;
    const { env } = cluster.client;
    this.client = new RaftreeClient({
      endpoints: cluster.endpoints,
      env,
      timeoutMs: 1000,
      attemptTimeoutMs: 300,
    });
    const limits = {
      ...{ maxKeyBytes: 100, maxValueBytes: 8_000_000, maxRequestBytes: 16_000_000 },
      ...{ maxOperationsPerRequest: 10, maxPendingRequests: 1000, maxScanEntries: 10, maxScanBytes: 1000 },
    };
    const kv = new KvService({
      ...{ clock: env.clock, random: env.random },
      tablet: () => ({
        replica: { propose: (body) => this.#propose(body), readIndex: async () => 0, yieldLeadership() {} },
        stateMachine: { get: () => undefined, scan: () => ({ entries: [], more: false }), range: undefined },
      }),
      tablets: () => [],
      limits,
      clientAddressOf: () => '',
      onFault: (_code, error) => {
        throw error;
      },
    });
    this.backend = new Backend({
      service: () => ({
        kv,
        admin: {
          handle: () => {
            throw new Error('nobody administrates');
          },
          split: () => {
            throw new Error('nobody administrates');
          },
          balance: () => {
            throw new Error('nobody administrates');
          },
        },
      }),
      tablets: {
        map: undefined,
        leads: () => this.leads,
        has: () => true,
        leadsCluster: true,
        ownerOf: () => FIRST_TABLET,
      },
      removed: () => undefined,
      cluster: this.client,
    });
  }

  #propose(body: Uint8Array): Promise<Applied<CommandResult>> {
    if (!this.leads) return Promise.reject(new RaftreeError('NOT_LEADER', 'no', { info: { leader: 1 } }));
    if (this.refusal)
      return Promise.reject(new RaftreeError(this.refusal, 'not now', { info: { outcome: this.outcome } }));
    const command = commandOf(Buffer.from(body));
    if (command.type !== 'write') throw new Error('a write was expected');
    this.proposed.push((command.operations[0]?.value ?? '').toString('latin1', 0, 4));
    const write = {
      applied: true,
      index: 1,
      results: [{ status: 'ok', existed: false, version: 1 }],
    } as const;
    return new Promise((resolve) =>
      this.#waiting.push(() => resolve({ index: 1, result: { type: 'written', write } })),
    );
  }

  /** What was proposed is carried out. */
  commit(): void {
    for (const done of this.#waiting.splice(0)) done();
  }

  write(line: WriteLine, value: string): Promise<unknown> {
    return this.backend.operate(CALLER, [toOperation({ action: 'put', key: 'k', value })], line);
  }

  get value(): string | undefined {
    return this.cluster.data.get('k')?.value.toString('latin1', 0, 4);
  }
}

async function opened(seed: number): Promise<Door> {
  const door = new Door(await FakeCluster.start(seed));
  await door.cluster.world.scheduler.run(door.client.put('first', ''));
  return door;
}

test('a small write does not overtake a large one that waits for room', async () => {
  const door = await opened(1);
  const { scheduler } = door.cluster.world;
  const line = new WriteLine();
  const values = Array.from({ length: 12 }, (_, i) => `${100 + i} ${i % 4 < 3 ? LARGE : ''}`);
  const all = Promise.all(values.map((value) => door.write(line, value)));
  const other = door.write(new WriteLine(), 'other');
  await scheduler.runFor(10);
  assert.ok(door.proposed.includes('othe'), 'other connections do not wait');
  for (let i = 0; i < values.length; i++) {
    door.commit();
    await scheduler.runFor(10);
  }
  await scheduler.run(Promise.all([all, other]));
  assert.equal(
    door.proposed.filter((value) => value !== 'othe'),
    values.map((value) => value.slice(0, 4)),
  );
  await scheduler.run(door.client.close());
});

test('a write that is passed on does not overtake a large one that waits for room here', async () => {
  const door = await opened(2);
  const { scheduler } = door.cluster.world;
  const [line, others] = [new WriteLine(), new WriteLine()];
  const busy = Promise.all(Array.from({ length: 8 }, () => door.write(others, `busy${LARGE}`)));
  const writes = [door.write(line, `one ${LARGE}`)];
  await scheduler.runFor(10);
  door.leads = false;
  writes.push(door.write(line, 'two '));
  await scheduler.runFor(10);
  door.commit();
  await scheduler.run(Promise.all([busy, ...writes]));
  assert.is(door.value, 'two ');
  await scheduler.run(door.client.close());
});

test('large and small writes that this node refuses, as it leads no more, are passed on in order', async () => {
  const door = await opened(3);
  const { scheduler } = door.cluster.world;
  const line = new WriteLine();
  // It still leads when they come, and no more when they are proposed.
  let asked = 0;
  Object.defineProperty(door, 'leads', { get: () => asked++ % 2 === 0 });
  const writes = [`one ${LARGE}`, 'two '].map((value) => door.write(line, value));
  await scheduler.run(Promise.all(writes));
  assert.equal(door.proposed, []);
  assert.is(door.value, 'two ');
  await scheduler.run(door.client.close());
});

test('what was certainly not committed when this node lost the leadership is passed on, in order', async () => {
  const door = await opened(6);
  const { scheduler } = door.cluster.world;
  const line = new WriteLine();
  door.refusal = 'LEADERSHIP_LOST';
  const writes = [door.write(line, 'one ')];
  door.leads = false;
  writes.push(door.write(line, 'two '));
  await scheduler.run(Promise.all(writes));
  assert.equal([door.proposed, door.value], [[], 'two ']);
  door.leads = true;
  door.outcome = 'unknown';
  const fate = door.write(line, 'thre').catch((error: RaftreeClientError) => [error.code, error.outcome]);
  assert.equal(await scheduler.run(fate), ['LEADERSHIP_LOST', 'unknown']);
  assert.is(door.value, 'two ', 'nobody repeats what may be committed');
  await scheduler.run(door.client.close());
});

test('while one waits to be passed on, none behind it is proposed here', async () => {
  const door = await opened(5);
  const { scheduler } = door.cluster.world;
  const line = new WriteLine();
  const writes = [door.write(line, 'one ')];
  door.leads = false;
  writes.push(door.write(line, 'two '));
  door.leads = true;
  writes.push(door.write(line, 'thre'));
  await scheduler.runFor(10);
  assert.equal(door.proposed, ['one ']);
  door.commit();
  await scheduler.run(Promise.all(writes));
  assert.equal([door.proposed, door.value], [['one '], 'thre']);
  await scheduler.run(door.client.close());
});

test('behind a write of unknown fate that was passed on none is proposed here', async () => {
  const door = await opened(4);
  const { cluster } = door;
  const { scheduler } = cluster.world;
  const line = new WriteLine();
  door.leads = false;
  cluster.script = (request) => (request.type === 'write' ? 'hold' : undefined);
  const code = await scheduler.run(door.write(line, 'one ').catch((error: RaftreeError) => error.code));
  assert.is(code, 'TIMEOUT');
  // Copies of it are on their way to a node that may lead by then.
  cluster.script = () => undefined;
  door.leads = true;
  await scheduler.run(door.write(line, 'two '));
  for (const run of cluster.held.splice(0)) run();
  await scheduler.runFor(10);
  assert.equal(door.proposed, [], 'a late copy of the first could come after it');
  assert.is(door.value, 'two ');
  const next = door.write(line, 'thre');
  await scheduler.runFor(10);
  assert.equal(door.proposed, ['thre'], 'then it is known that none comes');
  door.commit();
  await scheduler.run(next);
  await scheduler.run(door.client.close());
});

test('a write to a tablet that is being merged, or has ended, waits until what it becomes takes it', async () => {
  for (const refusal of ['TABLET_FROZEN', 'WRONG_TABLET']) {
    const door = await opened(9);
    const { scheduler } = door.cluster.world;
    const line = new WriteLine();
    door.refusal = refusal;
    let strikes = 2;
    door.cluster.script = ({ type }) => (type === 'write' && strikes-- > 0 ? 'TABLET_FROZEN' : undefined);
    const writes = ['1', '2', '3'].map((value) => door.write(line, value));
    await scheduler.run(Promise.all(writes));
    assert.is(door.value, '3', refusal);
    await scheduler.run(door.client.close());
  }
});

test.run();
