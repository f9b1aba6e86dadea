/** Who proposed an entry is answered when it is applied, and only for that entry. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RaftreeError } from '../../src/env/errors.js';
import type { Entry } from '../../src/raft/types.js';
import { PendingProposals } from '../../src/replica/pending-proposals.js';

const entry = (term: number): Entry => ({ term, kind: 'command', body: new Uint8Array(0) });

test('an entry of another leader at its index says that a proposal is not committed', () => {
  const pending = new PendingProposals<string>();
  const told: unknown[] = [];
  const resolve = (applied: unknown) => told.push(applied);
  const reject = (error: unknown) => told.push(error);
  for (const index of [4, 5]) pending.add(index, { term: 2, isCommand: true, resolve, reject });
  pending.applied(4, [entry(2), entry(3)], ['its own', 'another’s']);
  const [own, other] = told;
  assert.equal(own, { index: 4, result: 'its own' });
  assert.ok(other instanceof RaftreeError);
  assert.equal([other.code, other.info.outcome], ['LEADERSHIP_LOST', 'notCommitted']);
  pending.applied(4, [entry(2), entry(3)], ['its own', 'another’s']);
  assert.is(told.length, 2, 'nobody is told twice');
});

test.run();
