/**
 * Seeds that once broke a rule, with what was wrong. After later commits a seed may run differently: then it is one
 * more random seed.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { simulate } from '../../src/sim/simulation.js';

const FOUND = [
  { seed: 1382, profile: 'all', what: 'a node that closed waited for ever for a peer’s hello, and led on' },
  { seed: 9, profile: 'all', what: 'a node that joined replayed changes of members on no configuration' },
  { seed: 60, profile: 'all', what: 'the same, and it elected itself' },
  { seed: 16, profile: 'disk', what: 'a full disk brought entries back that a snapshot had replaced' },
  {
    seed: 150,
    profile: 'all',
    what: 'a leader that could make no snapshot asked itself for one without end, and its tree waited for ever',
  },
  {
    seed: 96,
    profile: 'all',
    what: 'a leader with a damaged table offered the same damaged snapshot for ever (schedule damagedLeader)',
  },
  {
    seed: 100458,
    profile: 'all',
    what: 'snapshots that a stalled disk installed together were taken over at once, and one in use was removed',
  },
  {
    seed: 100422,
    profile: 'all',
    what: 'a leader whose disk had failed a sync could make no snapshot for the voter that a change waited for',
  },
  {
    seed: 102263,
    profile: 'all',
    what: 'a removed node kept reads for an index it never reached, and clients waited at it for room',
  },
  {
    seed: 103216,
    profile: 'all',
    what: 'what a new leader replaced while the disk was full was written again when there was space',
  },
  {
    seed: 105795,
    profile: 'all',
    what: 'a removed leader whose snapshots were damaged could neither tell the others nor transfer leadership',
  },
  { seed: 1099, profile: 'all', what: 'two candidates met for ever: election timeouts closer than ticks' },
  {
    seed: 501815,
    profile: 'all',
    what: 'a leader alone with a tree that was read-only could give nobody a snapshot, and went on so for ever',
  },
  {
    seed: 36,
    profile: 'all',
    what: 'streams of a watch of several tablets kept each other from the nodes that had them',
  },
  { seed: 75, profile: 'all', what: 'a late order added a replica again that had left its tablet' },
  {
    seed: 80,
    profile: 'all',
    what: 'a node that had lost power before the first snapshot of a new replica could not start: its keys were unknown',
  },
  {
    seed: 83000245,
    profile: 'all',
    what: 'a move that was given up was taken up again when its node took part again: a replica came back',
  },
  {
    seed: 83001276,
    profile: 'all',
    what: 'a tablet that was split was removed from a node whose disk had not let it make the parts',
  },
  {
    seed: 83001741,
    profile: 'all',
    what: 'a replica that had come back to a node showed stale reads nothing before its first snapshot',
  },
  {
    seed: 83001985,
    profile: 'all',
    what: 'a replica that a full disk had not let be made was taken for one that is there',
  },
  {
    seed: 406431,
    profile: 'all',
    what: 'a change of members that ran out of time ended with an inner error',
  },
] as const;

for (const { seed, profile, what } of FOUND) {
  test(`seed ${seed} of ${profile}: ${what}`, async () => {
    const { failure } = await simulate({ seed, profile });
    assert.not(failure, failure?.report);
  });
}

test.run();
