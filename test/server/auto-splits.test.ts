/** Tablets that are too large or too busy are split by themselves, once and where it helps; a forgotten split ends. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LocatedTablet } from '../../src/client/tablet-cache.js';
import { silentLogger } from '../../src/env/env.js';
import { RaftreeError } from '../../src/env/errors.js';
import { TabletLoad } from '../../src/kv/tablet-load.js';
import type { Meta } from '../../src/meta/meta.js';
import { intentKey, tabletKey } from '../../src/meta/records.js';
import { AutoSplits, type SplittableTablet } from '../../src/server/auto-splits.js';
import { type SplitSettings, splitSettingsOf } from '../../src/server/placement-config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';
import { begun, codeOf, keysOf, RAFT } from '../support/tablet-cluster.js';

const KIB = 1024;

async function tabletsOf(cluster: SimulatedCluster): Promise<readonly LocatedTablet[]> {
  const client = cluster.client();
  const { tablets } = await client.tablets();
  await client.close();
  return tablets;
}

interface Modelled {
  readonly id: number;
  readonly keys: readonly string[];
  readonly load: TabletLoad;
}

/** One node that leads all tablets, by range; a split takes effect at once. */
class Lab {
  readonly world = new SimWorld(1);
  readonly faults: unknown[] = [];
  /** Of the files of each tablet, with all keys that it shares them with. */
  fileBytes = 1e6;
  readonly splitsMs: number[] = [];
  readonly warnings: string[] = [];
  tablets: Modelled[];
  refuses = '';
  surveys = 0;
  underWay = 0;

  /** `bytesOf`: what a key takes. */
  constructor(
    tablets: readonly (readonly string[])[],
    settings: Partial<SplitSettings>,
    bytesOf: (key: string) => number = () => 1,
  ) {
    const { env } = this.world.start('n', new SimDisk());
    this.tablets = tablets.map((keys, i) => this.#tablet(i + 1, keys));
    const shown = ({ id, keys, load }: Modelled): SplittableTablet => ({
      ...{ tablet: { id }, load, group: { replica: { role: 'leader' } } },
      stateMachine: {
        range: undefined,
        // Of all keys that the tablet shares its files with.
        sizeBytes: this.fileBytes,
        survey: async () => {
          this.surveys++;
          const bytes = keys.reduce((sum, key) => sum + bytesOf(key), 0);
          return { bytes, keys: keys.flatMap((key) => Array(bytesOf(key)).fill(Buffer.from(key))) };
        },
      },
    });
    new AutoSplits<SplittableTablet>({
      ...{ env, by: 'range', logger: { ...silentLogger, warn: (_, text) => this.warnings.push(text) } },
      settings: () => ({ maxTabletBytes: 1e9, maxTabletOperationsPerSecond: 0, ...settings }),
      tablets: () => this.tablets.map(shown),
      splitAt: async ({ tablet: { id } }, point) => this.#split(id, point.toString()),
      underWay: () => this.underWay,
      onFault: (error) => this.faults.push(error),
    }).begin();
  }

  #tablet(id: number, keys: readonly string[]): Modelled {
    return { id, keys, load: new TabletLoad(this.world.random, 'range') };
  }

  #split(id: number, point: string): void {
    if (this.refuses) throw new RaftreeError(this.refuses, 'not now');
    this.splitsMs.push(this.world.scheduler.nowMs());
    const next = 1000 * this.splitsMs.length;
    this.tablets = this.tablets.flatMap((tablet) => {
      if (tablet.id !== id) return tablet;
      const left = tablet.keys.filter((key) => key < point);
      const right = tablet.keys.filter((key) => key >= point);
      assert.ok(left.length > 0 && right.length > 0);
      return [this.#tablet(next, left), this.#tablet(next + 1, right)];
    });
  }

  /** The tablets are asked so much, evenly over these keys. */
  async run(ms: number, perSecond = 0, keys: readonly string[] = []): Promise<void> {
    let asked = 0;
    for (let passedMs = 0; passedMs < ms; passedMs += 100) {
      for (let i = 0; i < perSecond / 10; i++) {
        const key = keys[asked++ % keys.length] ?? '';
        this.tablets.find((tablet) => tablet.keys.includes(key))?.load.add(1, Buffer.from(key));
      }
      await this.world.scheduler.runFor(100);
    }
  }
}

const LETTERS = [...'abcdefghijklmnop'];
const HOUR_MS = 3_600_000;

test('by size: a tablet is split in its middle until none is too large, one after the other, and then never again', async () => {
  const lab = new Lab([LETTERS, ['z']], { maxTabletBytes: 5 });
  await lab.run(HOUR_MS / 10);
  assert.equal(
    lab.tablets.map(({ keys }) => keys.join('')),
    ['abcd', 'efgh', 'ijkl', 'mnop', 'z'],
  );
  assert.is(new Set(lab.splitsMs).size, 3);
  // Their files are still those of the whole: each was looked at once a minute, not at every look.
  assert.ok(lab.surveys <= 3 + 5 * 7, `${lab.surveys} close looks`);
  assert.equal(lab.faults, []);
});

