/**
 * Several tablets under faults that a seed draws: power cuts, cut links, leaders that move. Clients append tokens to
 * few keys and read them, alone and in scans. Every key is linearizable over all tablets and leaders; no token is
 * there twice, or although it was answered as not committed; in the end all nodes hold the same.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClientError } from '../../src/client/client-error.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { checkLinearizability, type Model, type Operation } from '../../src/sim/rules/linearizability.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

const KEYS = ['a', 'g', 'h{b}', 'm', 'n', '{b}z'];
const RAFT = { heartbeatMs: 40, electionTimeoutMinMs: 160, electionTimeoutMaxMs: 320 };
const DURATION_MS = 4000;
const FAULT_EVERY_MS = 500;
const CLIENTS = 4;

interface Call {
  /** Undefined: a read. */
  readonly token: string | undefined;
}

/** A value is its tokens in their order. */
const MODEL: Model<string, Call, string> = {
  initial: '',
  step: (state, { token }, seen) => {
    if (token !== undefined) return { state: state + token };
    return seen === state ? { state } : undefined;
  },
  fingerprint: (state) => state,
};

class Run {
  readonly cluster: SimulatedCluster;
  readonly #random: SeededRandom;
  readonly operations: Operation<Call, string>[] = [];
  readonly acknowledged: { readonly key: string; readonly token: string }[] = [];
  readonly refused: { readonly key: string; readonly token: string }[] = [];
  #order = 0;
  #tokens = 0;
  #isOver = false;

  constructor(seed: number) {
    this.#random = new SeededRandom(seed);
    const placement = this.#random.pick([
      { by: 'hash', tablets: this.#random.between(2, 6) },
      { by: 'range', splits: this.#random.pick([['g'], ['g', 'n'], ['b', 'h', 'n', 'z']]) },
    ] as const);
    const config = {
      placement: { ...placement, splits: 'splits' in placement ? [...placement.splits] : undefined },
    };
    this.cluster = new SimulatedCluster(seed, { config: { ...config, raft: RAFT } });
  }

