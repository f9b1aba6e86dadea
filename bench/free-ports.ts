/**
 * Ports for the nodes that benchmarks and tests start. A process takes them from blocks that no other process has: it
 * listens on the first port of each of its blocks as long as it lives. So a port stays its own also while the node that
 * has it is down, and the system gives a block back however its process ends.
 */
import { once } from 'node:events';
import * as net from 'node:net';

/**
 * Below what systems give to outgoing connections (Linux: from 32768 on), so that no connection of another program
 * takes a port between this look and the node's start.
 */
const FIRST_PORT = 10_240;
/** `raftree cluster` takes ports up to 100 above the one that it is given. */
const PORTS_PER_BLOCK = 128;
const BLOCKS = 171;

/** Of this process, and not given to anybody yet. */
let left: number[] = [];
let blocksTried = 0;

/** So many ports of 127.0.0.1 on which nobody listens at this moment. `firstBlock`: where it looks first. */
export async function freePorts(count: number, firstBlock = process.pid): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    const port = left.shift();
    if (port === undefined) left = await claimBlock(firstBlock);
    else if ((await whyNotFree(port)) === undefined) ports.push(port);
  }
  return ports;
}

async function claimBlock(firstBlock: number): Promise<number[]> {
  while (blocksTried < BLOCKS) {
    const first = FIRST_PORT + ((firstBlock + blocksTried++) % BLOCKS) * PORTS_PER_BLOCK;
    const guard = net.createServer().unref();
    try {
      await once(guard.listen(first, '127.0.0.1'), 'listening');
      return Array.from({ length: PORTS_PER_BLOCK - 1 }, (_, i) => first + 1 + i);
    } catch {
      // Another process has it.
    }
  }
  throw new Error('no block of ports is left');
}

/** Why nobody can listen on a port of 127.0.0.1; undefined if one can. */
export async function whyNotFree(port: number): Promise<string | undefined> {
  const server = net.createServer();
  try {
    await once(server.listen(port, '127.0.0.1'), 'listening');
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  await once(server.close(), 'close');
  return undefined;
}
