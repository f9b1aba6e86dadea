/** The engines that ship keep the promises of `StorageEngine`; an engine that does not is caught. */
import { ClassicLevel } from 'classic-level';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { engineTests } from '../../src/engines/engine-test.js';
import { levelEngine } from '../../src/engines/level-engine.js';
import { lsmEngine } from '../../src/engines/lsm-engine.js';
import { memoryEngine } from '../../src/engines/memory-engine.js';
import { withSortedCheckpoints } from '../../src/engines/sorted-checkpoints.js';
import type { EngineKind, StorageEngine } from '../../src/engines/storage-engine.js';
import { type Alter, failuresInSimulation, onRealFiles } from './engine-lab.js';

const SMALL = { writeBufferBytes: 64 * 1024, blockCacheBytes: 64 * 1024 };
const SHIPPED: Readonly<Record<string, EngineKind>> = {
  'lsm without a log': lsmEngine({ ...SMALL, treeLog: 'none' }),
  'lsm with a log': lsmEngine({ ...SMALL, treeLog: 'buffered' }),
  memory: memoryEngine,
  'memory with checkpoints of another': withSortedCheckpoints(memoryEngine),
};

for (const [name, kind] of Object.entries(SHIPPED)) {
  test(`${name} keeps every promise on a disk that loses power`, async () => {
    for (let seed = 1; seed <= 3; seed++)
      assert.equal([...(await failuresInSimulation(kind, { seed }))], [], `seed ${seed}`);
  });
}

const classic = onRealFiles(levelEngine('level:classic-level', (location) => new ClassicLevel(location)));
for (const { name, run } of engineTests(classic.subject)) test(`classic-level: ${name}`, run);
test.after(() => classic.done());

/** An engine that does everything as the one that it is given, but for what is planted. */
function planted(plant: (engine: StorageEngine) => Partial<StorageEngine>): Alter {
  return (engine) => {
    const changed = plant(engine);
    return {
      get durableSequence() {
        return 'durableSequence' in changed ? (changed.durableSequence as number) : engine.durableSequence;
      },
      get: changed.get ?? ((key) => engine.get(key)),
      entries: changed.entries ?? ((range) => engine.entries(range)),
      write: changed.write ?? ((operations) => engine.write(operations)),
      flush: changed.flush ?? (() => engine.flush()),
      checkpoint: changed.checkpoint ?? ((directory) => engine.checkpoint(directory)),
      check: changed.check ?? ((directory) => engine.check(directory)),
      approximateKeys: () => engine.approximateKeys(),
      close: () => engine.close(),
    };
  };
}

