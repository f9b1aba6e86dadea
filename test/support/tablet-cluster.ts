/** Simulated clusters with several tablets, for the tests of the server. */
import type { RaftreeClient } from '../../src/client/client.js';
import { errorCode } from '../../src/env/errors.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

export const RAFT = { heartbeatMs: 50, electionTimeoutMinMs: 200, electionTimeoutMaxMs: 400 };

/** Three nodes, all started. */
export async function begun(
  placement: NodeConfigInput['placement'],
  seed = 1,
  more: Partial<NodeConfigInput> = {},
): Promise<SimulatedCluster> {
  const cluster = new SimulatedCluster(seed, { config: { placement, raft: RAFT, ...more } });
  await cluster.run(cluster.startAll());
  return cluster;
}

export async function keysOf(scan: ReturnType<RaftreeClient['scan']>): Promise<string[]> {
  const keys: string[] = [];
  for await (const { key } of scan) keys.push(key.toString());
  return keys;
}

/** The code of its error; `ok` if it has none. */
export async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    await promise;
    return 'ok';
  } catch (error) {
    return errorCode(error) ?? String(error);
  }
}
