/** A node with an HTTP door in this process, on a real disk and real sockets; and requests byte by byte. */
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as path from 'node:path';
import { freePorts } from '../../bench/free-ports.js';
import { type Env, silentLogger } from '../../src/env/env.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { type NodeConfigInput, parseNodeConfig } from '../../src/server/config.js';
import { Node } from '../../src/server/node.js';
import { temporaryDirectory } from './process-cluster.js';

export interface HttpNode {
  readonly node: Node;
  readonly port: number;
  readonly directory: string;
  /** `http://127.0.0.1:PORT` */
  readonly url: string;
  close(): Promise<void>;
}

/** Resolves when the node leads its cluster of one. `files`: written into the folder first. */
export async function startHttpNode(
  http: Partial<NonNullable<NodeConfigInput['http']>> = {},
  more: Partial<NodeConfigInput> = {},
  files: Readonly<Record<string, string>> = {},
  env: Env = realEnv(),
): Promise<HttpNode> {
  const directory = temporaryDirectory();
  for (const [name, text] of Object.entries(files))
    fs.writeFileSync(path.join(directory, name), text, { mode: 0o600 });
  const [client, peer] = await freePorts(2);
  const config = parseNodeConfig(
    {
      ...{ clusterId: 'http', nodeId: 1, dataDirectory: 'data' },
      nodes: [{ id: 1, client: `127.0.0.1:${client}`, peer: `127.0.0.1:${peer}` }],
      raft: { heartbeatMs: 50, electionTimeoutMinMs: 150, electionTimeoutMaxMs: 300 },
      storage: { snapshotChunkBytes: 512 * 1024, raftSegmentBytes: 1024 * 1024 },
      http: { listen: '127.0.0.1:0', ...http },
      ...more,
    } satisfies NodeConfigInput,
    'test',
    directory,
  );
  let ready: () => void = () => {};
  const isReady = new Promise<void>((resolve) => {
    ready = resolve;
  });
  const node = await Node.start({ env, config, logger: silentLogger, onReady: () => ready() });
  await isReady;
  const port = node.addresses.http?.port ?? 0;
  return {
    ...{ node, port, directory, url: `http://127.0.0.1:${port}` },
    close: async () => {
      await node.close();
      fs.rmSync(directory, { recursive: true, force: true });
    },
  };
}

/** A connection on which a test writes what it likes. */
export class RawConnection {
  readonly socket: net.Socket;
  /** Resolves with all that came when the connection is closed, by whomever. */
  readonly closed: Promise<string>;
  #received = '';
  #looked: () => void = () => {};

  constructor(port: number, options: { readonly reads?: boolean } = {}) {
    this.socket = net.connect(port, '127.0.0.1');
    this.socket.on('error', () => {});
    if (options.reads ?? true)
      this.socket.on('data', (chunk: Buffer) => {
        this.#received += chunk.toString('latin1');
        this.#looked();
      });
    else this.socket.pause();
    this.closed = new Promise((resolve) => {
      this.socket.once('close', () => {
        this.#looked();
        resolve(this.#received);
      });
    });
  }

  write(bytes: string | Buffer): this {
    this.socket.write(bytes);
    return this;
  }

  /** Resolves with all that came so far when it matches, or when the connection is closed. */
  async until(pattern: RegExp): Promise<string> {
    while (!pattern.test(this.#received) && !this.socket.destroyed) {
      await new Promise<void>((resolve) => {
        this.#looked = resolve;
      });
    }
    return this.#received;
  }
}

/** Sends these bytes; resolves with the answer, when the other side has closed the connection. */
export function exchange(port: number, bytes: string | Buffer): Promise<string> {
  const connection = new RawConnection(port);
  connection.write(bytes);
  return connection.closed;
}

/** A request whose target is sent as it is. */
export function request(
  port: number,
  line: string,
  headers: readonly string[] = [],
  body = '',
): Promise<string> {
  const all = ['host: localhost', 'connection: close', ...headers];
  return exchange(port, `${line} HTTP/1.1\r\n${all.join('\r\n')}\r\n\r\n${body}`);
}

export function statusOf(answer: string): number {
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1] ?? 0);
}

export interface Problem {
  readonly status: number;
  readonly detail: string;
  readonly code: string;
  readonly outcome: string;
}

export function problemIn(answer: string): Problem {
  return JSON.parse(answer.slice(answer.indexOf('\r\n\r\n') + 4)) as Problem;
}