const LIARS: Readonly<Record<string, { readonly alter: Alter; readonly caughtBy: RegExp }>> = {
  'a flush that does nothing and says that all is durable': {
    alter: planted((engine) => {
      let last = 0;
      return {
        write: (operations) => {
          last = engine.write(operations) as number;
          return last;
        },
        flush: async () => {},
        get durableSequence() {
          return last;
        },
      };
    }),
    caughtBy: /flushed is there after a crash/,
  },
  'a batch that is durable in two halves': {
    alter: planted((engine) => ({
      write: async (operations) => {
        const half = operations.length >> 1;
        if (half > 0) {
          await engine.write(operations.slice(0, half));
          await engine.flush();
        }
        return engine.write(operations.slice(half));
      },
    })),
    caughtBy: /state after some batch/,
  },
  'a batch of which the second half is lost': {
    alter: planted((engine) => ({
      write: (operations) =>
        engine.write(operations.length > 4 ? operations.slice(0, operations.length >> 1) : operations),
    })),
    caughtBy: /in its order|state after some batch|many keys/,
  },
  'a batch that takes effect from its end': {
    alter: planted((engine) => ({ write: (operations) => engine.write([...operations].reverse()) })),
    caughtBy: /in its order/,
  },
  'keys in the order of their text': {
    alter: planted((engine) => ({
      *entries({ gte, lt, reverse = false }) {
        const text = (bytes: Uint8Array) => Buffer.from(bytes).toString('utf8');
        const all = [...engine.entries({})].filter(
          ([key]) => !(gte && text(key) < text(gte)) && !(lt && text(key) >= text(lt)),
        );
        all.sort(([a], [b]) => (text(a) < text(b) ? -1 : 1));
        yield* reverse ? all.reverse() : all;
      },
    })),
    caughtBy: /order of their bytes/,
  },
  'a range that holds its end': {
    alter: planted((engine) => ({
      *entries(range) {
        yield* engine.entries(range);
        const last = range.lt && !range.reverse ? engine.get(range.lt) : undefined;
        if (range.lt && last) yield [Buffer.from(range.lt), last];
      },
    })),
    caughtBy: /within the range/,
  },
  'an iterator that looks anew for each entry': {
    alter: planted((engine) => ({
      *entries(range) {
        let { gte, lt } = range;
        for (;;) {
          const bounds = { ...range, ...(gte ? { gte } : {}), ...(lt ? { lt } : {}) };
          const [next] = engine.entries(bounds);
          if (!next) return;
          yield next;
          if (range.reverse) lt = next[0];
          else gte = Buffer.concat([next[0], Buffer.of(0)]);
        }
      },
    })),
    caughtBy: /state at which it began/,
  },
  'values that are views of what is written next': {
    alter: planted((engine) => {
      const shown = Buffer.alloc(16);
      return {
        get: (key) => {
          const value = engine.get(key);
          if (!value || value.length > shown.length) return value;
          shown.set(value);
          return shown.subarray(0, value.length);
        },
      };
    }),
    caughtBy: /shared with the caller|get finds/,
  },
  'entries that share one buffer': {
    alter: planted((engine) => {
      const shown = Buffer.alloc(128 * 1024);
      return {
        *entries(range) {
          for (const [key, value] of engine.entries(range)) {
            shown.set(key);
            yield [shown.subarray(0, key.length), value];
          }
        },
      };
    }),
    caughtBy: /shared with the caller/,
  },
  'a checkpoint without what was not flushed': {
    alter: (engine) => {
      let flushed: (readonly [Buffer, Buffer])[] = [];
      const isAdded = (key: Buffer) => !flushed.some(([other]) => other.equals(key));
      return planted(() => ({
        flush: async () => {
          await engine.flush();
          flushed = [...engine.entries({})];
        },
        checkpoint: async (directory) => {
          const now = [...engine.entries({})];
          await engine.write([
            ...now.filter(([key]) => isAdded(key)).map(([key]) => ({ type: 'delete', key }) as const),
            ...flushed.map(([key, value]) => ({ type: 'put', key, value }) as const),
          ]);
          await engine.checkpoint(directory);
          await engine.write(now.map(([key, value]) => ({ type: 'put', key, value })));
        },
      }))(engine);
    },
    caughtBy: /checkpoint/,
  },
  'a checkpoint that is made later': {
    alter: planted((engine) => {
      const later: string[] = [];
      const made = async () => {
        for (const directory of later.splice(0)) await engine.checkpoint(directory);
      };
      return {
        checkpoint: async (directory) => {
          later.push(directory);
        },
        flush: async () => {
          await made();
          await engine.flush();
        },
      };
    }),
    caughtBy: /checkpoint/,
  },
  'a check that looks at nothing': {
    alter: planted(() => ({ check: async () => {} })),
    caughtBy: /damaged checkpoint/,
  },
  'a sequence that stays': {
    alter: planted((engine) => ({
      write: async (operations) => {
        await engine.write(operations);
        return 1;
      },
    })),
    caughtBy: /sequences ascend/,
  },
  'batches that are durable before they are': {
    alter: planted((engine) => {
      let last = 0;
      return {
        write: (operations) => {
          last = engine.write(operations) as number;
          return last;
        },
        get durableSequence() {
          return last;
        },
      };
    }),
    caughtBy: /state after some batch/,
  },
};

for (const [name, { alter, caughtBy }] of Object.entries(LIARS)) {
  test(`caught: ${name}`, async () => {
    const failures = await failuresInSimulation(memoryEngine, { alter });
    const told = [...failures].map(([test, message]) => `${test}: ${message}`);
    assert.ok(
      [...failures].some(([test]) => caughtBy.test(test)),
      `not caught; ${told.join('; ') || 'no test failed'}`,
    );
  });
}

test.run();