test('by size: one key that is too large stays, and is not looked at again and again', async () => {
  const lab = new Lab([['a', 'large', 'z']], { maxTabletBytes: 10 }, (key) => (key === 'large' ? 20 : 1));
  await lab.run(HOUR_MS / 10);
  assert.ok(lab.tablets.some(({ keys }) => keys.join() === 'large'));
  assert.is(lab.tablets.length, 3);
  assert.ok(lab.surveys < 30, `${lab.surveys} close looks`);
});

test('by size: a tablet that was not too large is looked at again when it has grown enough to be', async () => {
  const lab = new Lab([LETTERS], { maxTabletBytes: 20 });
  await lab.run(20_000);
  lab.tablets = lab.tablets.map((tablet) => ({ ...tablet, keys: [...LETTERS, ...'qrstuvwx'] }));
  lab.fileBytes += 4;
  await lab.run(20_000);
  assert.is(lab.surveys, 1, 'no more than 20 can be there');
  lab.fileBytes += 4;
  await lab.run(6000);
  assert.equal([lab.surveys, lab.tablets.length], [2, 2]);
});

test('nothing is split while enough splits of the cluster are under way; a refusal is no fault, and is told once', async () => {
  const lab = new Lab([LETTERS], { maxTabletBytes: 10 });
  lab.underWay = 4;
  await lab.run(30_000);
  assert.is(lab.surveys, 0);
  lab.underWay = 3;
  lab.refuses = 'CHANGE_PENDING';
  await lab.run(30_000);
  assert.is(lab.surveys, 3, 'that passes soon');
  assert.equal(lab.warnings, ['tablet 1 cannot be split now, it is tried again: not now']);
  lab.refuses = 'CHANGE_INVALID';
  await lab.run(50_000);
  assert.is(lab.surveys, 4, 'this may stay so');
  assert.is(lab.warnings.length, 1);
  lab.refuses = '';
  await lab.run(30_000);
  assert.is(lab.tablets.length, 2);
  assert.equal(lab.faults, []);
});

test('by load: a tablet that is busy for some time is split where its load lies, and its parts are not', async () => {
  const lab = new Lab([LETTERS], { maxTabletOperationsPerSecond: 1000 });
  await lab.run(10_000, 1500, ['m', 'n', 'o', 'p']);
  await lab.run(10_000, 500, ['m', 'n', 'o', 'p']);
  await lab.run(10_000, 1500, ['m', 'n', 'o', 'p']);
  assert.is(lab.tablets.length, 1, 'it was busy for a moment only');
  await lab.run(12_000, 1500, ['m', 'n', 'o', 'p']);
  assert.equal(
    lab.tablets.map(({ keys }) => keys.at(-1)),
    ['n', 'p'],
  );
  await lab.run(60_000, 1500, ['m', 'n', 'o', 'p']);
  assert.is(lab.tablets.length, 2, 'each part has half of it');
  assert.equal(lab.faults, []);
});

test('by load: a busy tablet is split soon after what was in the way has passed', async () => {
  const lab = new Lab([LETTERS], { maxTabletOperationsPerSecond: 1000 });
  lab.refuses = 'MEMBER_UNREACHABLE';
  await lab.run(40_000, 1500, ['m', 'n', 'o', 'p']);
  assert.is(lab.tablets.length, 1);
  lab.refuses = '';
  await lab.run(11_000, 1500, ['m', 'n', 'o', 'p']);
  assert.is(lab.tablets.length, 2);
});

test('by load: one hot key is not divided, nor are keys beside it cut off', async () => {
  const lab = new Lab([LETTERS], { maxTabletOperationsPerSecond: 1000 });
  await lab.run(90_000, 1500, ['a', 'm', 'm', 'm', 'm', 'm', 'm', 'm', 'm', 'z']);
  assert.is(lab.tablets.length, 1);
});

for (const by of ['range', 'hash'] as const)
  test(`by ${by}: a real tablet that is too large is split while clients go on`, async () => {
    const placement = by === 'range' ? { by, splits: ['x'] } : { by, tablets: 2 };
    // It may differ between nodes.
    const config = (id: number) => ({
      placement: { ...placement, maxTabletBytes: 64 * KIB + id },
      raft: RAFT,
    });
    const cluster = new SimulatedCluster(3, { config });
    await cluster.run(cluster.startAll());
    const client = cluster.client(60_000);
    await cluster.run(
      (async () => {
        const names = Array.from({ length: 44 }, (_, i) => `key${i + 10}`);
        for (const name of names) await client.put(name, cluster.world.random.bytes(4 * KIB));
        await cluster.sleep(30_000);
        const tablets = await tabletsOf(cluster);
        const least = by === 'range' ? 4 : 3;
        assert.ok(tablets.length >= least && tablets.length <= 6, `${tablets.length} tablets`);
        assert.equal(await keysOf(client.scan()), names);
        await client.close();
      })(),
      200_000,
    );
    assert.equal(cluster.failures, []);
    await cluster.run(cluster.closeAll());
  });

