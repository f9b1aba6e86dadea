/** Nodes and links are lost while the group is quiet: it sends no heartbeats, and no election timeout runs. */
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import { type Schedule, type Stage, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

/** Two clients with long pauses. */
const setting: Schedule['setting'] = (chosen) => ({
  ...threeQuickNodes(chosen),
  raft: { heartbeatMs: 50, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 1000 },
  quietAfterMs: 1,
  workload: { ...chosen.workload, clients: 2, maxThinkMs: 3000 },
});

/** Resolves to the leader when the group was quiet for a while. */
async function untilQuiet(stage: Stage): Promise<RunMachine | undefined> {
  const { cluster } = stage;
  const { heartbeatMs } = cluster.setting.raft;
  const quiet = new Set<RunMachine>();
  let lastMs = cluster.nowMs;
  stage.lose((from, _to, message) => {
    lastMs = cluster.nowMs;
    if (message.type === 'quietReply' && message.isQuiet) quiet.add(from);
    else if (message.type === 'append' || message.type === 'quietReply') quiet.clear();
    return false;
  });
  await stage.until(() => quiet.size === 2 && cluster.nowMs - lastMs > 4 * heartbeatMs, 60_000);
  stage.lose(() => false);
  if (quiet.size === 2) stage.mark('quiet');
  return cluster.leader;
}

/** Without work: the clients might not ask for seconds. */
async function untilAnotherLeads(stage: Stage, old: RunMachine): Promise<boolean> {
  const { electionTimeoutMaxMs } = stage.cluster.setting.raft;
  const others = stage.cluster.founders.filter((machine) => machine !== old);
  const isLed = await stage.until(
    () => others.some(({ node }) => node?.role === 'leader'),
    4 * electionTimeoutMaxMs,
  );
  if (isLed) stage.mark('another leads');
  return isLed;
}

export const quietLeaderLost: Schedule = {
  name: 'quietLeaderLost',
  steps: ['quiet', 'another leads', 'quiet', 'another leads'],
  setting,
  run: async (stage) => {
    const { cluster, random } = stage;
    for (const how of ['power', 'network']) {
      const leader = await untilQuiet(stage);
      if (!leader) return;
      if (how === 'power') cluster.cutPower(leader);
      else stage.isolate(leader);
      if (!(await untilAnotherLeads(stage, leader))) return;
      await stage.sleep(random.float() * 500);
      if (how === 'power') cluster.turnOn(leader);
      else stage.mendAll();
    }
  },
};

export const quietRestart: Schedule = {
  name: 'quietRestart',
  steps: ['quiet', 'leader kept', 'quiet', 'led'],
  setting,
  run: async (stage) => {
    const { cluster } = stage;
    const { electionTimeoutMaxMs } = cluster.setting.raft;
    const leader = await untilQuiet(stage);
    if (!leader) return;
    const term = statusOf(leader)?.term;
    const [follower] = stage.shuffledFounders(leader);
    if (!follower) return;
    cluster.kill(follower);
    cluster.turnOn(follower);
    await stage.sleep(4 * electionTimeoutMaxMs);
    const status = statusOf(leader);
    if (status?.role !== 'leader' || status.term !== term)
      cluster.fail('leadership is kept', `${follower.host} was restarted, and ${leader.host} was replaced`);
    stage.mark('leader kept');
    const again = await untilQuiet(stage);
    if (!again) return;
    const before = statusOf(again)?.term ?? 0;
    // Before anybody can notice its silence.
    cluster.kill(again);
    cluster.turnOn(again);
    const isLed = () => {
      const { term: now = 0, role } = (cluster.leader && statusOf(cluster.leader)) ?? {};
      return role === 'leader' && now > before;
    };
    if (await stage.until(isLed, 6 * electionTimeoutMaxMs)) stage.mark('led');
  },
};
