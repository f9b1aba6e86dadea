/**
 * A leader whose vote is the only one there is, and a learner that gets all it writes. Its power fails while its disk is
 * slow; it stands for election as soon as it is back, and fails again. What the learner has by then must be of a term that
 * the leader does not begin once more, with other entries.
 */
import { healthyDisk } from '../machine.js';
import type { Schedule } from './stage.js';

export const soloVote: Schedule = {
  name: 'soloVote',
  steps: ['a learner', 'first power cut', 'the learner has more', 'second power cut', 'it leads again'],
  setting: (chosen) => ({
    ...chosen,
    nodes: 1,
    spares: 1,
    changesMembers: true,
    maxDelayMs: 5,
    maxDiskMs: 2,
    maxRestartMs: 300,
    workload: { ...chosen.workload, clients: 6, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster, random } = stage;
    const { leader } = cluster;
    const [learner] = cluster.machines.filter((machine) => machine !== leader);
    if (!leader || !learner) return;
    cluster.start(learner);
    stage.change(leader, 'addLearner', learner);
    const lastOf = (machine: typeof leader) => machine.node?.status(0).lastIndex ?? 0;
    const learns = () => leader.node?.status(0).learners.includes(learner.id) ?? false;
    if (!(await stage.until(() => learns() && lastOf(learner) >= lastOf(leader) - 2))) return;
    stage.mark('a learner');

    Object.assign(leader.condition, { minMs: 60, maxMs: 90 });
    cluster.cutPower(leader, 'keeps only what is synced');
    const held = lastOf(learner);
    stage.mark('first power cut');
    // The entry that opens the term, and at least one command.
    if (!(await stage.until(() => lastOf(learner) >= held + 2))) return;
    stage.mark('the learner has more');
    await stage.sleep(random.float() * 50);
    let leads = false;
    stage.onElected(() => {
      leads = true;
    });
    cluster.cutPower(leader, 'keeps only what is synced');
    Object.assign(leader.condition, healthyDisk(cluster.setting.maxDiskMs));
    stage.mark('second power cut');
    if (!(await stage.until(() => leads))) return;
    stage.mark('it leads again');
    await stage.sleep(random.float() * 500);
  },
};
