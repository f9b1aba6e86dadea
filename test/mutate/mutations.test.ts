/**
 * The list of mutations is sound: each can still be made, and what must kill it exists. `npm run mutate` does the rest.
 */
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { scheduleOf } from '../sim/schedules/schedules.js';
import { findTestFiles } from '../support/test-files.js';
import { BALANCE_MUTATIONS } from './list/balance.js';
import { BENCH_MUTATIONS } from './list/bench.js';
import { CLIENT_MERGE_MUTATIONS } from './list/client-merges.js';
import { EDGE_MUTATIONS } from './list/edges.js';
import { EMBED_MUTATIONS, ENGINE_MUTATIONS } from './list/engines.js';
import { LSM_MUTATIONS } from './list/lsm.js';
import { MAP_MUTATIONS } from './list/map.js';
import { MEMBER_MUTATIONS } from './list/members.js';
import { MERGE_MUTATIONS } from './list/merges.js';
import { NET_MUTATIONS } from './list/net.js';
import { SECURITY_MUTATIONS } from './list/security.js';
import { SPLIT_MUTATIONS } from './list/splits.js';
import { STORE_MUTATIONS } from './list/store.js';
import { TABLET_MUTATIONS } from './list/tablets.js';
import { isBySimulator, MOST_SEEDS, patched, problemsOf } from './mutation.js';
import { MUTATIONS } from './mutations.js';

const root = fileURLToPath(new URL('../../..', import.meta.url));

test('every patch finds its place, and changes it', () => {
  assert.equal(problemsOf(MUTATIONS, path.join(root, 'dist')), []);
});

test('a patch whose place is not there, or not once, is an error', () => {
  const patch = { file: 'a.js', find: 'b + c', replace: 'b - c' };
  assert.is(patched('a.js', 'a = b\n  + c;', [patch]), 'a = b - c;');
  for (const source of ['a = b;', 'a = b + c + b + c;'])
    assert.throws(() => patched('a.js', source, [patch]), /cannot be patched/);
});

test('what must kill a mutation exists', () => {
  const files = new Set(findTestFiles(root));
  for (const { name, killedBy } of MUTATIONS) {
    if (!isBySimulator(killedBy)) {
      assert.ok(killedBy.length > 0 && killedBy.every((file) => files.has(file)), name);
      continue;
    }
    assert.ok(killedBy.withinSeeds <= MOST_SEEDS, name);
    if (killedBy.schedule !== undefined) scheduleOf(killedBy.schedule);
  }
});

test('no two mutations have one name; there are many, and the simulator kills at least half of them', () => {
  assert.is(new Set(MUTATIONS.map(({ name }) => name)).size, MUTATIONS.length);
  assert.ok(MUTATIONS.length >= 60);
  // Strangers, operators' mistakes, thousands of connections, and what commands promise do not come by chance.
  // Simulated nodes have the engine lsm, often one group only, no balancer, and no program around them.
  // What the engine's own simulation finds counts as a test.
  const apart = [
    ...SECURITY_MUTATIONS,
    ...MEMBER_MUTATIONS,
    ...NET_MUTATIONS,
    ...CLIENT_MERGE_MUTATIONS,
    ...EDGE_MUTATIONS,
    ...STORE_MUTATIONS,
    ...MAP_MUTATIONS,
    ...TABLET_MUTATIONS,
    ...SPLIT_MUTATIONS,
    ...MERGE_MUTATIONS,
    ...BALANCE_MUTATIONS,
    ...BENCH_MUTATIONS,
    ...LSM_MUTATIONS,
    ...ENGINE_MUTATIONS,
    ...EMBED_MUTATIONS,
  ];
  const others = MUTATIONS.filter((mutation) => !apart.includes(mutation));
  assert.ok(2 * others.filter(({ killedBy }) => isBySimulator(killedBy)).length >= others.length);
});

test.run();
