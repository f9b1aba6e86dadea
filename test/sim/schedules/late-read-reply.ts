/**
 * A follower asks its leader for a read index, and is killed before the answer. The next process asks too, and first
 * gets the old answer, which misses later writes.
 */
import type { ReadIndexReply } from '../../../src/raft/types.js';
import { type Schedule, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

export const lateReadReply: Schedule = {
  name: 'lateReadReply',
  steps: ['asked', 'restarted', 'written', 'asked again', 'late answers'],
  setting: (chosen) => ({
    ...threeQuickNodes(chosen),
    raft: { heartbeatMs: 60, electionTimeoutMinMs: 600, electionTimeoutMaxMs: 900 },
    workload: { ...chosen.workload, clients: 4, keys: 2, maxThinkMs: 20 },
  }),
  run: async (stage) => {
    const { cluster, workload } = stage;
    const { leader } = cluster;
    const [follower] = stage.shuffledFounders(...(leader ? [leader] : []));
    if (!leader || !follower) return;
    const isBack = () => follower.state === 'up' && statusOf(follower)?.leaderId === leader.id;
    cluster.kill(follower);
    if (!(await stage.until(isBack))) return;
    // The answers to its first requests are held back.
    const late: (() => void)[] = [];
    const told = new Set<ReadIndexReply>();
    let process = 1;
    let asked = 0;
    let isHeldBack = false;
    stage.lose((from, to, message, send) => {
      if (from === follower && message.type === 'readIndex') asked++;
      if (to !== follower) return false;
      if (message.type !== 'readIndexReply') return isHeldBack && message.type === 'append';
      if (told.has(message)) return false;
      told.add(message);
      if (process === 1) late.push(send);
      return true;
    });
    for (let i = 0; i < 5; i++) void workload.readAll(follower.endpoint, 'follower');
    if (!(await stage.until(() => late.length >= 6))) return;
    stage.mark('asked');
    cluster.kill(follower);
    process = 2;
    isHeldBack = true;
    if (!(await stage.until(isBack))) return;
    stage.mark('restarted');
    if (!(await stage.grows(10))) return;
    await stage.sleep(20);
    stage.mark('written');
    asked = 0;
    const reads = Array.from({ length: 8 }, () => workload.readAll(follower.endpoint, 'follower'));
    if (!(await stage.until(() => asked >= 8))) return;
    stage.mark('asked again');
    for (const send of late) send();
    stage.mark('late answers');
    await stage.sleep(200);
    stage.lose(() => false);
    await Promise.all(reads);
  },
};
