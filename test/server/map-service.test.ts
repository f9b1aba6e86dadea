/** Orders that nodes give each other may be late: they count only if the map, read after they came, has them. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorCode } from '../../src/env/errors.js';
import { MetaState } from '../../src/meta/meta-state.js';
import { encodeRecord, intentKey, type MoveIntent } from '../../src/meta/records.js';
import { placementByRange } from '../../src/placement/placement.js';
import { replicaContext } from '../../src/placement/replica-context.js';
import {
  type Configuration,
  type ConfigurationChange,
  configurationOf,
} from '../../src/raft/configuration.js';
import { parseNodeConfig } from '../../src/server/config.js';
import { MapService, type MapServiceParts } from '../../src/server/map-service.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

const TABLET = 5;
const OLD = { replicaId: 13, node: 3 };
const NEW = { replicaId: 20, node: 1 };
const INTENT: MoveIntent = {
  ...{ type: 'move', generation: 1, sinceMs: 0, reason: undefined },
  ...{ add: NEW, remove: OLD.replicaId },
};
const CREATE = { type: 'createReplica', tablet: TABLET, replicaId: NEW.replicaId } as const;
const CHANGE = { type: 'changeReplicas', tablet: TABLET, add: NEW, remove: OLD } as const;

/** Node 1, which leads the map and the tablet. */
class Lab {
  readonly state = new MetaState();
  readonly changes: ConfigurationChange[] = [];
  readonly created: number[] = [];
  readonly #service: MapService;
  #version = 0;

  constructor() {
    const configuration: Configuration = configurationOf(
      [2, 3, 4],
      Object.fromEntries([2, 3, 4].map((node) => [node, replicaContext(10 + node)])),
    );
    const replica = {
      ...{ role: 'leader', leader: 1, lastIndex: 9, term: 1, isDiskFull: false },
      ...{ configuration, settledConfiguration: 9, hasPendingChange: false },
      matchIndexOf: () => 9,
      readIndex: async () => 9,
      changeConfiguration: async (change: ConfigurationChange) => {
        this.changes.push(change);
        return { index: 10, result: undefined };
      },
    };
    const tablets = {
      get: () => ({ group: { replica } }),
      replicaIdOf: () => 12,
      lacks: () => false,
      isPast: () => false,
      report() {},
      createReplica: async (_tablet: number, replicaId: number) => void this.created.push(replicaId),
    };
    const nodes = [1, 2, 3, 4].map((id) => ({ id, client: `n${id}:7001`, peer: `n${id}:7101` }));
    const raw = { clusterId: 'c', nodeId: 1, dataDirectory: '/d', nodes, security: { insecure: true } };
    const parts = {
      ...{ env: new SimWorld(1).start('n1', new SimDisk()).env, config: parseNodeConfig(raw, 'test', '/') },
      ...{ placement: placementByRange([]), tablets },
      opened: { tablet: { id: 0 }, group: { replica }, state: this.state },
      calls: { call: async () => true },
      peers: { isHeard: () => true, isConnected: () => true },
      splits: { resume: async () => ({ state: 'underWay' }) },
      admin: () => undefined,
    };
    this.#service = new MapService(parts as unknown as MapServiceParts);
  }

  record(intent: MoveIntent | undefined): void {
    this.state.set(intentKey(TABLET), intent && encodeRecord(intent), ++this.#version);
  }

  /** The code of its error, or how it went. */
  order(request: Parameters<MapService['handle']>[1]): Promise<unknown> {
    return this.#service.handle(2, request).then(
      (answer) => (answer as { state?: string }).state ?? answer,
      (error: unknown) => errorCode(error),
    );
  }
}

test('an order to make a replica, or to change members, counts while the map has it', async () => {
  const lab = new Lab();
  lab.record(INTENT);
  assert.is(await lab.order(CREATE), true);
  assert.equal(lab.created, [NEW.replicaId]);
  assert.is(await lab.order(CHANGE), 'underWay');
  assert.equal(
    lab.changes.map(({ changes }) => changes.map(({ type, node }) => `${type} ${node}`)),
    [['addLearner 1']],
  );
});

test('an order that comes after the move has ended, or was given up, or with another one, changes nothing', async () => {
  const lab = new Lab();
  const later: MoveIntent = { ...INTENT, add: { replicaId: 21, node: 1 } };
  for (const intent of [undefined, later, { ...INTENT, givesUp: true }]) {
    lab.record(intent);
    assert.is(await lab.order(CHANGE), 'ORDER_OUTDATED', JSON.stringify(intent));
  }
  lab.record(INTENT);
  assert.is(await lab.order({ ...CHANGE, remove: { replicaId: 11, node: 1 } }), 'ORDER_OUTDATED');
  assert.is(await lab.order({ ...CHANGE, givesUp: true }), 'ORDER_OUTDATED', 'nobody has given it up');
  for (const intent of [undefined, later, { ...INTENT, add: { ...NEW, node: 4 } }]) {
    lab.record(intent);
    assert.is(await lab.order(CREATE), 'ORDER_OUTDATED', JSON.stringify(intent));
  }
  assert.equal([lab.changes, lab.created], [[], []]);
});

test.run();
