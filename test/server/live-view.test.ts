/** What the page is told to be under way with tablets. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MetaState } from '../../src/meta/meta-state.js';
import { encodeRecord, type Intent, intentKey, tabletKey } from '../../src/meta/records.js';
import { changesIn } from '../../src/server/live-view.js';

test('splits and moves of the map, with where and between which nodes', () => {
  const state = new MetaState();
  const replicas = [1, 2].map((node) => ({ replicaId: 10 + node, node, role: 'voter' as const }));
  for (const id of [1, 2, 3]) {
    const tablet = {
      id,
      start: Buffer.from([id]),
      end: undefined,
      generation: 1,
      parents: [],
      replicas,
      confIndex: 0,
    };
    state.set(tabletKey(id), encodeRecord(tablet), id);
  }
  const move = { type: 'move', generation: 1, sinceMs: 0 } as const;
  const child = { id: 7, replicas };
  const intents: Readonly<Record<number, Intent>> = {
    1: { ...move, add: { replicaId: 20, node: 3 }, remove: 12 },
    2: { ...move, remove: 11 },
    3: { type: 'split', generation: 1, at: Buffer.from('k'), children: [child, { ...child, id: 8 }] },
  };
  for (const [id, intent] of Object.entries(intents))
    state.set(intentKey(Number(id)), encodeRecord(intent), 9);
  assert.equal(changesIn(state), [
    { tablet: 1, type: 'move', from: 2, to: 3 },
    { tablet: 2, type: 'move', from: 1, to: undefined },
    { tablet: 3, type: 'split', at: 'k' },
  ]);
});

test.run();
