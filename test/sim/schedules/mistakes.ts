/**
 * Operators' mistakes that could end a cluster: wrong commands about members, wrong node.json files, lost data folders.
 * No command is forced. Nodes must refuse what would end the cluster.
 */

import { listed, OTHER_DIRECTORY } from '../../../src/sim/run/node-json.js';
import type { RunMachine } from '../../../src/sim/run/run-machine.js';
import { type Schedule, type Stage, statusOf, threeQuickNodes } from '../../../src/sim/stage.js';
import { SimDisk } from '../../../src/sim/world/disk.js';

const quick = (spares: number) => (chosen: Parameters<Schedule['setting']>[0]) => ({
  ...threeQuickNodes(chosen),
  spares,
  changesMembers: spares > 0,
  limits: {},
  raft: { heartbeatMs: 60, electionTimeoutMinMs: 500, electionTimeoutMaxMs: 800 },
});

/** After so long every node counts a stopped node as silent. */
const SILENCE_MS = 2500;

/** Stops a machine, does something, and starts it again. */
async function restartedAfter(
  stage: Stage,
  machines: readonly RunMachine[],
  what: () => void,
): Promise<boolean> {
  const { cluster } = stage;
  for (const machine of machines) {
    machine.isOff = true;
    cluster.kill(machine);
  }
  await stage.sleep(SILENCE_MS);
  what();
  for (const machine of machines) {
    machine.isOff = false;
    cluster.turnOn(machine);
  }
  return stage.until(() => machines.every(({ state }) => state === 'up'));
}

async function emptied(stage: Stage, machine: RunMachine): Promise<boolean> {
  return restartedAfter(stage, [machine], () => {
    machine.isDamaged = true;
    machine.disk = new SimDisk();
  });
}

/** As README says of a node whose data folder is lost: it is removed, and joins with an empty one. */
async function addedAgain(stage: Stage, machine: RunMachine): Promise<boolean> {
  const { cluster } = stage;
  const { id } = machine;
  const operator = stage.operator();
  if (!(await stage.untilAnswered(() => operator.change([{ type: 'remove', node: id }]), 'done')))
    return false;
  machine.joinsAgain = true;
  machine.isOff = false;
  cluster.kill(machine);
  machine.disk = new SimDisk();
  cluster.turnOn(machine);
  const added = { ...listed(machine), type: 'addVoter', node: id } as const;
  if (!(await stage.untilAnswered(() => operator.change([added]), 'done'))) return false;
  machine.isDamaged = false;
  return true;
}

/** A node with data is restarted as one of three, with two empty ones. */
export const grownByEdit: Schedule = {
  name: 'grownByEdit',
  steps: ['one of three', 'the empty ones do not vote', 'grown'],
  setting: (chosen) => ({ ...quick(2)(chosen), nodes: 1 }),
  run: async (stage) => {
    const { cluster } = stage;
    const { machines } = cluster;
    const [first, ...others] = machines;
    if (!first) return;
    const edit = { what: 'one of three', changes: { nodes: machines.map(listed), join: false } };
    for (const machine of machines) machine.edit = edit;
    cluster.kill(first);
    for (const other of others) cluster.turnOn(other);
    stage.mark('one of three');
    if (!(await stage.grows(10))) return;
    await stage.sleep(2000);
    if (others.every(({ node }) => statusOf({ node } as RunMachine)?.term === 0))
      stage.mark('the empty ones do not vote');
    for (const machine of machines) {
      machine.edit = undefined;
      cluster.kill(machine);
    }
    const operator = stage.operator();
    for (const { id, host } of others) {
      const change = { ...listed({ id, host }), type: 'addVoter', node: id } as const;
      if (!(await stage.untilAnswered(() => operator.change([change]), 'done'))) return;
    }
    stage.mark('grown');
  },
};

/** Two of three nodes start with another, empty data folder. Then they get the old one again. */
export const emptiedMajority: Schedule = {
  name: 'emptiedMajority',
  steps: ['two are empty', 'nobody leads', 'as before'],
  setting: quick(0),
  run: async (stage) => {
    const { founders } = stage.cluster;
    const two = stage.shuffledFounders().slice(1);
    const edit = { what: 'another folder', changes: { dataDirectory: OTHER_DIRECTORY } };
    const isEdited = await restartedAfter(stage, two, () => {
      for (const machine of two) machine.edit = edit;
    });
    if (!isEdited) return;
    stage.mark('two are empty');
    let isLed = false;
    stage.onElected(() => {
      isLed = true;
    });
    await stage.sleep(4000);
    if (!isLed && founders.every(({ node }) => node?.role !== 'leader')) stage.mark('nobody leads');
    const isCorrect = await restartedAfter(stage, two, () => {
      for (const machine of two) machine.edit = undefined;
    });
    if (isCorrect && (await stage.grows(5))) stage.mark('as before');
  },
};

