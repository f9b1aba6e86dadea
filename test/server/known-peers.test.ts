/** Which data folder counts for a node: what the configuration says, what was met, and what the node says of itself. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { replaceFile } from '../../src/server/json-file.js';
import { KnownPeers, type Run } from '../../src/server/known-peers.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

const { env } = new SimWorld(1).start('n1', new SimDisk());
let made = 0;

/** Knows that node 3 has the folder `old`, as of configuration 10, by its note or by having met it. */
function knowing(how: 'noted' | 'met') {
  const directory = `/data${++made}`;
  env.fs.makeDirectory(directory);
  const known = new KnownPeers(env, directory);
  known.follow(10, [{ id: 3, storeId: how === 'noted' ? 'old' : undefined }]);
  assert.is(known.remember(3, run('old', 0)), undefined);
  return { known, again: () => new KnownPeers(env, directory) };
}

/** The log of the first tablet ends there. */
function ending(lastIndex: number): Run['logs'] {
  return [{ tablet: 1, lastIndex }];
}

function run(storeId: string, configurationIndex: number, isMember = configurationIndex > 0): Run {
  return { storeId, configurationIndex, isMember, starts: 1, run: `of ${storeId}`, logs: ending(100) };
}

for (const how of ['noted', 'met'] as const) {
  test(`another folder than the one that is ${how} counts as a newer configuration's member alone`, () => {
    const { known } = knowing(how);
    for (const refused of [run('new', 0), run('new', 9), run('new', 10), run('new', 11, false)]) {
      assert.match(known.refuse(3, refused) ?? '', /another data folder/);
      assert.match(known.remember(3, refused) ?? '', /another data folder/);
    }
    assert.is(known.refuse(3, run('new', 11)), undefined);
    assert.is(known.remember(3, run('new', 11)), undefined);
    known.follow(11, [{ id: 3, storeId: 'newest' }]);
    assert.match(known.refuse(3, run('new', 11)) ?? '', /another data folder/);
  });

  test(`what only a node says of itself is not kept, where another folder is ${how}`, () => {
    const { known, again } = knowing(how);
    known.remember(3, run('new', 11));
    known.holds(3, 1, 90);
    known.save();
    for (const each of [known, again()]) {
      assert.match(each.refuse(3, run('new', 0)) ?? '', /another data folder/);
      assert.is(each.refuse(3, run('old', 0)), undefined);
      assert.is(each.lost(3, { ...run('old', 0), logs: ending(50) }), undefined, 'the other one held that');
    }
    // The configuration comes, and says the same.
    known.follow(11, [{ id: 3, storeId: 'new' }]);
    known.remember(3, run('new', 11));
    known.holds(3, 1, 90);
    known.save();
    assert.is(again().refuse(3, run('new', 0)), undefined);
    assert.match(again().lost(3, { ...run('new', 0), logs: ending(50) }) ?? '', /has lost entries/);
  });
}

test('an announcement that acknowledgements on another connection have overtaken tells of no loss', () => {
  const { known, again } = knowing('noted');
  const first = { ...run('old', 0), logs: ending(28) };
  assert.is(known.lost(3, first), undefined);
  known.remember(3, first);
  known.holds(3, 1, 29);
  known.save();
  assert.is(known.lost(3, first), undefined);
  // The next run of the folder has to bring what this one held.
  const next = { ...first, starts: 2, run: 'next' };
  for (const each of [known, again()]) {
    assert.match(each.lost(3, next) ?? '', /its log of tablet 1 ends at 28, and it held 29/);
    assert.is(each.lost(3, { ...next, logs: ending(29) }), undefined);
  }
});

test('what a member held is read from folders that knew one tablet, and counts for each tablet', () => {
  const directory = `/data${++made}`;
  env.fs.makeDirectory(directory);
  replaceFile(env, directory, 'peers.json', {
    3: { storeId: 'old', starts: 1, run: 'before', holds: 29 },
  });
  const known = new KnownPeers(env, directory);
  known.follow(10, [{ id: 3, storeId: 'old' }]);
  known.holds(3, 2, 7);
  const next = { ...run('old', 0), starts: 2 };
  const logs = (first: number, second: number) => [...ending(first), { tablet: 2, lastIndex: second }];
  assert.match(known.lost(3, { ...next, logs: logs(28, 7) }) ?? '', /of tablet 1 ends at 28/);
  assert.match(known.lost(3, { ...next, logs: logs(29, 6) }) ?? '', /of tablet 2 ends at 6/);
  assert.match(known.lost(3, { ...next, logs: ending(29) }) ?? '', /of tablet 2 ends at 0/);
  assert.is(known.lost(3, { ...next, logs: logs(29, 7) }), undefined);
});

test.run();
