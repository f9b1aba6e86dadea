/** A node in this process, until it is stopped. Only `start` loads this file: it needs the whole server. */
import { LineOutput } from '../env/real/line-output.js';
import { realEnv } from '../env/real/real-env.js';
import { readNodeConfig } from '../server/config.js';
import { createLogger } from '../server/logger.js';
import { Node } from '../server/node.js';
import type { NodeReady } from '../server/status.js';
import { onStopSignal } from './signals.js';

const STANDARD_OUTPUT = 1;

export interface StartOptions {
  readonly logFormat?: 'auto' | 'pretty' | 'json';
}

/** Resolves when the node was stopped. Throws what it failed with. */
export async function runNode(file: string | undefined, options: StartOptions): Promise<void> {
  const env = realEnv();
  const config = readNodeConfig(env, file ?? 'node.json');
  const stop = new Promise<undefined>((resolve) => {
    onStopSignal(() => resolve(undefined));
    // A node that `raftree cluster` started stops when the supervisor ends.
    process.once('disconnect', () => resolve(undefined));
  });
  let onFailure: (error: unknown) => void = () => {};
  const failure = new Promise<unknown>((resolve) => {
    onFailure = resolve;
  });
  const logger = await createLogger({
    level: config.log.level,
    format: options.logFormat ?? config.log.format,
    nodeId: config.nodeId,
  });
  if (config.security.clusterSecret !== undefined && env.fs.isReadableByOthers(file ?? 'node.json'))
    logger.warn({}, 'every user of this machine can read node.json with the cluster secret: chmod o-r it');
  // A closed or full standard output must not stop or block the node.
  const output = new LineOutput(STANDARD_OUTPUT);
  const node = await Node.start({
    env,
    config,
    logger,
    onReady: (ready) => output.write(`${readyLine(ready)}\n`),
    onFailure,
  });
  const cause = await Promise.race([stop, failure]);
  await node.close();
  if (process.connected) process.disconnect();
  if (cause !== undefined) throw cause;
}

function readyLine({ nodeId, role, leader, client, peer }: NodeReady): string {
  const follows = role === 'leader' ? '' : ` of node ${leader}`;
  return `node ${nodeId} is ready: ${role}${follows}, clients at ${client}, peers at ${peer}`;
}
