/** Mutations of the map and of moves: what a replica, an order or an update may do. */
import { inFile, type Mutation } from '../mutation.js';

const meta = inFile('meta/meta.js');
const moves = inFile('meta/moves.js');
const replicaIds = inFile('server/replica-ids.js');
const replicaChange = inFile('server/replica-change.js');
const tabletSet = inFile('server/tablet-set.js');
const mapAdmin = inFile('server/map-admin.js');

export const MAP_MUTATIONS: readonly Mutation[] = [
  {
    name: 'an update of the map does not look at versions',
    reason: 'two leaders seem never to be there at the same time',
    patches: [meta("condition: 'versionIs'", "condition: 'always'")],
    killedBy: ['meta/meta'],
  },
  {
    name: 'a move to a node that drains is recorded',
    reason: 'a drain seems to be about what is there already',
    patches: [moves('if (node?.isDraining)', 'if (false)')],
    killedBy: ['server/moves'],
  },
  {
    name: 'an acknowledgement of a replica that is gone counts for a later one',
    reason: 'it is the same tablet on the same node',
    patches: [replicaIds('number < own || number < known', 'number < own')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a message for an earlier replica is taken by the present one',
    reason: 'it is the same tablet on the same node',
    patches: [replicaIds('number < own || number < known', 'number < known')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a learner is promoted before it has caught up',
    reason: 'it will catch up as a voter',
    patches: [replicaChange('replica.matchIndexOf(add.node) >= lastIndex', 'true')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a move is over before a quorum knows it',
    reason: 'the change took effect at the leader',
    patches: [replicaChange('replica.settledConfiguration < configuration.index', 'false')],
    killedBy: ['server/replica-change'],
  },
  {
    name: 'a replica that is no member any more stays',
    reason: 'nobody asks it',
    patches: [tabletSet('if (!this.#isOutdated(id, meta)) continue;', 'continue;')],
    killedBy: ['server/moves'],
  },
  {
    name: 'a node that holds tablets is removed',
    reason: 'its tablets have other replicas',
    patches: [mapAdmin('tablets.length === 0 && ', '')],
    killedBy: ['server/moves'],
  },
];
