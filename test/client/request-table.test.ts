import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RequestTable } from '../../src/client/request-table.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';

interface Request {
  requestId: number;
}

test('any number of requests, given up or answered in any order, has different ids, and each is found by its own', () => {
  const random = new SeededRandom(1);
  const table = new RequestTable<Request>();
  const model = new Map<number, Request>();
  const over: number[] = [];
  for (let step = 0; step < 20_000; step++) {
    if (random.chance(step < 10_000 ? 0.6 : 0.5)) {
      const request = { requestId: 0 };
      table.add(request);
      assert.ok(request.requestId > 0);
      assert.not(model.has(request.requestId));
      model.set(request.requestId, request);
    } else {
      const ids = [...model.keys()];
      const id = ids[random.between(0, ids.length - 1)];
      const request = id === undefined ? undefined : model.get(id);
      if (!request || id === undefined) continue;
      table.delete(request);
      // Once more: nothing happens.
      table.delete(request);
      model.delete(id);
      over.push(id);
    }
  }
  assert.ok(model.size > 100);
  assert.equal(new Set(table.all()), new Set(model.values()));
  for (const [id, request] of model) assert.is(table.get(id), request);
  for (const id of over) assert.is(table.get(id), undefined, `the late answer to request ${id}`);
});

test.run();
