/** Three members of a simulated cluster, and a fourth node that waits to be added. */
import type { RaftreeClient } from '../../src/client/index.js';
import { SimulatedCluster, type SimulatedClusterOptions } from '../../src/sim/cluster/simulated-cluster.js';

export const SHORT_TIMEOUTS = {
  raft: { heartbeatMs: 20, electionTimeoutMinMs: 100, electionTimeoutMaxMs: 200 },
};

export interface FourNodes {
  readonly cluster: SimulatedCluster;
  readonly client: RaftreeClient;
}

/** Started, with a key `a` that is `1`. */
export async function openFourNodes(seed: number, options: SimulatedClusterOptions = {}): Promise<FourNodes> {
  const cluster = new SimulatedCluster(seed, { size: 4, joining: [4], config: SHORT_TIMEOUTS, ...options });
  await cluster.run(cluster.startAll());
  const client = cluster.client(20_000);
  await cluster.run(client.put('a', '1'));
  return { cluster, client };
}
