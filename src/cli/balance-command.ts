/** The balancer: balance on, off, status. */
import type { Command } from 'commander';
import type { BalanceStatus } from '../client/client.js';
import { type CommonOptions, withClient, withClientOptions } from './client-options.js';
import { examples } from './examples.js';
import { printLine, printTable } from './output.js';

const TIMEOUT_MS = 30_000;

export function addBalanceCommand(program: Command): void {
  const balance = program
    .command('balance')
    .description('the balancer, which moves replicas and leaders without being asked')
    .addHelpText('after', examples(['raftree balance status', 'raftree balance off']));
  for (const [name, action, description] of [
    ['status', 'show', 'show what it does, what it would do next, and why'],
    ['on', 'on', 'switch it on'],
    ['off', 'off', 'switch it off; nodes that drain are emptied nevertheless'],
  ] as const)
    withClientOptions(balance.command(name).description(description), TIMEOUT_MS)
      .addHelpText('after', examples([`raftree balance ${name}`, `raftree balance ${name} --json`]))
      .action(async (options: CommonOptions) => {
        const status = await withClient(options, (client) => client.balance(action));
        if (options.json) printLine(JSON.stringify(status));
        else print(status);
      });
}

function print({
  isOn,
  changed,
  plannerId,
  maxMoves,
  deadAfterMs,
  nodes,
  steps,
  furtherSteps,
}: BalanceStatus) {
  const state = `balancing is ${isOn ? 'on' : 'off'}${changed ? ' now' : ''}`;
  printLine(`${state}; node ${plannerId} plans; replicas that move at a time: at most ${maxMoves}`);
  for (const { nodeId, condition, silentMs } of nodes) {
    const seconds = (ms: number) => `${Math.floor(ms / 1000)} s`;
    if (condition === 'drains') printLine(`node ${nodeId} drains`);
    if (condition === 'full') printLine(`node ${nodeId} gets nothing: its disk is full`);
    if (condition === 'silent' || condition === 'dead')
      printLine(
        `node ${nodeId} has been silent for ${seconds(silentMs)}; ` +
          `its replicas are replaced after ${seconds(deadAfterMs)}${isOn ? '' : ', if balancing is on'}`,
      );
  }
  const isStuck = nodes.some(
    ({ condition, tablets }) => (condition === 'dead' || condition === 'drains') && tablets > 0,
  );
  if (steps.length === 0)
    printLine(isStuck ? 'no other node can take its replicas now' : 'there is nothing to do');
  else
    printTable(
      ['step', 'tablet', 'from', 'to', 'state', 'why'],
      steps.map(({ kind, tablet, from, to, state: of, reason }) => [
        ...[
          kind,
          kind === 'vote' ? 'map' : `${tablet}`,
          from === 0 ? '-' : `${from}`,
          to === 0 ? '-' : `${to}`,
        ],
        ...[of === 'underWay' ? 'under way' : isOn || reason === 'drain' ? 'next' : 'if on'],
        why(kind, reason, from, to),
      ]),
    );
  if (furtherSteps > 0) printLine(`and ${furtherSteps} more`);
}

function why(kind: string, reason: string, from: number, to: number): string {
  const isVote = kind === 'vote';
  switch (reason) {
    case 'repair':
      if (from !== 0) return `node ${from} is dead`;
      return isVote ? 'the map has too few voters' : 'the tablet has too few replicas';
    case 'surplus':
      return 'the tablet has too many replicas';
    case 'drain':
      return `node ${from} drains`;
    case 'zones and hosts':
      return `${isVote ? 'voters' : 'replicas'} share a zone or a host`;
    case 'replicas':
      return `node ${from} has more replicas than node ${to}`;
    case 'bytes':
      return `node ${from} has more bytes than node ${to}`;
    case 'leaders':
      return `node ${from} leads more tablets than node ${to}`;
    case 'load':
      return `node ${from} is asked more than node ${to}`;
  }
  return reason;
}
