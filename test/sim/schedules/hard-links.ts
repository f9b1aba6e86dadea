/** Links of real networks: connections that die silently, and links so narrow that one batch takes seconds. */
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

/**
 * All links between nodes are cut for long, and mended. TCP retransmits at its next back-off, which may take as long as
 * the cut lasted. The nodes must not wait for that.
 */
export const deadLinks: Schedule = {
  name: 'deadLinks',
  steps: ['cut', 'mended', 'written soon'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
  }),
  run: async (stage) => {
    const { founders } = stage.cluster;
    stage.cut(founders, founders);
    stage.mark('cut');
    await stage.sleep(27_000 + stage.random.float() * 2000);
    stage.mendAll();
    stage.mark('mended');
    const { lastIndex } = stage.cluster.reference;
    if (await stage.until(() => stage.cluster.reference.lastIndex > lastIndex + 2, 8000))
      stage.mark('written soon');
  },
};

/** One batch takes several election timeouts to arrive. The followers must hear the leader meanwhile. */
export const narrowLinks: Schedule = {
  name: 'narrowLinks',
  steps: ['narrow', 'committed', 'the same leader'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    limits: {},
    maxAppendBytes: 1024 * 1024,
    raft: { heartbeatMs: 100, electionTimeoutMinMs: 800, electionTimeoutMaxMs: 1600 },
    storage: { ...chosen.storage, maxRaftLogBytes: 16 * 1024 * 1024, trailingEntries: 200 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const term = statusOf(leader)?.term;
    const { network } = cluster.world;
    for (const one of cluster.founders)
      for (const other of cluster.founders) network.narrow(one.host, other.host, 256 * 1024);
    stage.mark('narrow');
    const client = cluster.client(25_000, { env: cluster.host('c0').env, attemptTimeoutMs: 25_000 });
    const isCommitted = await client.put('large', 'x'.repeat(1_000_000)).then(
      () => true,
      () => false,
    );
    if (isCommitted) stage.mark('committed');
    if (statusOf(leader)?.term === term) stage.mark('the same leader');
    for (const one of cluster.founders)
      for (const other of cluster.founders) network.narrow(one.host, other.host);
    await client.close();
  },
};
