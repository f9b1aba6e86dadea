/**
 * Figure 8 of the Raft paper. A leader's entries reach one follower only. Another node leads a later term, writes, and
 * is cut off. One of the first two leads again and replicates the old entries to a majority. They are committed only
 * with an entry of its own term: the node that was cut off may still be elected, and would replace them.
 */
import type { Schedule } from '../../../src/sim/stage.js';

export const oldTermEntry: Schedule = {
  name: 'oldTermEntry',
  steps: ['kept back', 'other leader', 'old entries at a majority', 'other leader again'],
  setting: (chosen) => ({
    ...chosen,
    nodes: 5,
    spares: 0,
    changesMembers: false,
    // One entry per message: otherwise the entry that opens the leader's term arrives with the others.
    maxAppendBytes: 1,
  }),
  run: async (stage) => {
    const { cluster } = stage;
    const first = cluster.leader;
    if (!first) return;
    const [companion, ...others] = stage.shuffledFounders(first);
    if (!companion) return;
    const pair = [first, companion];
    const indexAtFirst = first.node?.status(0).lastIndex ?? 0;
    stage.lose((from, to, { type }) => type === 'append' && from === first && to !== companion);
    const lastOf = (machine: typeof first) => machine.node?.status(0).lastIndex ?? 0;
    if (!(await stage.until(() => lastOf(companion) > indexAtFirst))) return;
    stage.mark('kept back');

    stage.cut(pair, others);
    stage.cut([first], [companion]);
    let other: typeof first | undefined;
    stage.onElected((leader) => {
      if (!others.includes(leader)) return;
      other ??= leader;
      stage.isolate(leader);
    });
    if (!(await stage.until(() => other !== undefined))) return;
    stage.mark('other leader');
    const kept = other;
    if (!kept) return;
    // Its own entries become durable on its disk.
    await stage.sleep(100 + stage.random.float() * 300);

    let again: typeof first | undefined;
    stage.onElected((leader) => {
      if (pair.includes(leader)) again = leader;
    });
    // Only entries of old terms arrive, and the probe that finds where to begin. No other node campaigns.
    const offered = new Set<typeof first>();
    stage.lose((from, to, message) => {
      if (message.type === 'requestVote') return !pair.includes(from);
      if (message.type !== 'append') return false;
      const isNew = message.entries.some(({ term }) => term === message.term);
      if (!isNew && message.entries.length > 0) offered.add(to);
      return isNew && (offered.has(to) || lastOf(to) > indexAtFirst);
    });
    stage.mendAll();
    stage.isolate(kept);
    if (!(await stage.until(() => again !== undefined))) return;
    const leader = again;
    const held = () =>
      cluster.machines.filter((machine) => machine !== kept && lastOf(machine) > indexAtFirst).length;
    if (!leader || !(await stage.until(() => held() >= 3))) return;
    stage.mark('old entries at a majority');
    await stage.sleep(100 + stage.random.float() * 400);

    stage.onElected((next) => {
      if (next === kept) stage.mark('other leader again');
    });
    stage.mendAll();
    stage.isolate(leader);
    stage.lose((from, _to, { type }) => type === 'requestVote' && from !== kept);
    await stage.until(() => stage.reached.length === 4);
    await stage.sleep(stage.random.float() * 500);
  },
};