/** Unreachable voters are added, and then a real one is lost. */
export const absentVoters: Schedule = {
  name: 'absentVoters',
  steps: ['refused', 'one is lost', 'goes on'],
  setting: quick(2),
  run: async (stage) => {
    const { cluster } = stage;
    const operator = stage.operator();
    const spares = cluster.machines.slice(cluster.founders.length);
    const answers = [
      // A node that was never started; one with addresses of no machine; one with those of another node.
      ...(await Promise.all(
        [
          { id: 5, host: 'n5' },
          { id: 4, host: 'nowhere' },
          { id: 77, host: 'n2' },
        ].map(({ id, host }) => operator.change([{ ...listed({ id, host }), type: 'addVoter', node: id }])),
      )),
    ];
    const voters = () =>
      statusOf(cluster.leader ?? (stage.shuffledFounders()[0] as RunMachine))?.voters.length;
    if (answers.includes('done') || spares.some(({ starts }) => starts > 0) || voters() !== 3) return;
    stage.mark('refused');
    const [lost] = stage.shuffledFounders();
    if (!lost || !(await emptied(stage, lost))) return;
    stage.mark('one is lost');
    if (await stage.grows(5)) stage.mark('goes on');
  },
};

/** One of three is lost. The removal of a live one would leave two voters, of which one is lost. */
export const removedWhileDown: Schedule = {
  name: 'removedWhileDown',
  steps: ['one is lost', 'refused', 'removed and added again'],
  setting: quick(0),
  run: async (stage) => {
    const operator = stage.operator();
    const [lost, other] = stage.shuffledFounders();
    if (!lost || !other || !(await emptied(stage, lost))) return;
    stage.mark('one is lost');
    const answer = await operator.change([{ type: 'remove', node: other.id }]);
    if (answer !== 'QUORUM_AT_RISK' && answer !== 'NO_LEADER') return;
    stage.mark('refused');
    if (await addedAgain(stage, lost)) stage.mark('removed and added again');
  },
};

/** A learner that lost its folder is promoted. */
export const promotedDown: Schedule = {
  name: 'promotedDown',
  steps: ['a learner', 'refused', 'one is lost', 'goes on'],
  setting: quick(1),
  run: async (stage) => {
    const { cluster } = stage;
    const operator = stage.operator();
    const learner = cluster.machines.at(-1);
    if (!learner) return;
    cluster.turnOn(learner);
    const added = { ...listed(learner), type: 'addLearner', node: learner.id } as const;
    if (!(await stage.untilAnswered(() => operator.change([added]), 'done'))) return;
    stage.mark('a learner');
    if (!(await emptied(stage, learner))) return;
    if ((await operator.change([{ type: 'promote', node: learner.id }])) === 'done') return;
    stage.mark('refused');
    const [lost] = stage.shuffledFounders();
    if (!lost || !(await emptied(stage, lost))) return;
    stage.mark('one is lost');
    if (await stage.grows(5)) stage.mark('goes on');
  },
};

/** Two operators repeat commands at the same time, and remove a node that is no member. */
export const repeatedCommands: Schedule = {
  name: 'repeatedCommands',
  steps: ['told', 'nobody has changed', 'one is lost', 'goes on'],
  setting: quick(0),
  run: async (stage) => {
    const { cluster } = stage;
    const operators = [stage.operator(), stage.operator()];
    await Promise.all(
      operators.flatMap((operator) => [
        ...cluster.founders
          .slice(0, 2)
          .map((present) => operator.change([{ ...listed(present), type: 'addLearner', node: present.id }])),
        operator.change([{ type: 'remove', node: 99 }]),
      ]),
    );
    stage.mark('told');
    const isAll = () => statusOf(cluster.leader ?? ({} as RunMachine))?.voters.length === 3;
    if (!(await stage.until(() => cluster.leader !== undefined)) || !isAll()) return;
    stage.mark('nobody has changed');
    const [lost] = stage.shuffledFounders();
    if (!lost || !(await emptied(stage, lost))) return;
    stage.mark('one is lost');
    if (await stage.grows(5)) stage.mark('goes on');
  },
};

/** A joining node was started, emptied, and started again before it was added. */
export const emptiedJoiner: Schedule = {
  name: 'emptiedJoiner',
  steps: ['emptied', 'added', 'follows'],
  setting: quick(1),
  run: async (stage) => {
    const { cluster } = stage;
    const joiner = cluster.machines.at(-1);
    if (!joiner) return;
    cluster.turnOn(joiner);
    if (!(await stage.until(() => joiner.state === 'up'))) return;
    await stage.sleep(1000);
    const isEmptied = await restartedAfter(stage, [joiner], () => {
      joiner.disk = new SimDisk();
    });
    if (!isEmptied) return;
    stage.mark('emptied');
    const operator = stage.operator();
    const added = { ...listed(joiner), type: 'addVoter', node: joiner.id } as const;
    if (!(await stage.untilAnswered(() => operator.change([added]), 'done'))) return;
    stage.mark('added');
    const { lastIndex } = cluster.reference;
    if (await stage.until(() => (statusOf(joiner)?.appliedIndex ?? 0) > lastIndex)) stage.mark('follows');
  },
};

/**
 * A member comes back with a new data folder and leads. A voter that was away knows only the old folder, and is needed
 * when a third node dies.
 */