  async go(): Promise<void> {
    const { cluster } = this;
    await cluster.startAll();
    const clients = Array.from({ length: CLIENTS }, (_, i) => this.#client(i));
    const faults = this.#faults();
    await cluster.sleep(DURATION_MS);
    this.#isOver = true;
    await Promise.all([...clients, faults]);
    cluster.world.network.mendAll();
    await Promise.all(cluster.machines.map(({ id, node }) => (node ? undefined : cluster.start(id))));
  }

  async #client(number: number): Promise<void> {
    const random = new SeededRandom(number + this.#random.uint32());
    const { cluster } = this;
    const client = cluster.client(20_000, {
      window: random.pick([1, 4, 64]),
      pageEntries: random.pick([1, 2, 1000]),
    });
    while (!this.#isOver) {
      const key = random.pick(KEYS);
      const callTime = this.#order++;
      const kind = random.between(0, 9);
      if (kind < 4) {
        const token = `<${this.#tokens++}>`;
        try {
          await client.append(key, token);
          this.acknowledged.push({ key, token });
          this.operations.push({ key, input: { token }, output: '', callTime, returnTime: this.#order++ });
        } catch (error) {
          assert.instance(error, RaftreeClientError);
          const isUnknown = (error as RaftreeClientError).outcome === 'unknown';
          assert.is.not((error as RaftreeClientError).code, 'WRONG_TABLET');
          if (!isUnknown) this.refused.push({ key, token });
          else
            this.operations.push({
              ...{ key, input: { token }, output: undefined, callTime },
              returnTime: Number.POSITIVE_INFINITY,
            });
        }
      } else if (kind < 8) {
        const level = random.pick(['linearizable', 'lease', 'follower'] as const);
        const found = await client.get(key, { level }).catch(() => null);
        if (found !== null) this.#read(key, found?.value.toString() ?? '', callTime);
      } else await this.#scan(client.scan({ reverse: random.chance(0.5) }), callTime);
      await cluster.sleep(random.float() * 40);
    }
    await client.close();
  }

  /** Each key of a scan is a read of its own; keys that are not there are not judged. */
  async #scan(
    entries: AsyncIterable<{ readonly key: Buffer; readonly value: Buffer }>,
    callTime: number,
  ): Promise<void> {
    const seen: string[] = [];
    try {
      for await (const { key, value } of entries) {
        seen.push(key.toString());
        this.#read(key.toString(), value.toString(), callTime);
      }
    } catch (error) {
      assert.instance(error, RaftreeClientError);
    }
    const sorted = [...seen].sort();
    assert.ok(
      [sorted, sorted.toReversed()].some((order) => order.join() === seen.join()),
      seen.join(),
    );
    assert.is(new Set(seen).size, seen.length);
  }

  #read(key: string, value: string, callTime: number): void {
    this.operations.push({
      key,
      input: { token: undefined },
      output: value,
      callTime,
      returnTime: this.#order++,
    });
  }

  async #faults(): Promise<void> {
    const { cluster } = this;
    const random = this.#random;
    const { network } = cluster.world;
    while (!this.#isOver) {
      await cluster.sleep(random.float() * 2 * FAULT_EVERY_MS);
      const machine = random.pick(cluster.machines);
      const kind = random.between(0, 3);
      if (kind === 0 && machine.node) {
        cluster.cutPower(machine.id);
        await cluster.sleep(random.float() * 400);
        await cluster.start(machine.id);
      } else if (kind === 1) {
        for (const { host } of cluster.machines) {
          if (host === machine.host) continue;
          network.cut(host, machine.host);
          network.cut(machine.host, host);
        }
        await cluster.sleep(random.float() * 800);
        network.mendAll();
      } else {
        const mover = cluster.client(1500);
        const tablet = random.between(1, 2);
        await mover.transferLeadership(random.between(1, 3), { tablet }).catch(() => {});
        await mover.close();
      }
    }
  }

  /** What each node holds, and the tokens in it. */
  async check(): Promise<void> {
    const { cluster } = this;
    const client = cluster.client();
    const held = async (endpoint: string | undefined) => {
      const values = new Map<string, string>();
      const options = endpoint === undefined ? {} : { level: 'stale' as const, endpoint };
      for await (const { key, value } of client.scan(options)) values.set(key.toString(), value.toString());
      return values;
    };
    const whole = await held(undefined);
    for (let waits = 0; waits < 100; waits++) {
      const each = await Promise.all(cluster.endpoints.map((endpoint) => held(endpoint)));
      if (each.every((values) => JSON.stringify([...values]) === JSON.stringify([...whole]))) break;
      assert.ok(waits < 99, 'a node never holds what the others hold');
      await cluster.sleep(100);
    }
    for (const [key, value] of whole) this.#read(key, value, this.#order++);
    const all = [...whole.values()].join('');
    const times = (token: string) => all.split(token).length - 1;
    for (const { key, token } of this.acknowledged) {
      assert.is(times(token), 1, `${token} was acknowledged`);
      assert.ok(whole.get(key)?.includes(token));
    }
    for (const { token } of this.refused) assert.is(times(token), 0, `${token} was not committed`);
    for (const token of all.match(/<\d+>/g) ?? []) assert.is(times(token), 1, `${token} is there once`);
    assert.equal(checkLinearizability(MODEL, this.operations), { linearizable: true });
    await client.close();
  }
}

for (let seed = 1; seed <= 3; seed++) {
  test(`seed ${seed}`, async () => {
    const run = new Run(seed);
    await run.cluster.run(run.go(), 200_000);
    await run.cluster.run(run.check(), 200_000);
    assert.ok(run.acknowledged.length > 30, `${run.acknowledged.length} tokens`);
    assert.equal(run.cluster.failures, []);
    await run.cluster.run(run.cluster.closeAll());
  });
}

test.run();
