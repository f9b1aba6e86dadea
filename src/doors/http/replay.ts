/** Serves the page of a recorded run: its files, and the run. Only on loopback, only to read, and nothing else. */
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { Address } from '../../env/env.js';
import { isAddressOrLocalhost } from './access.js';
import { PAGE_HEADERS } from './page.js';

const FILES: Readonly<Record<string, readonly [name: string, type: string]>> = {
  '/': ['replay.html', 'text/html'],
  '/page.css': ['page.css', 'text/css'],
  '/draw.js': ['draw.js', 'text/javascript'],
  '/run.js': ['run.js', 'text/javascript'],
  '/replay.js': ['replay.js', 'text/javascript'],
};

export interface ReplayParts {
  /** The bytes of a file of the page. */
  readonly page: (name: string) => Uint8Array;
  /** Sends the run, and ends the answer. */
  readonly sendRun: (answer: ServerResponse) => void;
}

/** Rejects with the system's code (`EADDRINUSE` …). */
export function listenForReplay(
  parts: ReplayParts,
  { host, port }: Address,
): Promise<{ readonly port: number; close(): void }> {
  const server = createServer((request, response) => answer(parts, request, response));
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(port, host, () => {
      const bound = server.address();
      resolve({
        port: typeof bound === 'object' && bound ? bound.port : port,
        close: () => {
          server.close();
          server.closeAllConnections();
        },
      });
    });
  });
}

function answer({ page, sendRun }: ReplayParts, request: IncomingMessage, response: ServerResponse): void {
  const { method, url = '', headers } = request;
  const refuse = (status: number, text: string) => {
    response.writeHead(status, { 'content-type': 'text/plain; charset=utf-8' }).end(`${text}\n`);
  };
  const [name, type] = (Object.hasOwn(FILES, url) ? FILES[url] : undefined) ?? [];
  const send = (contentType: string) =>
    response.writeHead(200, {
      ...PAGE_HEADERS,
      ...{ 'x-content-type-options': 'nosniff', 'cache-control': 'no-store' },
      'content-type': contentType,
    });
  if (method !== 'GET') refuse(405, 'a recorded run is only read: GET');
  // A page from elsewhere whose host name was made to point here must not read the run.
  else if (!isAddressOrLocalhost(headers.host ?? '')) refuse(403, 'ask for it by 127.0.0.1 or localhost');
  else if (url === '/run.jsonl') sendRun(send('application/x-ndjson'));
  else if (name === undefined) refuse(404, 'there is nothing at this path; the page is at /');
  else send(`${type}; charset=utf-8`).end(page(name));
}
