/**
 * A change of members is in the log of one leader only. The others elect another leader and write in its place. The
 * change must not take effect, also not on the first leader.
 */
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

export const replacedChange: Schedule = {
  name: 'replacedChange',
  steps: ['in one log only', 'another leads', 'replaced'],
  setting: (chosen) => ({ ...threeQuickNodes(chosen), spares: 1, changesMembers: true }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const spare = cluster.machines.find((machine) => !cluster.founders.includes(machine));
    if (!leader || !spare) return;
    cluster.turnOn(spare);
    if (!(await stage.until(() => spare.state === 'up'))) return;
    // No entry of the leader arrives, from the change on.
    let hasChange = false;
    stage.lose((from, _to, message) => {
      if (from !== leader || message.type !== 'append') return false;
      hasChange ||= message.entries.some(({ kind }) => kind === 'configuration');
      return hasChange;
    });
    for (let tries = 0; tries < 10 && !hasChange; tries++) {
      // While writes go on, a follower may be a little behind: then the change is refused.
      stage.change(leader, 'addLearner', spare);
      await stage.until(() => hasChange, 500);
    }
    if (!hasChange) return;
    stage.mark('in one log only');
    const lastOf = () => statusOf(leader)?.lastIndex ?? 0;
    let isElected = false;
    stage.onElected((elected) => {
      isElected ||= elected !== leader;
    });
    const last = lastOf();
    stage.isolate(leader);
    stage.lose(() => false);
    if (!(await stage.until(() => isElected))) return;
    stage.mark('another leads');
    if (!(await stage.until(() => cluster.reference.lastIndex > last))) return;
    stage.mendAll();
    if (!(await stage.until(() => (statusOf(leader)?.appliedIndex ?? 0) > last))) return;
    stage.mark('replaced');
    await stage.sleep(stage.random.float() * 500);
  },
};
