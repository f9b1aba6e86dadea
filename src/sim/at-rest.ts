/**
 * What must hold of the tablets when all is healed and nothing is written any more: replicas that have applied the same
 * hold the same keys and know the same members, every node has the same complete map, and there is neither a replica
 * that is no member nor a directory that no log names.
 */
import type { MetaState } from '../meta/meta-state.js';
import type { Tablet } from '../placement/placement.js';
import { TabletMap } from '../placement/tablet-map.js';
import type { Direct } from './cluster/direct.js';
import { DATA_DIRECTORY } from './run/node-json.js';
import type { RunCluster } from './run/run-cluster.js';
import type { ReplicaStatus, RunMachine } from './run/run-machine.js';
import { QUICK_BALANCE } from './setting/setting.js';

/**
 * `isSettled`: nothing is under way that changes the tablets or their members. Resolves with false when an order from
 * before has begun something after all, so that maps which differ prove nothing.
 */
export async function checkAtRest(cluster: RunCluster, isSettled: boolean): Promise<boolean> {
  for (const tablet of cluster.references.groups) {
    // The state itself says what is in it: the core hears of a snapshot only when it is installed.
    for (const machine of cluster.machines)
      if (machine.state === 'up')
        cluster.compareState(machine, tablet, machine.store?.group(tablet)?.stateMachine.appliedIndex);
    compareMembers(cluster, tablet);
  }
  if (!isSettled) return true;
  checkDirectories(cluster);
  return compareMaps(cluster);
}

/** Of all groups. */
export function areConverged(cluster: RunCluster): boolean {
  return cluster.references.groups.every((group) => isConverged(cluster, group));
}

/** Whether all members with whole disks have applied what the leader of the tablet has, which is all that there is. */
function isConverged(cluster: RunCluster, tablet: number): boolean {
  const leader = cluster.leaderOf(tablet);
  const status = leader?.statusOf(tablet);
  if (!leader?.node || !status || status.appliedIndex !== cluster.references.of(tablet).lastIndex)
    return false;
  const behind = cluster.machines.filter(
    (machine) =>
      isMember(machine.id, status) &&
      !machine.isDamaged &&
      machine.statusOf(tablet)?.appliedIndex !== status.appliedIndex,
  );
  if (behind.length === 0) return true;
  // Learners may have been added that never existed, or with addresses of other nodes.
  const { peers } = leader.node.status(0);
  return behind.every(({ id, host, starts }) =>
    peers.some(
      ({ nodeId, peerAddress }) => nodeId === id && (starts === 0 || peerAddress !== `${host}:7101`),
    ),
  );
}

function isMember(id: number, { voters, outgoing, learners }: ReplicaStatus): boolean {
  return [voters, outgoing, learners].some((ids) => ids.includes(id));
}

/** A node that has applied as much as the leader knows the same members. */
function compareMembers(cluster: RunCluster, tablet: number): void {
  const leading = cluster.leaderOf(tablet)?.statusOf(tablet);
  if (!leading) return;
  const membersIn = ({ voters, outgoing, learners }: ReplicaStatus) =>
    `voters ${voters.join()} and ${outgoing.join()}, learners ${learners.join()}`;
  for (const machine of cluster.machines) {
    const status = machine.statusOf(tablet);
    if (!status || machine.isDamaged || status.appliedIndex !== leading.appliedIndex) continue;
    if (membersIn(status) === membersIn(leading)) continue;
    const [own, told] = [membersIn(status), membersIn(leading)];
    cluster.fail('equal members', `of tablet ${tablet} ${machine.host} knows ${own}; the leader ${told}`);
  }
}

/** Of each group there is the one directory that its log names; and there is no group without a tablet. */
function checkDirectories(cluster: RunCluster): void {
  for (const machine of cluster.machines) {
    const { store, host, state, isDamaged, isForeign, hasFailedOperations } = machine;
    // What a full disk does not remove goes at the next start.
    if (!store || state !== 'up' || isDamaged || isForeign || hasFailedOperations) continue;
    const found = new Set(
      machine.disk.files(`${DATA_DIRECTORY}/groups`).map((path) => path.split('/').slice(0, 5).join('/')),
    );
    for (const directory of found) {
      const [group = 0, name = ''] = [Number(directory.split('/')[3]), directory.split('/')[4]];
      const isOpen = store.groups.some(({ id }) => id === group);
      if (isOpen && (machine.directories.get(group) === name || !name.startsWith('state'))) continue;
      cluster.fail(
        'no unnamed directory',
        `${host} has ${directory}, and uses ${machine.directories.get(group)}`,
      );
    }
    for (const { id } of store.groups)
      if (!cluster.references.groups.includes(id) && !cluster.references.ended.includes(id))
        cluster.fail('no replica that is no member', `${host} holds group ${id}, which is no tablet`);
  }
}

/**
 * Where the map and the nodes are not yet what the logs of the tablets say; undefined: they are. A move or a split that
 * is under way ends, the map has the tablets with their members, and each of those has the replica, and nobody else.
 */
