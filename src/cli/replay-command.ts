/** replay: a page that shows a recorded run of the simulator, moment by moment. */
import * as fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { errorCode, errorMessage } from '../env/errors.js';
import { parseCount } from './client-options.js';
import { examples } from './examples.js';
import { UsageError } from './exit-codes.js';
import { onStopSignal } from './signals.js';

const PAGE = '../../../page/';
/** What a browser holds as one text. */
const MAX_RUN_BYTES = 256 * 1024 * 1024;
const FIRST_BYTES = 4096;

export function addReplayCommand(program: Command): void {
  program
    .command('replay <run>')
    .description('a page that shows a recorded run of the simulator; Ctrl-C ends it')
    .option('--port <port>', 'where the page is, on 127.0.0.1 (default: a free port)', parseCount)
    .addHelpText(
      'after',
      examples(['npm run sim -- --seed 42 --trace run.jsonl', 'raftree replay run.jsonl']),
    )
    .action((run: string, { port }: { port?: number }) => replay(run, port));
}

async function replay(run: string, port = 0): Promise<void> {
  checkRun(run);
  if (port > 65_535) throw new UsageError(`--port: expected 1 to 65535, got ${port}`);
  const { listenForReplay } = await import('../doors/http/replay.js');
  const door = await listenForReplay(
    {
      page: (name) => fs.readFileSync(fileURLToPath(new URL(PAGE + name, import.meta.url))),
      sendRun: (answer) => {
        fs.createReadStream(run)
          .on('error', () => answer.destroy())
          .pipe(answer);
      },
    },
    { host: '127.0.0.1', port },
  ).catch((error: unknown) => {
    throw new UsageError(
      `--port: cannot listen on 127.0.0.1:${port}: ${errorCode(error) ?? errorMessage(error)}`,
    );
  });
  process.stdout.write(`the run is at http://127.0.0.1:${door.port}/ until Ctrl-C\n`);
  await new Promise<void>((resolve) => onStopSignal(resolve));
  door.close();
}

/** Throws `UsageError` if this is no recorded run. */
function checkRun(run: string): void {
  let first: string;
  try {
    const file = fs.openSync(run, 'r');
    try {
      const { size } = fs.fstatSync(file);
      if (size > MAX_RUN_BYTES)
        throw new UsageError(`${run} has more than ${MAX_RUN_BYTES} bytes: record a shorter run`);
      const bytes = Buffer.alloc(FIRST_BYTES);
      first = bytes.toString('utf8', 0, fs.readSync(file, bytes, 0, FIRST_BYTES, 0));
    } finally {
      fs.closeSync(file);
    }
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${run} cannot be read: ${errorMessage(error)}`);
  }
  if (!/^\{"t":[\d.]+,"who":"/.test(first))
    throw new UsageError(
      `${run} is no recorded run; make one with "npm run sim -- --seed 42 --trace ${run}"`,
    );
}
