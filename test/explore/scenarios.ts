/** The small worlds that are explored. */
import type { Scenario } from './scenario.js';

const ONE_LEADS = ['timeout 1, heard by everybody', 'settle', 'beat 1', 'settle'];

export const SCENARIOS: readonly Scenario[] = [
  {
    name: 'election',
    about: 'three nodes that know nothing of each other yet',
    nodes: 3,
    alike: [1, 2, 3],
    clock: 'free',
    begin: [],
    budgets: { timeouts: 3, restarts: 1, proposals: 1 },
    lateDisks: [1, 2, 3],
    depth: 14,
  },
  {
    name: 'replication',
    about: 'leaders that come and go, with late disks',
    nodes: 3,
    alike: [2, 3],
    clock: 'free',
    begin: ONE_LEADS,
    budgets: { timeouts: 2, beats: 1, restarts: 2, proposals: 2 },
    lateDisks: [1, 2, 3],
    depth: 14,
  },
  {
    name: 'removal',
    about: 'a voter is removed while the leader applies late',
    nodes: 3,
    clock: 'free',
    begin: ONE_LEADS,
    changes: [{ changes: [{ type: 'remove', node: 3 }], transition: 'auto' }],
    budgets: { timeouts: 1, proposals: 1, changes: 1 },
    lateApplies: [1],
    depth: 14,
  },
];