export const unknownReturn: Schedule = {
  name: 'unknownReturn',
  steps: ['one is away', 'another is back', 'it leads', 'one dies', 'goes on', 'the first one follows'],
  setting: quick(1),
  run: async (stage) => {
    const { cluster } = stage;
    const operator = stage.operator();
    const spare = cluster.machines.at(-1);
    const [back, away, third] = stage.shuffledFounders();
    if (!spare || !back || !away || !third) return;
    cluster.turnOn(spare);
    const added = { ...listed(spare), type: 'addVoter', node: spare.id } as const;
    if (!(await stage.untilAnswered(() => operator.change([added]), 'done'))) return;
    stage.isolate(away);
    stage.mark('one is away');
    await stage.sleep(SILENCE_MS);
    if (!(await addedAgain(stage, back))) return;
    stage.mark('another is back');
    if (!(await stage.untilAnswered(() => operator.transfer(back.id), 'done'))) return;
    stage.mark('it leads');
    // Without the voter that is away no majority is left.
    const removed = [{ type: 'remove', node: spare.id }] as const;
    if (!(await stage.untilAnswered(() => operator.change(removed), 'done'))) return;
    third.isOff = true;
    cluster.kill(third);
    stage.mark('one dies');
    stage.mendAll();
    if (!(await stage.grows(5))) return;
    stage.mark('goes on');
    const { lastIndex } = cluster.reference;
    if (await stage.until(() => (statusOf(away)?.appliedIndex ?? 0) >= lastIndex))
      stage.mark('the first one follows');
  },
};

/**
 * A copy of a voter's folder runs beside the voter; then a copy that is older than the last start of the voter. The
 * copy reaches only one node, which does not reach the original and lacks committed entries.
 */
export const copiedFolder: Schedule = {
  name: 'copiedFolder',
  steps: ['beside the original', 'an older one', 'committed by two', 'refused', 'goes on'],
  setting: quick(0),
  run: async (stage) => {
    const { cluster } = stage;
    const { copies, leader } = cluster;
    const [original, third] = stage.shuffledFounders(...(leader ? [leader] : []));
    if (!leader || !original || !third) return;
    // The leader would stop the copy at once: it knows what the original has acknowledged since.
    const beside = copies.start(original, original.disk.clone());
    stage.cut([leader], [beside]);
    await stage.sleep(SILENCE_MS);
    copies.end(beside.id);
    stage.mendAll();
    stage.mark('beside the original');
    const older = original.disk.clone();
    const isBack = await restartedAfter(stage, [original], () => {});
    const isHeard = () =>
      copies.isNoticed(original, older) &&
      [leader, third].every((one) =>
        statusOf(one)?.peers.some(({ nodeId, reachable }) => nodeId === original.id && reachable),
      );
    if (!isBack || !(await stage.until(isHeard))) return;
    stage.mark('an older one');
    stage.isolate(third);
    if (!(await stage.grows(5))) return;
    stage.mark('committed by two');
    stage.isolate(leader);
    stage.isolate(original);
    const copy = copies.start(original, older);
    stage.cut([leader, original], [copy]);
    let isLed = false;
    stage.onElected(() => {
      isLed = true;
    });
    await stage.sleep(4000);
    if (isLed || copy.node?.role === 'leader') return;
    stage.mark('refused');
    stage.mendAll();
    if (await stage.grows(5)) stage.mark('goes on');
  },
};

/**
 * A voter's folder is replaced by an older one, from before it acknowledged entries that only it and the leader hold.
 * It first meets the leader, which knows of the acknowledgements; then the third node, which lacks the entries.
 */
export const olderFolder: Schedule = {
  name: 'olderFolder',
  steps: ['committed by two', 'put back', 'ended', 'goes on', 'removed and added again'],
  setting: quick(0),
  run: async (stage) => {
    const { cluster } = stage;
    const { leader } = cluster;
    const [older, third] = stage.shuffledFounders(...(leader ? [leader] : []));
    if (!leader || !older || !third) return;
    const folder = older.disk.clone();
    stage.isolate(third);
    if (!(await stage.grows(5))) return;
    stage.mark('committed by two');
    // They count as members. The leader's repair of the log is delayed.
    stage.lose((from, to) => from === leader && to === older);
    const isBack = await restartedAfter(stage, [older], () => {
      older.isDamaged = true;
      older.disk = folder;
    });
    if (!isBack) return;
    stage.mark('put back');
    older.isOff = true;
    if (await stage.until(() => older.state === 'down', 2000)) stage.mark('ended');
    stage.mendAll();
    if (older.state !== 'down') stage.isolate(leader);
    if (!(await stage.grows(5))) return;
    stage.mark('goes on');
    if (await addedAgain(stage, older)) stage.mark('removed and added again');
  },
};

export const MISTAKES: readonly Schedule[] = [
  grownByEdit,
  emptiedMajority,
  absentVoters,
  removedWhileDown,
  promotedDown,
  repeatedCommands,
  emptiedJoiner,
  unknownReturn,
  copiedFolder,
  olderFolder,
];
