/** Ports for the nodes that benchmarks and tests start. */
import { once } from 'node:events';
import * as net from 'node:net';

/**
 * Below what systems give to outgoing connections (Linux: from 32768 on), so that no connection of another program
 * takes a port between this look and the node's start.
 */
const FIRST_PORT = 10_240;
const PORTS = 22_000;
/** Processes that run together have ids that differ by less than 300: each goes through ports of its own. */
const PORTS_PER_PROCESS = 64;
let portsTried = 0;

/** So many ports of 127.0.0.1 on which nobody listens at this moment. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) {
    if (portsTried === PORTS) throw new Error('no free port is left');
    const port = FIRST_PORT + ((process.pid * PORTS_PER_PROCESS + portsTried++) % PORTS);
    if ((await whyNotFree(port)) === undefined) ports.push(port);
  }
  return ports;
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
