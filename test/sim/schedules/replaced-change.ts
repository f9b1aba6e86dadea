/**
 * A change of members that one leader alone has in its log; the others, who never heard of it, elect another and write in its
 * place. It must not take effect, not at its first leader either.
 */
import { type Schedule, statusOf, threeQuickNodes } from './stage.js';

export const replacedChange: Schedule = {
  name: 'replacedChange',
  steps: ['in one log only', 'another leads', 'replaced'],
  setting: (chosen) => ({ ...threeQuickNodes(chosen), spares: 1, changesMembers: true }),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const spare = cluster.machines.find((machine) => !cluster.founders.includes(machine));
    if (!leader || !spare) return;
    stage.lose((from, _to, { type }) => from === leader && type === 'append');
    const lastOf = () => statusOf(leader)?.lastIndex ?? 0;
    // Behind what is on its way it is at the latest the last entry after that.
    stage.change(leader, 'addLearner', spare);
    const before = lastOf();
    if (!(await stage.until(() => lastOf() > before))) return;
    await stage.sleep(50);
    stage.mark('in one log only');
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
