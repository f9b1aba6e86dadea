/** What the tests of the tree share: an env per process on a simulated disk, tiny options, scripts and their model. */
import type { Env, Logger } from '../../src/env/env.js';
import { type LsmOptions, LsmTree, type Operation } from '../../src/lsm/index.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import type { SimFileSystemOptions } from '../../src/sim/world/file-operation.js';
import { roomEnv } from '../../src/sim/world/room-env.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

export const DIRECTORY = '/data/tree';

/** So small that a few dozen writes rotate the WAL, flush, and compact over several levels. */
export const TINY: LsmOptions = {
  writeBufferBytes: 1024,
  blockBytes: 128,
  restartInterval: 3,
  level0Trigger: 2,
  level0StopTrigger: 4,
  maxFileBytes: 1024,
  levelBaseBytes: 1024,
  levelMultiplier: 2,
  blockCacheBytes: 4096,
  maxOpenTables: 16,
  retryDelayMs: 1,
  maxManifestBytes: 2048,
  codecs: ['none'],
};

let processes = 1;

/** The env of a new process: the locks of all others on the disk are those of the dead. */
export function processEnv(seed: number, disk: SimDisk, options: SimFileSystemOptions = {}): Env {
  disk.endListeners();
  const env = roomEnv(seed, disk, options);
  const self = { pid: processes++, bootId: 'lab', startTime: '1', pidNamespace: '' };
  return { ...env, host: { ...env.host, self: () => self, isAlive: (other) => other.pid === self.pid } };
}

export function openTree(disk: SimDisk, options: LsmOptions = {}, env?: Env): Promise<LsmTree> {
  return LsmTree.open(DIRECTORY, { ...TINY, env: env ?? processEnv(1, disk), ...options });
}

/** Keeps what is logged as warning or error. */
export function recordingLogger(messages: string[]): Logger {
  const keep = (_fields: unknown, message: string) => {
    messages.push(message);
  };
  return { debug() {}, info() {}, warn: keep, error: keep };
}

export function put(key: string, value: string): Operation {
  return { type: 'put', key: Buffer.from(key), value: Buffer.from(value) };
}

export function remove(key: string): Operation {
  return { type: 'delete', key: Buffer.from(key) };
}

/** The state that a tree must have, as its entries in order. */
export type State = ReadonlyMap<string, string>;

export function after(state: State, operations: readonly Operation[]): State {
  const next = new Map(state);
  for (const operation of operations) {
    const key = Buffer.from(operation.key).toString('latin1');
    if (operation.type === 'put') next.set(key, Buffer.from(operation.value).toString('latin1'));
    else next.delete(key);
  }
  return next;
}

export function render(entries: Iterable<readonly [string, string]>): string {
  return [...entries]
    .sort(([a], [b]) => Buffer.compare(Buffer.from(a, 'latin1'), Buffer.from(b, 'latin1')))
    .map(([key, value]) => `${key}=${value}`)
    .join('\n');
}

export function renderTree(tree: LsmTree): string {
  const lines: string[] = [];
  for (const { key, value } of tree.iterator())
    lines.push(`${key.toString('latin1')}=${value.toString('latin1')}`);
  return lines.join('\n');
}

/** Batches over few keys, so that versions, tombstones and overwrites abound. */
export function randomBatches(random: SeededRandom, count: number, keys: number): Operation[][] {
  return Array.from({ length: count }, (_, batch) =>
    Array.from({ length: random.between(1, 4) }, (_unused, i) => {
      const key = `key${String(random.between(0, keys - 1)).padStart(3, '0')}`;
      if (random.chance(0.3)) return remove(key);
      return put(key, `${batch}.${i}:${'x'.repeat(random.between(0, 60))}`);
    }),
  );
}

/** The state after each whole-batch prefix: the first is the empty one. */
export function statesOf(batches: readonly (readonly Operation[])[]): string[] {
  let state: State = new Map();
  const states = [render(state)];
  for (const batch of batches) {
    state = after(state, batch);
    states.push(render(state));
  }
  return states;
}

/** Waits for what happens behind the writes. */
export async function eventually(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!holds()) {
    if (performance.now() > deadline) throw new Error(`it never came true: ${holds}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

export { SeededRandom, SimDisk };
