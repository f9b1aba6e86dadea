/**
 * Strangers on the network. Each schedule tries one kind of harm on every node. The cluster must work meanwhile, and no
 * effect may be left.
 */

import { LIES, WITHSTOOD_WITHOUT_SECRET } from '../../../src/sim/nemesis/lies.js';
import { Strangers } from '../../../src/sim/nemesis/strangers.js';
import { listed } from '../../../src/sim/run/node-json.js';
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import { type Schedule, type Stage, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';

const quick =
  (hasSecret: boolean): Schedule['setting'] =>
  (chosen) => ({
    ...threeQuickNodes(chosen),
    spares: 1,
    changesMembers: true,
    hasSecret,
    limits: {},
    faults: ['replayedFrames'],
    raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
  });

type Harm = (strangers: Strangers, machine: RunMachine, stage: Stage) => Promise<void>;

function liars(name: string, hasSecret: boolean, harm: Harm): Schedule {
  return {
    name,
    steps: ['it begins', 'goes on', 'the same members', 'a member is let in'],
    setting: quick(hasSecret),
    run: async (stage) => {
      const { cluster } = stage;
      const strangers = new Strangers(cluster, stage.random);
      stage.mark('it begins');
      await Promise.all(stage.shuffledFounders().map((machine) => harm(strangers, machine, stage)));
      if (!(await stage.grows(10)) || !(await stage.until(() => cluster.leader !== undefined))) return;
      stage.mark('goes on');
      const { founders, leader } = cluster;
      const { voters = [], learners = [] } = (leader && statusOf(leader)) ?? {};
      if ([...voters, ...learners].join() !== founders.map(({ id }) => id).join()) return;
      stage.mark('the same members');
      // What nodes remember of strangers must not take the place of members.
      const joiner = cluster.machines.at(-1);
      if (!joiner) return;
      cluster.turnOn(joiner);
      const operator = stage.operator();
      const added = { ...listed(joiner), type: 'addVoter', node: joiner.id } as const;
      if (!(await stage.untilAnswered(() => operator.change([added]), 'done'))) return;
      if (await stage.until(() => (statusOf(joiner)?.appliedIndex ?? 0) > 0))
        stage.mark('a member is let in');
      strangers.stop();
    },
  };
}

async function several(times: number, what: () => Promise<void>): Promise<void> {
  await Promise.all(Array.from({ length: times }, what));
}

export const LIARS: readonly Schedule[] = [
  liars('liesToMembers', true, async (strangers, machine) => {
    for (const name of Object.keys(LIES)) await strangers.lie(machine, name);
  }),
  // A node without a leader is easier to deceive.
  liars('liesWithoutSecret', false, async (strangers, machine, stage) => {
    stage.isolate(machine);
    await stage.sleep(1500);
    for (const name of WITHSTOOD_WITHOUT_SECRET) await strangers.lie(machine, name);
    stage.mendAll();
  }),
  liars('strangeBytes', true, (strangers, machine) => several(10, () => strangers.sendBytes(machine))),
  liars('thousandNodes', false, (strangers, machine) =>
    strangers.makeUpNodes(machine, machine.node?.role === 'leader' ? 1010 : 100),
  ),
  liars('heldConnections', true, async (strangers, machine, stage) => {
    await strangers.hold(machine, 300);
    if (machine.node?.role !== 'leader') return;
    // When it is back, all other nodes must find a free connection.
    stage.cluster.kill(machine);
    await stage.until(() => machine.state === 'up');
    await strangers.hold(machine, 300);
  }),
  liars('replayedFrames', true, (strangers) => several(5, () => strangers.replay())),
  liars('replayedWithoutSecret', false, (strangers) => several(5, () => strangers.replay())),
  liars('strangeOperator', true, (strangers, machine) => several(10, () => strangers.askAsClient(machine))),
];
