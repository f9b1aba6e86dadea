/** Commands about who belongs to the cluster and who leads it: member add, promote, demote, remove, list; transfer. */
import { type Command, InvalidArgumentError } from 'commander';
import type { MemberChange } from '../client/member-changes.js';
import { parseAddress } from '../env/env.js';
import { errorMessage } from '../env/errors.js';
import { type CommonOptions, parseCount, withClient, withClientOptions } from './client-options.js';
import { leaderOf, type SeenNode, viewCluster } from './cluster-view.js';
import { printLine, printTable } from './output.js';

interface AddOptions extends CommonOptions {
  readonly client: string;
  readonly peer: string;
  readonly voter?: true;
}

/** A change may have to wait for another one, and goes through two agreements if it is a joint one. */
const TIMEOUT_MS = 30_000;

export function addMemberCommands(program: Command): void {
  const member = program.command('member').description('change who belongs to the cluster');
  const command = (name: string, description: string) =>
    withClientOptions(member.command(name).description(description), TIMEOUT_MS);

  command('add', 'add a node as a learner: it receives everything and counts for nothing')
    .argument('<id>', 'the nodeId of its node.json', parseCount)
    .requiredOption('--client <host:port>', 'where clients reach it', checkAddress)
    .requiredOption('--peer <host:port>', 'where the other nodes reach it', checkAddress)
    .option('--voter', 'as a voter at once; better only when it has caught up (see promote)')
    .action((node: number, options: AddOptions) => {
      const { client, peer, voter } = options;
      return change({ type: voter ? 'addVoter' : 'addLearner', node, client, peer }, options);
    });
  command('promote', 'make a learner a voter')
    .argument('<id>', 'the node', parseCount)
    .action((node: number, options: CommonOptions) => change({ type: 'addVoter', node }, options));
  command('demote', 'make a voter a learner')
    .argument('<id>', 'the node', parseCount)
    .action((node: number, options: CommonOptions) => change({ type: 'addLearner', node }, options));
  command('remove', 'remove a node; if it leads, another takes over')
    .argument('<id>', 'the node', parseCount)
    .action((node: number, options: CommonOptions) => change({ type: 'remove', node }, options));
  withClientOptions(
    member.command('list').description('show the members and how far each has come'),
    5000,
  ).action((options: CommonOptions) => list(options));

  withClientOptions(program.command('transfer').description('hand leadership to another voter'), TIMEOUT_MS)
    .argument('<id>', 'the node that is to lead', parseCount)
    .action(async (node: number, options: CommonOptions) => {
      await withClient(options, (client) => client.transferLeadership(node));
      if (options.json) printLine(JSON.stringify({ leaderId: node }));
      else printLine(`node ${node} leads`);
    });
}

async function change(change: MemberChange, options: CommonOptions): Promise<void> {
  const { index } = await withClient(options, (client) => client.changeMembers([change]));
  if (options.json) printLine(JSON.stringify({ index }));
  else printLine(`node ${change.node} is ${BECAME[change.type]}`);
}

const BECAME: Record<MemberChange['type'], string> = {
  addVoter: 'a voter',
  addLearner: 'a learner',
  remove: 'no member any more',
};

async function list(options: CommonOptions): Promise<void> {
  const nodes = await withClient(options, viewCluster);
  const leader = leaderOf(nodes);
  const members = nodes
    .filter(({ membership }) => membership !== '-')
    .map(({ nodeId, membership, clientAddress, peerAddress, status }: SeenNode) => {
      const seen = leader?.peers.find((peer) => peer.nodeId === nodeId);
      const matchIndex = leader?.nodeId === nodeId ? leader.lastIndex : seen?.matchIndex;
      return { nodeId, membership, clientAddress, peerAddress, matchIndex, answers: status !== undefined };
    });
  if (options.json) {
    printLine(JSON.stringify(members));
    return;
  }
  const behind = (matchIndex: number | undefined) =>
    leader && matchIndex !== undefined ? leader.lastIndex - matchIndex : '?';
  printTable(
    ['node', 'member', 'client', 'peer', 'behind', 'state'],
    members.map((each) =>
      [
        each.nodeId,
        each.membership,
        each.clientAddress || '?',
        each.peerAddress || '?',
        behind(each.matchIndex),
        each.nodeId === leader?.nodeId ? 'leads' : each.answers ? 'follows' : 'no answer',
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
