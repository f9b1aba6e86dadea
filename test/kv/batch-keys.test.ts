/** What a write sees of the writes before it, and how much memory what it reads may take. */
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { BatchKeys } from '../../src/kv/batch-keys.js';
import { storedValue } from '../../src/kv/keys.js';
import { KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { ReplicatedTime } from '../../src/kv/replicated-time.js';
import { MemoryEngine, operation, write, writeEntry } from './kv-lab.js';

const A = Buffer.from('a');
const at = (version: number) => ({ version, value: Buffer.from(String(version)) });

test('a write sees what the writes before it left; one that is refused leaves nothing', () => {
  const keys = new BatchKeys(() => at(1), new ReplicatedTime());
  const key = keys.of(A);
  keys.stage(key, at(2));
  assert.equal([keys.before(key)?.version, keys.present(key)?.version], [1, 2]);
  keys.refuse();
  assert.equal([keys.before(key)?.version, keys.present(key)?.version, keys.changed.length], [1, 1, 0]);
  keys.stage(key, at(3));
  keys.accept(3);
  keys.stage(keys.of(A), null);
  assert.equal([keys.before(key)?.version, keys.present(key)], [3, undefined]);
  keys.accept(4);
  assert.is(keys.before(key), undefined, 'deleted, though the engine still has it');
  assert.equal(keys.changed, [key], 'once, however often it is changed');
  assert.is(key.left, null);
});

test('one write that looks at many large values does not hold them all', () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const MIB = 1024 * 1024;
  let reads = 0;
  let mostBytes = 0;
  const engine = new MemoryEngine();
  const machine = new KvStateMachine(engine, engine.reopen);
  engine.get = () => {
    if (++reads % 40 === 0) {
      collect();
      mostBytes = Math.max(mostBytes, process.memoryUsage().arrayBuffers);
    }
    return storedValue(1, Buffer.alloc(MIB));
  };
  const checks = Array.from({ length: 200 }, (_, i) =>
    operation('check', `key ${i}`, '', { condition: 'exists' }),
  );
  const results = machine.apply(1, [writeEntry(write(checks))]);
  assert.ok(Array.isArray(results) && results[0].write.applied);
  assert.ok(reads >= 200 && mostBytes < 70 * MIB, `${reads} reads, ${mostBytes} bytes at once`);
});

test.run();
