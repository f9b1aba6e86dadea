/** top: the nodes at work, as a table that is drawn anew each second. */
import type { Command } from 'commander';
import type { RaftreeClient } from '../../client/client.js';
import type { Timer } from '../../env/env.js';
import { realEnv } from '../../env/real/real-env.js';
import { Screen } from '../../env/real/screen.js';
import { type CommonOptions, withClient, withClientOptions } from '../client-options.js';
import { examples } from '../examples.js';
import { printLine } from '../output.js';
import { onStopSignal } from '../signals.js';
import { MAX_TIMES, Poll } from './poll.js';
import { linesOf, rowsOf } from './rows.js';

interface TopOptions extends CommonOptions {
  readonly once?: true;
}

const EVERY_MS = 1000;
/** Where the output is no terminal. */
const USUAL_COLUMNS = 80;

export function addTopCommand(program: Command): void {
  withClientOptions(program.command('top').description('show the nodes at work; q or Ctrl-C ends it'), 5000)
    .option('--once', 'print the table once, with the rates of one second')
    .addHelpText(
      'after',
      examples(
        ['raftree top', 'raftree top --endpoints host:7001,host:7002', 'raftree top --once --json'],
        `read/s, write/s: requests that the node carried out. Reads of level stale and follower are any node's, all else
is the leader's. behind: entries that it does not hold yet. to apply: committed entries that it has not applied.
p50, p99: how long the last ${MAX_TIMES} answers of the node took, seen from here. mem, cpu: of its process.
commit, apply, sync: p50/p99 of the node's last seconds, of commands that it proposed, of entries that its state
machine applied, of durable writes of its log. disk/s: bytes that log and storage engine wrote. free: on its disk.
loop: how late a timer of its event loop ran at most. A narrow terminal shows two tables.
With --json, a line each second.`,
      ),
    )
    .action((options: TopOptions) =>
      withClient(options, (client) => (options.once ? printOnce(client, options) : watch(client, options))),
    );
}

async function printOnce(client: RaftreeClient, options: TopOptions): Promise<void> {
  const { clock, timers } = realEnv();
  const poll = new Poll(client, options.endpoints, clock);
  await poll.round();
  await new Promise<void>((resolve) => timers.after(EVERY_MS, resolve));
  printLine(shown(rowsOf(await poll.round()), options));
}

/** Until it is stopped. */
async function watch(client: RaftreeClient, options: TopOptions): Promise<void> {
  const { clock, timers } = realEnv();
  const poll = new Poll(client, options.endpoints, clock);
  // Fails before the screen is taken.
  let nodes = await poll.round();
  let stop: () => void = () => {};
  let isStopped = false;
  const stopped = new Promise<void>((resolve) => {
    stop = () => {
      isStopped = true;
      resolve();
    };
  });
  const unheard = onStopSignal(stop);
  let timer: Timer | undefined;
  const second = () =>
    new Promise<void>((resolve) => {
      timer = timers.after(EVERY_MS, resolve);
    });
  const screen = process.stdout.isTTY && !options.json ? new Screen(stop) : undefined;
  try {
    while (!isStopped) {
      const rows = rowsOf(nodes);
      if (screen) screen.draw(linesOf(rows, screen.columns));
      else printLine(shown(rows, options));
      const next = await Promise.race([stopped, Promise.all([poll.round(), second()])]);
      if (next) [nodes] = next;
    }
  } finally {
    timer?.cancel();
    screen?.close();
    unheard();
  }
}

function shown(rows: ReturnType<typeof rowsOf>, { json }: TopOptions): string {
  return json ? JSON.stringify(rows) : `${linesOf(rows, USUAL_COLUMNS).join('\n')}\n`;
}
