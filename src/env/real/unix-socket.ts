/** UNIX sockets with a name in a directory. The kernel knows whether a process listens, across all containers. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import type { BoundSocket } from '../env.js';
import { errorCode } from '../errors.js';

/** The system's address structure has room for at least 104 bytes. Node.js silently cuts longer names. */
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
        // A process without write permission for the directory must still be able to connect.
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
          // The listener's backlog is full, or the socket belongs to a user who does not let us connect.
          if (['EAGAIN', 'EACCES', 'EPERM'].includes(code)) resolve(true);
          // ECONNRESET: it stopped listening before it accepted.
          else if (['ECONNREFUSED', 'ECONNRESET', 'ENOENT', 'ENOTSOCK', 'EPROTOTYPE'].includes(code))
            resolve(false);
          else reject(error);
        });
      }),
  );
}

/** `/proc/self/fd/<directory>/<name>` is short however long the directory's path is. */
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
