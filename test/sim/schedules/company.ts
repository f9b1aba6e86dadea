/**
 * The leader of three adds two more nodes. Then it is cut off, together with them, from the two others. These hold the
 * changes, but do not know that they are committed. The leader's side must stay a minority. It would not if learners
 * counted, or if both changes were allowed at once: then three of five would be on its side, and two of three on the
 * other.
 */
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import type { Schedule, Stage } from '../../../src/sim/stage.js';

const among = (chosen: Parameters<Schedule['setting']>[0]) => ({
  ...chosen,
  nodes: 3,
  spares: 2,
  changesMembers: true,
  maxDelayMs: 5,
  storage: { ...chosen.storage, maxRaftLogBytes: 128 * 1024, trailingEntries: 200 },
});

function introduce(stage: Stage): { leader: RunMachine; spares: RunMachine[] } | undefined {
  const { cluster } = stage;
  const { leader } = cluster;
  const spares = cluster.machines.filter((machine) => !cluster.founders.includes(machine));
  for (const machine of spares) cluster.turnOn(machine);
  return leader && { leader, spares };
}

/** The others elect a leader, and both sides get writes. */
async function apart(stage: Stage, leader: RunMachine, spares: readonly RunMachine[]): Promise<void> {
  const others = stage.shuffledFounders(leader);
  let hasOther = false;
  stage.onElected((elected) => {
    if (others.includes(elected)) hasOther = true;
  });
  stage.lose(() => false);
  stage.cut([leader, ...spares], others);
  stage.mark('apart');
  if (!(await stage.until(() => hasOther))) return;
  stage.mark('other leader');
  await stage.sleep(500 + stage.random.float() * 1000);
}

export const twoChanges: Schedule = {
  name: 'twoChanges',
  steps: ['asked', 'a change is in force', 'apart', 'other leader'],
  setting: among,
  run: async (stage) => {
    const { leader, spares } = introduce(stage) ?? {};
    if (!leader || !spares) return;
    const others = stage.shuffledFounders(leader);
    if (!(await stage.until(() => spares.every(({ state }) => state === 'up')))) return;
    // Slow enough that both operators ask before the first change is committed.
    for (const { condition } of others) {
      condition.minMs = 20;
      condition.maxMs = 30;
    }
    const before = leader.node?.status(0).lastIndex ?? 0;
    // The others get the changes, but do not hear that one is committed.
    let changeAt = Number.POSITIVE_INFINITY;
    stage.lose((from, to, message) => {
      if (from !== leader || !others.includes(to)) return false;
      if (message.type === 'append') {
        const first = message.previousIndex + 1;
        const change = message.entries.findIndex(
          ({ kind }, i) => kind === 'configuration' && first + i > before,
        );
        if (change >= 0) changeAt = Math.min(changeAt, first + change);
      }
      return 'commitIndex' in message && message.commitIndex >= changeAt;
    });
    for (const spare of spares) stage.change(leader, 'addVoter', spare);
    stage.mark('asked');
    const voters = () => leader.node?.status(0).voters.length ?? 0;
    if (!(await stage.until(() => voters() > 3, 3000))) return;
    stage.mark('a change is in force');
    await stage.until(() => voters() === 5, stage.cluster.setting.raft.electionTimeoutMinMs / 2);
    await apart(stage, leader, spares);
  },
};

export const learners: Schedule = {
  name: 'learners',
  steps: ['learners', 'apart', 'other leader'],
  setting: among,
  run: async (stage) => {
    const { leader, spares } = introduce(stage) ?? {};
    if (!leader || !spares) return;
    const status = () => leader.node?.status(0);
    for (const spare of spares) {
      const learns = () => status()?.learners.includes(spare.id) ?? false;
      // It is refused while the change before is not complete.
      for (let tries = 0; tries < 10 && !learns(); tries++) {
        stage.change(leader, 'addLearner', spare);
        await stage.until(learns, 500);
      }
      if (!learns()) return;
    }
    const index = status()?.lastIndex ?? 0;
    if (!(await stage.until(() => spares.every(({ node }) => (node?.status(0).lastIndex ?? 0) >= index))))
      return;
    stage.mark('learners');
    await apart(stage, leader, spares);
  },
};

/** Four voters, two on each side: neither is a majority. */
export const evenHalves: Schedule = {
  name: 'evenHalves',
  steps: ['four', 'two and two'],
  setting: (chosen) => ({ ...among(chosen), spares: 1 }),
  run: async (stage) => {
    const { leader, spares } = introduce(stage) ?? {};
    const [fourth] = spares ?? [];
    if (!leader || !fourth) return;
    const voters = () => leader.node?.status(0).voters.length ?? 0;
    for (let tries = 0; tries < 20 && voters() < 4; tries++) {
      stage.change(leader, 'addVoter', fourth);
      await stage.until(() => voters() === 4, 500);
    }
    const { machines } = stage.cluster;
    const applied = (one: RunMachine) => one.node?.status(0).voters.length === 4;
    if (!(await stage.until(() => machines.every(applied)))) return;
    stage.mark('four');
    stage.cut([leader, fourth], stage.shuffledFounders(leader));
    stage.mark('two and two');
    await stage.sleep(3 * stage.cluster.setting.raft.electionTimeoutMaxMs + stage.random.float() * 500);
  },
};
