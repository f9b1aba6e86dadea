/** What a node remembers of the replicas that it was ordered to make: by itself, not by the map that it has then. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { silentLogger } from '../../src/env/env.js';
import { errorCode } from '../../src/env/errors.js';
import { ONE_TABLET } from '../../src/placement/placement.js';
import type { BirthState } from '../../src/server/birth.js';
import { parseNodeConfig } from '../../src/server/config.js';
import type { KvStore } from '../../src/server/kv-group.js';
import { LocalReplicas, rangeOf } from '../../src/server/local-replicas.js';
import { TabletSet } from '../../src/server/tablet-set.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

const CHILD = { id: 9, generation: 2, start: Buffer.from('k'), end: Buffer.from('p') };

/** A node that has nothing but what it has recorded. Its groups are only named. */
class Lab {
  readonly disk = new SimDisk();
  readonly made: number[] = [];
  readonly world = new SimWorld(1);

  start(): { readonly set: TabletSet; readonly local: LocalReplicas } {
    const { env } = this.world.start('n1', this.disk);
    env.fs.makeDirectory('/data');
    const local = new LocalReplicas(env, '/data');
    const store = {
      storedGroups: [],
      removeUnnamed() {},
      removeGroup: async () => {},
      group: () => undefined,
      createGroup: async (id: number) => {
        this.made.push(id);
        throw new Error('no groups here');
      },
    };
    const config = parseNodeConfig(
      {
        ...{ clusterId: 'c', nodeId: 1, dataDirectory: '/data', security: { insecure: true } },
        nodes: [{ id: 1, client: 'n1:7001', peer: 'n1:7101' }],
      },
      'test',
      '/',
    );
    const set = new TabletSet({
      ...{ env, config, logger: silentLogger, metrics: undefined, local: () => local },
      store: () => store as unknown as KvStore,
      publish: async () => {},
      isPublished: () => true,
      forgotten() {},
      removed: () => undefined,
      metaBegan() {},
      askAllMatched: async () => 0,
    });
    return { set, local };
  }
}

async function opened(lab: Lab): Promise<{ readonly set: TabletSet; readonly local: LocalReplicas }> {
  const begun = lab.start();
  const state = { placement: ONE_TABLET, incarnation: 'ab'.repeat(16) };
  await begun.set.open(state as BirthState, true, 0);
  return begun;
}

test('a node that starts knows for which keys it was ordered to make a replica, whatever map it has then', async () => {
  const lab = new Lab();
  const { local } = await opened(lab);
  local.add([{ tablet: CHILD.id, replicaId: 30, sinceVersion: 7, range: rangeOf(CHILD) }]);
  const { set } = await opened(lab);
  assert.equal(set.ownerOfGroup(CHILD.id), { id: CHILD.id, by: 'range', born: CHILD });
  assert.is(set.ownerOfGroup(10)?.born, undefined);
});

test('a replica that was here is not made again, however late an order is, also after a restart (tikv #10533, cockroach #756)', async () => {
  const lab = new Lab();
  const { local } = await opened(lab);
  local.add([{ tablet: CHILD.id, replicaId: 30, sinceVersion: 7, range: rangeOf(CHILD) }]);
  local.remove(CHILD.id);
  const { set } = await opened(lab);
  const make = (replicaId: number) => set.createReplica(CHILD.id, replicaId, 7).then(String, errorCode);
  assert.is(await make(30), 'ORDER_OUTDATED');
  assert.equal(lab.made, []);
  assert.is.not(await make(31), 'ORDER_OUTDATED');
  assert.equal(lab.made, [CHILD.id], 'another one is made');
});

test.run();
