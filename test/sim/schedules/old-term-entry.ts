/**
 * Raft's figure 8. A leader's entries reach one follower only; another leads a later term, writes, and is cut off; one
 * of the first two leads again and brings the old entries to a majority. They must not count as committed before an
 * entry of its own term does, for he who was cut off may still be elected, and replaces them.
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
    // Entry by entry, or the one that opens a leader's term always comes along.
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
    // What he writes alone becomes durable at his place.
    await stage.sleep(100 + stage.random.float() * 300);

    let again: typeof first | undefined;
    stage.onElected((leader) => {
      if (pair.includes(leader)) again = leader;
    });
    // Only entries of old terms arrive, but for the probe that finds out where to begin; nobody else stands for
    // election.
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
