/** A TCP connection to `host:port`. */
import { once } from 'node:events';
import * as net from 'node:net';
import { parseAddress } from '../../../src/env/env.js';

export async function openSocket(endpoint: string): Promise<net.Socket> {
  const { host, port } = parseAddress(endpoint);
  const socket = net.connect({ host, port, noDelay: true });
  await once(socket, 'connect');
  return socket;
}

export async function closeSocket(socket: net.Socket): Promise<void> {
  if (socket.destroyed) return;
  const closed = once(socket, 'close');
  socket.destroy();
  await closed;
}
