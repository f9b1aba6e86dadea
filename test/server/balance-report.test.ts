/** What a node tells of its load: reads and writes that it was asked, as a leader and otherwise. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TabletLoad } from '../../src/kv/tablet-load.js';
import { BalanceReporter, reportSchema } from '../../src/server/balance-report.js';
import { SimWorld } from '../../src/sim/world/world.js';

const KEY = Buffer.from('k');

/** One tablet. */
class Lab {
  readonly load = new TabletLoad(new SimWorld(1).random, 'range');
  readonly replica = { role: 'leader', term: 3, appliedIndex: 10, configuration: { index: 5 } };
  nowMs = 0;
  readonly #reporter: BalanceReporter;

  constructor() {
    const { load, replica } = this;
    const stateMachine = { engineStats: () => undefined };
    const tablets = {
      all: [{ tablet: { id: 1 }, load, group: { replica }, stateMachine }],
      replicaIdOf: () => 7,
      meta: undefined,
    };
    const clock = { nowMs: () => this.nowMs };
    const location = { host: 'h', zone: 'z' };
    this.#reporter = new BalanceReporter(clock, tablets as never, location, {
      bytes: 9,
      operationsPerSecond: 8,
    });
  }

  get whole() {
    return reportSchema.parse(this.#reporter.report());
  }

  report(afterMs: number) {
    this.nowMs += afterMs;
    const [only] = this.whole.replicas;
    return only;
  }
}

test('a leader tells what it was asked, reads too, in its term; what a look for splits takes is not missing', () => {
  const lab = new Lab();
  lab.load.add(100, KEY);
  assert.equal(lab.report(0)?.leads, { term: 3, operationsPerSecond: 0, forMs: 0 }, 'since it leads');
  for (let i = 0; i < 500; i++) lab.load.add(1, KEY);
  lab.load.addScan(KEY);
  lab.load.take();
  lab.load.add(499, KEY);
  assert.equal(lab.report(2000)?.leads, { term: 3, operationsPerSecond: 500, forMs: 2000 });
  lab.load.add(400, KEY);
  assert.equal(lab.report(100)?.leads, { term: 3, operationsPerSecond: 500, forMs: 2100 }, 'too soon');
  lab.replica.term = 4;
  lab.load.add(100, KEY);
  assert.equal(lab.report(5000)?.leads, { term: 4, operationsPerSecond: 0, forMs: 0 }, 'it has begun anew');
});

test('a node tells above what it splits tablets', () => {
  assert.equal(new Lab().whole.splitsAbove, { bytes: 9, operationsPerSecond: 8 });
});

test('a replica that does not lead tells what it answers, from then on', () => {
  const lab = new Lab();
  lab.report(0);
  lab.load.add(1000, KEY);
  lab.replica.role = 'follower';
  assert.is(lab.report(1000)?.operationsPerSecond, 0);
  lab.load.add(300, KEY);
  const told = lab.report(1000);
  assert.is(told?.operationsPerSecond, 300);
  assert.is(told?.leads, undefined);
});

test.run();
