/** Commands for members and leadership: member add, update, promote, demote, remove, list; transfer. */
import { type Command, InvalidArgumentError } from 'commander';
import type { MemberChange } from '../client/member-changes.js';
import { parseAddress } from '../env/env.js';
import { errorMessage } from '../env/errors.js';
import { type CommonOptions, parseNodeId, withClient, withClientOptions } from './client-options.js';
import { ago, leaderOf, type SeenNode, standingOf, viewCluster } from './cluster-view.js';
import { examples } from './examples.js';
import { printLine, printTable } from './output.js';

interface ChangeOptions extends CommonOptions {
  readonly force?: true;
}

interface AddOptions extends ChangeOptions {
  readonly client: string;
  readonly peer: string;
  readonly voter?: true;
}

interface UpdateOptions extends ChangeOptions {
  readonly client?: string;
  readonly peer?: string;
}

/** A change may wait for another one, and a joint change needs two commits. */
const TIMEOUT_MS = 30_000;
const ADD_EXAMPLE = 'add 4 --client 10.0.0.4:7001 --peer 10.0.0.4:7101';

export function addMemberCommands(program: Command): void {
  const member = program
    .command('member')
    .description('change who belongs to the cluster')
    .addHelpText(
      'after',
      examples(['raftree member list', `raftree member ${ADD_EXAMPLE}`, 'raftree member promote 4']),
    );
  const command = (name: string, description: string, ...lines: string[]) =>
    withClientOptions(member.command(name).description(description), TIMEOUT_MS)
      .argument('<id>', 'the nodeId of its node.json', parseNodeId)
      .option('--force', FORCE)
      .addHelpText('after', examples(lines.map((line) => `raftree member ${line}`)));

  command('add', 'add a node as a learner: it receives the log but has no vote', ADD_EXAMPLE)
    .requiredOption('--client <host:port>', 'where clients reach it', checkAddress)
    .requiredOption('--peer <host:port>', 'where the other nodes reach it', checkAddress)
    .option('--voter', 'as a voter at once; it is safer to promote it after it has caught up')
    .action((node: number, options: AddOptions) => {
      const { client, peer, voter } = options;
      return change({ type: voter ? 'addVoter' : 'addLearner', node, client, peer }, options);
    });
  command('update', 'change the addresses of a member', 'update 4 --peer 10.0.0.14:7101')
    .option('--client <host:port>', 'its new client address', checkAddress)
    .option('--peer <host:port>', 'its new peer address', checkAddress)
    .action((node: number, options: UpdateOptions) => {
      const { client, peer } = options;
      return change({ type: 'update', node, ...(client && { client }), ...(peer && { peer }) }, options);
    });
  for (const [type, description] of [
    ['promote', 'make a learner a voter'],
    ['demote', 'make a voter a learner'],
    ['remove', 'remove a node; if it leads, another takes over'],
  ] as const) {
    command(type, description, `${type} 4`).action((node: number, options: ChangeOptions) =>
      change({ type, node }, options),
    );
  }
  withClientOptions(member.command('list').description('show the members and how far each is behind'), 5000)
    .addHelpText('after', examples(['raftree member list', 'raftree member list --json']))
    .action((options: CommonOptions) => list(options));

  withClientOptions(
    program.command('transfer').description('transfer leadership to another voter'),
    TIMEOUT_MS,
  )
    .argument('<id>', 'the node that is to lead', parseNodeId)
    .addHelpText('after', examples(['raftree transfer 2', 'raftree transfer 2 --secret-file secret']))
    .action(async (node: number, options: CommonOptions) => {
      await withClient(options, (client) => client.transferLeadership(node));
      if (options.json) printLine(JSON.stringify({ leaderId: node }));
      else printLine(`node ${node} leads`);
    });
}

async function change(change: MemberChange, options: ChangeOptions): Promise<void> {
  const { index, changed, warnings } = await withClient(options, (client) =>
    client.changeMembers([change], { force: options.force ?? false }),
  );
  for (const warning of warnings) {
    const risk = 'it was changed anyway because of --force; check `raftree member list`';
    process.stderr.write(`raftree: warning: ${warning}; ${risk}\n`);
  }
  if (options.json) printLine(JSON.stringify({ index, changed, warnings }));
  else if (changed === false)
    printLine(`node ${change.node} ${BECAME[change.type]} already; nothing was changed`);
  else printLine(`node ${change.node} ${BECAME[change.type]}`);
}

const FORCE =
  'even if the remaining members do not answer, or the node is unreachable or lags: ' +
  'the cluster may then never accept a write again';

const BECAME: Record<MemberChange['type'], string> = {
  addVoter: 'is a voter',
  promote: 'is a voter',
  addLearner: 'is a learner',
  demote: 'is a learner',
  update: 'has these addresses',
  remove: 'is not a member any more',
};

async function list(options: CommonOptions): Promise<void> {
  const nodes = await withClient(options, viewCluster);
  const leader = leaderOf(nodes);
  const members = nodes
    .filter(({ membership }) => membership !== '-')
    .map((node: SeenNode) => {
      const { nodeId, membership, clientAddress, peerAddress, status } = node;
      const standing = standingOf(node, leader);
      const { heardMsAgo, state } = standing;
      const seen = leader?.peers.find((peer) => peer.nodeId === nodeId);
      const matchIndex = leader?.nodeId === nodeId ? leader.lastIndex : seen?.matchIndex;
      const answers = status !== undefined;
      // The leader does not use client addresses: a mistyped one shows only here.
      const isOnlyHeard = state === 'follows' && !answers && standing.problem === '';
      const problem = isOnlyHeard ? 'no answer from its client address' : standing.problem;
      return {
        nodeId,
        membership,
        clientAddress,
        peerAddress,
        matchIndex,
        answers,
        heardMsAgo,
        problem,
        state,
      };
    });
  if (options.json) {
    printLine(JSON.stringify(members));
    return;
  }
  const behind = (matchIndex: number | undefined) =>
    leader && matchIndex !== undefined ? leader.lastIndex - matchIndex : '?';
  printTable(
    ['node', 'member', 'client', 'peer', 'behind', 'heard', 'state'],
    members.map((each) =>
      [
        each.nodeId,
        each.membership,
        each.clientAddress || '?',
        each.peerAddress || '?',
        behind(each.matchIndex),
        ago(each.heardMsAgo),
        each.problem === '' ? each.state : `${each.state}: ${each.problem}`,
      ].map(String),
    ),
  );
}

function checkAddress(text: string): string {
  try {
    parseAddress(text);
  } catch (error) {
    throw new InvalidArgumentError(errorMessage(error));
  }
  return text;
}
