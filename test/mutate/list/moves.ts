/** Mutations of moves and of the map that the simulator tells while replicas move. */
import { inFile, inProfile, type Mutation } from '../mutation.js';

const meta = inFile('meta/meta.js');
const moves = inFile('meta/moves.js');
const tabletSet = inFile('server/tablet-set.js');
const mapService = inFile('server/map-service.js');
const tabletWatch = inFile('client/tablet-watch.js');

/** Replicas move often, and little disturbs them. */
const WHILE_REPLICAS_MOVE = inProfile('moves', 10, 'orderlyRestart');

export const MOVE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'the id of a replica is given again',
    reason: 'the update was committed, so the next one seems to see it',
    patches: [meta('value: nextId + count', 'value: nextId')],
    killedBy: WHILE_REPLICAS_MOVE,
  },
  {
    name: 'a move ends, and the map keeps the members from before',
    reason: 'the log of the tablet has them',
    patches: [moves('confIndex <= descriptor.confIndex', 'confIndex > 0')],
    killedBy: WHILE_REPLICAS_MOVE,
  },
  {
    name: 'a replica that has moved stays where it was, whatever the map says',
    reason: 'it gets no messages any more',
    patches: [tabletSet('if (!this.#isOutdated(id, meta)) continue;', 'if (id !== 0) continue;')],
    killedBy: WHILE_REPLICAS_MOVE,
  },
  {
    name: 'the leader of a tablet carries out a late order to change its members',
    reason: 'the leader of the map has given it',
    patches: [mapService("replica.role === 'leader' && !(await this.#isWanted(order))", 'false')],
    killedBy: ['server/map-service'],
  },
  {
    name: 'a node forgets for which keys it was ordered to make a replica',
    reason: 'the map says it',
    patches: [tabletSet('inMap ?? this.#parts.local().tabletOf(id)', 'inMap')],
    killedBy: ['server/tablet-set'],
  },
  {
    name: 'a watch takes a node without the tablet for one that says where it is',
    reason: 'the tablet seems to have ended',
    patches: [
      tabletWatch('if (another === undefined) throw new RaftreeClientError', 'throw new RaftreeClientError'),
    ],
    killedBy: ['client/split-watch'],
  },
];
