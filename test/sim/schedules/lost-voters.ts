/**
 * Two nodes join three that vote on the map. One of the three is lost for good, whoever leads the map perhaps; another
 * one gets its vote. Then a second one is lost. Without the first change the map would have no majority any more, and
 * no replica could be moved.
 */
import { placementByRange } from '../../../src/placement/placement.js';
import { QUICK_BALANCE } from '../../../src/sim/setting/setting.js';
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

/** The silence of a dead node, and the moves of what it held. */
const PATIENCE_MS = 30_000;

export const lostVoters: Schedule = {
  name: 'lostVoters',
  steps: ['joined', 'one is lost', 'another one votes', 'a second one is lost', 'and another one'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    ...{ spares: 2, placement: placementByRange(['k2'], 3), balance: QUICK_BALANCE },
    // It takes some time, in which little need happen.
    ...{ storage: {}, limits: {}, maxAppendBytes: 1024 * 1024, maxSessions: 10_000 },
    workload: { ...chosen.workload, clients: 2, maxThinkMs: 500, maxValueBytes: 50 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const spares = cluster.machines.filter((machine) => !cluster.founders.includes(machine));
    for (const machine of spares) cluster.turnOn(machine);
    const status = () => cluster.leader && statusOf(cluster.leader);
    if (!(await stage.until(() => status()?.learners.length === spares.length))) return;
    stage.mark('joined');
    const [first, second] = stage.shuffledFounders();
    if (!first || !second) return;
    for (const [machine, lost, replaced] of [
      [first, 'one is lost', 'another one votes'],
      [second, 'a second one is lost', 'and another one'],
    ] as const) {
      cluster.giveUp(machine);
      machine.isDamaged = true;
      stage.mark(lost);
      const isReplaced = () => {
        const { voters = [], outgoing = [] } = status() ?? {};
        const { tablets, intents } = cluster.leader?.node?.meta?.state ?? {};
        const holds = [...(tablets?.values() ?? [])].some(({ replicas }) =>
          replicas.some(({ node }) => node === machine.id),
        );
        const isVoteless = voters.length === 3 && outgoing.length === 0 && !voters.includes(machine.id);
        return isVoteless && intents?.size === 0 && !holds;
      };
      // If not, the second one is lost nevertheless.
      if (await stage.until(isReplaced, PATIENCE_MS)) stage.mark(replaced);
    }
  },
};