test('a cluster of one tablet without a map is split when all members are there; until then it says why, once', async () => {
  const placement = { by: 'range' as const, maxTabletBytes: 64 * KIB };
  const warnings: string[] = [];
  const logger = { ...silentLogger, warn: (_: object, text: string) => warnings.push(text) };
  const cluster = new SimulatedCluster(8, { config: { placement, raft: RAFT }, logger });
  await cluster.run(cluster.startAll());
  const client = cluster.client(60_000);
  await cluster.run(
    (async () => {
      const away = (await client.status()).leaderId === 3 ? 2 : 3;
      cluster.kill(away);
      const names = Array.from({ length: 44 }, (_, i) => `key${i + 10}`);
      for (const name of names) await client.put(name, cluster.world.random.bytes(4 * KIB));
      await cluster.sleep(30_000);
      assert.is((await tabletsOf(cluster)).length, 1);
      assert.is((await client.status()).groups, 1, 'nothing has begun');
      const told = warnings.filter((text) => /^tablet 1 cannot be split now/.test(text));
      assert.is(told.length, 1, told.join('\n'));
      assert.match(told[0] ?? '', new RegExp(`node ${away} cannot be asked.*all members must be there`));
      await cluster.start(away);
      await cluster.sleep(30_000);
      const tablets = await tabletsOf(cluster);
      assert.ok(tablets.length >= 3 && tablets.length <= 6, `${tablets.length} tablets`);
      assert.equal(await keysOf(client.scan()), names);
      await client.close();
    })(),
    300_000,
  );
  assert.equal(cluster.failures, []);
  await cluster.run(cluster.closeAll());
});

test('by load a cluster without a map is split only if node.json says so, and one with a map by default', () => {
  const by = 'range' as const;
  assert.is(splitSettingsOf(undefined, false).maxTabletOperationsPerSecond, 0);
  assert.is(splitSettingsOf({ by, maxTabletOperationsPerSecond: 9 }, false).maxTabletOperationsPerSecond, 9);
  assert.ok(splitSettingsOf({ by }, true).maxTabletOperationsPerSecond > 0);
  assert.ok(splitSettingsOf(undefined, false).maxTabletBytes > 0);
});

test('a split that is recorded and forgotten is done, or its intent goes (yugabyte #10167)', async () => {
  const cluster = await begun({ by: 'range', splits: ['n'] }, 6);
  const client = cluster.client(60_000);
  const forgotten = async (meta: Meta, tablet: number, at: string) => {
    const state = await meta.read();
    const first = await meta.allocateIds(8);
    const child = (id: number, from: number) => ({
      id,
      replicas: [1, 2, 3].map((node, i) => ({ replicaId: from + i, node, role: 'voter' as const })),
    });
    const intent = {
      ...{ type: 'split' as const, generation: 1, at: Buffer.from(at) },
      children: [child(first, first + 2), child(first + 1, first + 5)] as const,
    };
    const version = state.versionOf(tabletKey(tablet));
    assert.ok(
      await meta.update([
        { key: intentKey(tablet), expectedVersion: 0, value: intent },
        { key: tabletKey(tablet), expectedVersion: version, value: null },
      ]),
    );
    return first;
  };
  await cluster.run(
    (async () => {
      await client.put('a', 'v');
      await cluster.sleep(1000);
      const meta = cluster.nodes[0]?.meta;
      assert.ok(meta);
      const left = await forgotten(meta, 1, 'g');
      // A tablet begins there already.
      await forgotten(meta, 2, 'n');
      await cluster.sleep(6000);
      assert.is(meta.state.intents.size, 0);
      const tablets = await tabletsOf(cluster);
      assert.equal(
        tablets.map(({ id }) => id),
        [left, left + 1, 2],
      );
      await client.splitTablet('t');
      await client.close();
    })(),
    60_000,
  );
  assert.equal(cluster.failures, []);
  await cluster.run(cluster.closeAll());
});

test('a key that is too long is refused, and changes nothing', async () => {
  const cluster = await begun({ by: 'range', splits: ['n'] }, 7);
  const client = cluster.client();
  await cluster.run(
    (async () => {
      assert.is(await codeOf(client.splitTablet('b'.repeat(4097))), 'CHANGE_INVALID');
      assert.is((await tabletsOf(cluster)).length, 2);
      await client.splitTablet('b'.repeat(4096));
      await client.close();
    })(),
  );
  await cluster.run(cluster.closeAll());
});

test.run();
