/** All mutations, room by room. */
import { BALANCE_MUTATIONS } from './list/balance.js';
import { BENCH_MUTATIONS } from './list/bench.js';
import { CLIENT_MUTATIONS } from './list/client.js';
import { CLIENT_MERGE_MUTATIONS } from './list/client-merges.js';
import { EDGE_MUTATIONS } from './list/edges.js';
import { EMBED_MUTATIONS, ENGINE_MUTATIONS } from './list/engines.js';
import { ENV_MUTATIONS } from './list/env.js';
import { KV_MUTATIONS } from './list/kv.js';
import { LSM_MUTATIONS } from './list/lsm.js';
import { MAP_MUTATIONS } from './list/map.js';
import { MEMBER_MUTATIONS } from './list/members.js';
import { MERGE_MUTATIONS } from './list/merges.js';
import { MISTAKE_MUTATIONS } from './list/mistakes.js';
import { MOVE_MUTATIONS } from './list/moves.js';
import { NET_MUTATIONS } from './list/net.js';
import { RAFT_MUTATIONS } from './list/raft.js';
import { RAFT_LOG_MUTATIONS } from './list/raft-log.js';
import { RECORD_MUTATIONS } from './list/record.js';
import { REPLICA_MUTATIONS } from './list/replica.js';
import { SECURITY_MUTATIONS } from './list/security.js';
import { SPLIT_MUTATIONS } from './list/splits.js';
import { STORE_MUTATIONS } from './list/store.js';
import { TABLET_MUTATIONS } from './list/tablets.js';
import { WATCH_MUTATIONS } from './list/watch.js';
import type { Mutation } from './mutation.js';

export const MUTATIONS: readonly Mutation[] = [
  ...RAFT_MUTATIONS,
  ...RAFT_LOG_MUTATIONS,
  ...REPLICA_MUTATIONS,
  ...KV_MUTATIONS,
  ...CLIENT_MUTATIONS,
  ...CLIENT_MERGE_MUTATIONS,
  ...RECORD_MUTATIONS,
  ...LSM_MUTATIONS,
  ...SECURITY_MUTATIONS,
  ...MEMBER_MUTATIONS,
  ...NET_MUTATIONS,
  ...MISTAKE_MUTATIONS,
  ...ENV_MUTATIONS,
  ...EDGE_MUTATIONS,
  ...ENGINE_MUTATIONS,
  ...EMBED_MUTATIONS,
  ...STORE_MUTATIONS,
  ...SPLIT_MUTATIONS,
  ...MERGE_MUTATIONS,
  ...MAP_MUTATIONS,
  ...MOVE_MUTATIONS,
  ...TABLET_MUTATIONS,
  ...BALANCE_MUTATIONS,
  ...BENCH_MUTATIONS,
  ...WATCH_MUTATIONS,
];

/** Throws if there is none of that name. */
export function mutationOf(name: string): Mutation {
  const mutation = MUTATIONS.find((one) => one.name === name);
  if (!mutation) throw new Error(`there is no mutation "${name}"`);
  return mutation;
}
