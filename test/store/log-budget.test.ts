/** One limit for the logs of all groups: above it those that hold most are cut. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { LogBudget } from '../../src/store/log-budget.js';

const LIMITS = { maxLogBytes: 1000, maxSnapshotLogBytes: 4000, trailingEntries: 10 };

function budgetOf(...sizes: readonly number[]) {
  const world = new SimWorld(1);
  const budget = new LogBudget(world.start('n1', new SimDisk()).env.clock, LIMITS);
  const logs = sizes.map((sizeBytes) => ({ sizeBytes }));
  for (const log of logs) budget.add(log);
  /** Those that are above their limit. */
  const large = () =>
    logs.filter((log) => log.sizeBytes > budget.limitsOf(log).maxLogBytes).map((log) => logs.indexOf(log));
  return { world, budget, logs, large };
}

test('a group alone has the whole limit', () => {
  const { budget, logs } = budgetOf(5000);
  for (const log of logs) assert.equal(budget.limitsOf(log), LIMITS);
});

test('within the limit no group is large, whatever its share; above it those are that hold an equal share', () => {
  assert.equal(budgetOf(990, 5, 5).large(), []);
  assert.equal(budgetOf(990, 5, 6).large(), [0]);
  assert.equal(budgetOf(400, 400, 400).large(), [0, 1, 2]);
  assert.equal(budgetOf(600, 300, 400).large(), [0, 2]);
});

test('when the sum is above the limit at least one group is large, and cutting the large ones brings it within', () => {
  for (let seed = 1; seed <= 200; seed++) {
    const sizes = Array.from({ length: 1 + (seed % 7) }, (_, i) => (seed * 131 * (i + 1) * (i + 3)) % 900);
    const { large } = budgetOf(...sizes);
    const sum = sizes.reduce((a, b) => a + b, 0);
    assert.is(large().length > 0, sum > LIMITS.maxLogBytes, sizes.join());
  }
});

test('a log within an equal share has that as its limit, and the others are not added up', () => {
  const { budget, logs } = budgetOf(300, 2000, 0);
  const [small] = logs as [{ readonly sizeBytes: number }];
  let looked = 0;
  const other = {
    get sizeBytes() {
      looked++;
      return 10;
    },
  };
  budget.add(other);
  assert.equal(budget.limitsOf({ sizeBytes: 250 }), {
    maxLogBytes: 250,
    maxSnapshotLogBytes: 1000,
    trailingEntries: 10,
  });
  assert.is(looked, 0);
  assert.is(budget.limitsOf(small).maxLogBytes, 250);
  assert.is(looked, 1, 'a larger one may have what the others leave');
});

test('a log that is removed no longer counts, and one that grows does soon', async () => {
  const { world, budget, logs, large } = budgetOf(700, 200);
  assert.equal(large(), []);
  const [first, second] = logs as [{ sizeBytes: number }, { sizeBytes: number }];
  await world.scheduler.runFor(20);
  second.sizeBytes = 600;
  assert.equal(large(), [0, 1]);
  budget.remove(second);
  assert.equal(budget.limitsOf(first), LIMITS);
});

test.run();
