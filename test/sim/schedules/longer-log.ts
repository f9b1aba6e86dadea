/**
 * A leader that is cut off goes on to be written to; the others elect another, who commits less, but in a later term. Then
 * the longer log asks for a vote. Which log is more complete its last term decides, and only then its length.
 */
import { type Schedule, statusOf, threeQuickNodes } from './stage.js';

export const longerLog: Schedule = {
  name: 'longerLog',
  steps: ['a long tail', 'another leads', 'the longer log asks'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    limits: {},
    // A client sends its writes to one key one by one: with few keys, a leader that is cut off gets few.
    workload: { ...chosen.workload, clients: 12, keys: 30, window: 1024, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    if (!leader) return;
    const [voter, other] = stage.shuffledFounders(leader);
    if (!voter || !other) return;
    const lastOf = (machine: typeof leader) => statusOf(machine)?.lastIndex ?? 0;
    for (const machine of [voter, other]) stage.cutClients(machine);
    stage.isolate(leader);
    if (!(await stage.until(() => lastOf(leader) >= lastOf(voter) + 3))) return;
    stage.mark('a long tail');
    // Nobody stands for election but the other.
    stage.lose((from, _to, { type }) => from === voter && type === 'requestVote');
    const isAhead = () => other.node?.role === 'leader' && statusOf(voter)?.appliedIndex === lastOf(other);
    if (!(await stage.until(() => isAhead() && cluster.reference.lastIndex === lastOf(other)))) return;
    stage.mark('another leads');
    let hasAsked = false;
    stage.lose((from, to, { type }) => {
      if (type === 'requestVote' && from === leader && to === voter) hasAsked = true;
      return type === 'requestVote' && from === voter;
    });
    stage.mendAll();
    stage.isolate(other);
    if (!(await stage.until(() => hasAsked))) return;
    stage.mark('the longer log asks');
    await stage.until(() => leader.node?.role === 'leader', 1000);
  },
};