export function unsettledPart(cluster: RunCluster): string | undefined {
  const { references, machines, leader } = cluster;
  if (references.groups.length === references.tablets.length) return undefined;
  const state = leader?.node?.meta?.state;
  if (!state) return 'nobody leads the map';
  const [intent] = state.intents.keys();
  if (intent !== undefined) return `something is under way with tablet ${intent}`;
  const vote = misplacedVote(cluster, state);
  if (vote !== undefined) return vote;
  const shownIn = (tablets: Iterable<Tablet>) =>
    [...tablets]
      .sort((a, b) => a.id - b.id)
      .map(({ id, start, end, generation }) => [id, generation, hex(start), end && hex(end)].join(':'))
      .join();
  const [inMap, inLogs] = [state.tablets.values(), references.map.tablets].map(shownIn);
  if (inMap !== inLogs) return `the map has the tablets ${inMap}, and the logs ${inLogs}`;
  for (const tablet of references.tablets) {
    const members = references.of(tablet).members?.voters.join();
    const placed = state.tablets.get(tablet)?.replicas.map(({ node }) => node);
    const named = placed?.sort((a, b) => a - b).join();
    if (members !== named) return `tablet ${tablet} has the members ${members}, and in the map ${named}`;
    for (const { id, host, store, starts, disk } of machines) {
      const files = disk.files(`${DATA_DIRECTORY}/groups/${tablet}`);
      const isHere = store?.group(tablet) !== undefined || files.length > 0;
      const isMember = placed?.includes(id) ?? false;
      if (starts > 0 && isHere !== isMember)
        return `${host} is ${isMember ? 'a' : 'no'} member of tablet ${tablet}, and has ${isHere ? 'a' : 'no'} replica`;
    }
  }
  return undefined;
}

/** Where votes on the map go to other nodes soon, and a node could take one: none drains, and there are enough. */
function misplacedVote({ leader, setting }: RunCluster, state: MetaState): string | undefined {
  if (setting.balance !== QUICK_BALANCE) return undefined;
  const { voters, outgoing, learners } = leader?.statusOf(0) ?? { voters: [], outgoing: [], learners: [] };
  const takesPart = (id: number) => state.nodes.get(id)?.isDraining === false;
  if (outgoing.length > 0) return 'the voters of the map are being changed';
  if (!learners.some(takesPart)) return undefined;
  const drained = voters.find((id) => !takesPart(id));
  if (drained !== undefined) return `node ${drained} drains and votes on the map`;
  const { replicas = 0 } = state.cluster ?? {};
  return voters.length < replicas ? `only ${voters.length} nodes vote on the map` : undefined;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('hex');
}

async function compareMaps(cluster: RunCluster): Promise<boolean> {
  const { references } = cluster;
  const changes = () => references.splits + references.merges;
  const before = changes();
  const direct = cluster.direct(cluster.host('surveyor').env);
  let first: { readonly host: string; readonly map: string } | undefined;
  for (const machine of cluster.machines) {
    const { host, state, isDamaged, isForeign } = machine;
    if (state !== 'up' || isDamaged || isForeign || !hasMap(cluster, machine)) continue;
    const tablets = await mapOf(direct, machine);
    // It may have been removed, or have no room for one more connection.
    if (!tablets) continue;
    const { by } = cluster.references.map;
    const map = new TabletMap(by, tablets);
    const shown = tablets.map(({ id, start, end, generation }) =>
      [id, Buffer.from(start).toString('hex'), end && Buffer.from(end).toString('hex'), generation].join(),
    );
    if (!map.isComplete || map.tablets.length !== tablets.length)
      cluster.fail('a complete map', `${host} has the tablets ${shown.join(' ')}`);
    first ??= { host, map: shown.join(' ') };
    if (first.map === shown.join(' ')) continue;
    // A node may just have joined, too.
    if (!areConverged(cluster) || changes() !== before || unsettledPart(cluster) !== undefined) {
      await direct.close();
      return false;
    }
    cluster.fail('equal maps', `${host} has ${shown.join(' ')}, and ${first.host} ${first.map}`);
  }
  await direct.close();
  return true;
}

/** One that is no member any more, or not yet, may have an old map. */
function hasMap({ leader }: RunCluster, { id }: RunMachine): boolean {
  const status = leader?.statusOf(0);
  return !status || isMember(id, status);
}

/** In pages of two tablets. */
async function mapOf(direct: Direct, { endpoint }: RunMachine): Promise<Tablet[] | undefined> {
  const tablets: Tablet[] = [];
  for (let from = Buffer.alloc(0); ; ) {
    const answer = await direct.ask(endpoint, { type: 'tablets', from, limit: 2 });
    if (typeof answer === 'string' || answer.type !== 'tabletsReply') return undefined;
    // Copies: the bytes are those of the connection.
    for (const { id, start, end, generation } of answer.tablets)
      tablets.push({ id, generation, start: Buffer.from(start), end: end && Buffer.from(end) });
    const last = answer.tablets.at(-1);
    if (!answer.more || !last) return tablets;
    from = Buffer.concat([last.start, Buffer.of(0)]);
  }
}
