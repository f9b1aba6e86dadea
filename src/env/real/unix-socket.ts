/** UNIX sockets with a name in a directory: whether somebody listens there, the system knows for all its containers. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import type { BoundSocket } from '../env.js';
import { errorCode } from '../errors.js';

/** The system's structure has room for 104 bytes or more. Node.js cuts what is longer, in silence. */
const MAX_NAME_BYTES = 100;

export async function bindSocket(socketPath: string): Promise<BoundSocket> {
  const server = net.createServer((socket) => {
    socket.on('error', () => {});
    socket.destroy();
  });
  await withShortName(
    socketPath,
    (name) =>
      new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        // Who may not write to the directory must not be kept from asking.
        server.listen({ path: name, exclusive: true, writableAll: true }, resolve);
      }),
  );
  server.on('error', () => {});
  server.unref();
  return {
    close() {
      server.close();
    },
  };
}

export async function isListening(socketPath: string): Promise<boolean> {
  if (fs.lstatSync(socketPath, { throwIfNoEntry: false })?.isSocket() !== true) return false;
  return withShortName(
    socketPath,
    (name) =>
      new Promise<boolean>((resolve, reject) => {
        const socket = net.connect(name);
        socket.once('connect', () => {
          socket.destroy();
          resolve(true);
        });
        socket.once('error', (error) => {
          const code = errorCode(error) ?? '';
          // More wait than a listener has room for; or it belongs to somebody who does not let us ask.
          if (['EAGAIN', 'EACCES', 'EPERM'].includes(code)) resolve(true);
          // Reset: it stopped listening before it had accepted.
          else if (['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'ENOTSOCK', 'EPROTOTYPE'].includes(code))
            resolve(false);
          else reject(error);
        });
      }),
  );
}

/** Through a descriptor of the directory a name is short, however deep the directory lies. */
async function withShortName<T>(socketPath: string, use: (name: string) => Promise<T>): Promise<T> {
  if (Buffer.byteLength(socketPath) <= MAX_NAME_BYTES) return use(socketPath);
  const directory = fs.openSync(path.dirname(socketPath), fs.constants.O_RDONLY);
  try {
    const alias = `/proc/self/fd/${directory}`;
    if (!fs.existsSync(alias)) {
      const error: NodeJS.ErrnoException = new Error(
        `ENAMETOOLONG: no socket can have the name ${socketPath}`,
      );
      error.code = 'ENAMETOOLONG';
      throw error;
    }
    return await use(`${alias}/${path.basename(socketPath)}`);
  } finally {
    fs.closeSync(directory);
  }
}
