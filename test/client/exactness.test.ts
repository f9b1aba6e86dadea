/**
 * What a caller is told is exact, whatever happens: each append carries its own token; afterwards a token whose append
 * succeeded stands exactly once, one that is said not to be committed never stands, one that is unknown at most once.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeClient, RaftreeClientError } from '../../src/client/index.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { FakeCluster, type Fate } from './fake-cluster.js';

const FATES: readonly Fate[] = [
  'silent after',
  'silent before',
  'break after',
  'break before',
  'NO_LEADER',
  'OVERLOADED',
  'LEADERSHIP_LOST',
  'SHUTTING_DOWN',
  'VALUE_TOO_LARGE',
];

interface Told {
  readonly token: string;
  readonly outcome: 'applied' | 'notCommitted' | 'unknown';
}

async function run(seed: number): Promise<{ told: Told[]; stands: Map<string, number> }> {
  const random = new SeededRandom(seed);
  const cluster = await FakeCluster.start(seed);
  const { scheduler, network } = cluster.world;
  cluster.window = 8;
  cluster.script = () => {
    if (random.chance(0.02)) cluster.leader = random.between(0, 3);
    if (random.chance(0.005)) cluster.sessions.clear();
    return random.chance(0.15) ? random.pick(FATES) : undefined;
  };
  const client = new RaftreeClient({
    endpoints: cluster.endpoints,
    env: cluster.client.env,
    attemptTimeoutMs: 300,
    maxQueuedRequests: 30,
  });
  const told: Told[] = [];
  const append = async (number: number) => {
    const token = `<${number}>`;
    await scheduler.sleep(random.between(0, 4000));
    const controller = new AbortController();
    if (random.chance(0.1)) {
      scheduler.after(random.between(0, 1000), () => controller.abort());
    }
    try {
      const timeoutMs = random.pick([50, 500, 3000, 20_000]);
      await client.append(`k${number % 5}`, token, { timeoutMs, signal: controller.signal });
      told.push({ token, outcome: 'applied' });
    } catch (error) {
      assert.instance(error, RaftreeClientError, String(error));
      told.push({ token, outcome: (error as RaftreeClientError).outcome });
    }
  };
  const faults = async () => {
    for (let i = 0; i < 6; i++) {
      await scheduler.sleep(random.between(100, 1500));
      const node = `node${random.between(1, 3)}`;
      network.cut(...((random.chance(0.5) ? ['client', node] : [node, 'client']) as [string, string]));
      await scheduler.sleep(random.between(10, 1000));
      network.mendAll();
      // A leader of nobody would end every write of a long test.
      if (cluster.leader === 0) cluster.leader = 1;
    }
  };
  await scheduler.run(Promise.all([faults(), ...Array.from({ length: 150 }, (_, i) => append(i))]));
  network.mendAll();
  await scheduler.run(client.close());
  // What is still on its way arrives.
  await scheduler.runFor(5000);
  const stands = new Map<string, number>();
  for (const { value } of cluster.data.values()) {
    for (const token of value.toString().match(/<\d+>/g) ?? [])
      stands.set(token, (stands.get(token) ?? 0) + 1);
  }
  return { told, stands };
}

test('over many histories of faults', async () => {
  const totals = { applied: 0, notCommitted: 0, unknown: 0, unknownButStands: 0 };
  for (let seed = 1; seed <= 25; seed++) {
    const { told, stands } = await run(seed);
    assert.is(told.length, 150);
    for (const { token, outcome } of told) {
      const times = stands.get(token) ?? 0;
      totals[outcome]++;
      if (outcome === 'applied') assert.is(times, 1, `seed ${seed}: ${token} was acknowledged`);
      if (outcome === 'notCommitted') assert.is(times, 0, `seed ${seed}: ${token} was not committed`);
      if (outcome === 'unknown') assert.ok(times <= 1, `seed ${seed}: ${token} is unknown`);
      if (outcome === 'unknown' && times === 1) totals.unknownButStands++;
    }
  }
  // The histories are worth something only if each of these happens.
  for (const [what, count] of Object.entries(totals)) assert.ok(count > 20, `${what}: ${count}`);
});

test.run();
