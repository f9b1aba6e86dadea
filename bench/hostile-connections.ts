/**
 * What thousands of hostile connections do to one node, a real process: its resident memory before, during and after,
 * and what another client meets meanwhile. Two kinds: frames of 10 MiB that are never finished, and requests for large
 * answers that nobody reads.
 *
 *     node dist/bench/hostile-connections.js --connections 4096 --seconds 20 [--main OTHER/dist/src/cli/main.js]
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import * as fs from 'node:fs';
import * as net from 'node:net';
import * as os from 'node:os';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';
import { RaftreeClient } from '../src/client/client.js';
import { encodeMessage } from '../src/protocol/codec.js';
import type { OutboundMessage } from '../src/protocol/messages.js';
import { freePorts } from './free-ports.js';

const MIB = 1024 * 1024;
const values = new Command()
  .option('--connections <n>', 'hostile connections', '4096')
  .option('--seconds <n>', 'for which they are held', '20')
  .option(
    '--main <file>',
    'of the build to measure',
    fileURLToPath(new URL('../src/cli/main.js', import.meta.url)),
  )
  .parse()
  .opts<{ connections: string; seconds: string; main: string }>();
const connections = Number(values.connections);
const seconds = Number(values.seconds);

function message(value: OutboundMessage): Buffer {
  const { type, body } = encodeMessage(value);
  const bytes = Buffer.concat(body);
  const head = Buffer.alloc(8);
  head.writeUInt32BE(type, 0);
  head.writeUInt32BE(bytes.length, 4);
  return Buffer.concat([head, bytes]);
}

const hello = message({
  type: 'hello',
  protocolVersion: 2,
  role: 'client',
  clusterId: '',
  nodeId: 0,
  storeId: '',
});

/** A write of 10 MiB that is sent but for its last byte, as far as the node takes it. */
function unfinishedFrame(socket: net.Socket): void {
  const head = Buffer.alloc(8);
  head.writeUInt32BE(16, 0);
  head.writeUInt32BE(10 * MIB, 4);
  socket.write(Buffer.concat([hello, head]));
  const part = Buffer.alloc(64 * 1024);
  let left = 10 * MIB - 1;
  const more = () => {
    while (left > 0 && !socket.destroyed) {
      const bytes = part.subarray(0, Math.min(part.length, left));
      left -= bytes.length;
      if (!socket.write(bytes)) return;
    }
  };
  socket.on('drain', more);
  more();
}

/** Requests for 100 MiB of answers. Nothing is read. */
function unreadAnswers(socket: net.Socket): void {
  socket.pause();
  const requests = Array.from({ length: 100 }, (_, i) =>
    message({
      type: 'get',
      tablet: 0,
      requestId: i + 1,
      consistency: 'stale',
      key: Buffer.from(`large ${i % 8}`),
      omitValue: false,
    }),
  );
  socket.write(Buffer.concat([hello, ...requests]));
}

function residentMiB(pid: number): number {
  const status = fs.readFileSync(`/proc/${pid}/status`, 'utf8');
  return Math.round(Number(/VmRSS:\s+(\d+)/.exec(status)?.[1]) / 1024);
}

const sleep = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

async function measure(name: string, attack: (socket: net.Socket) => void): Promise<void> {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'raftree-hostile-'));
  const [client = 0, peer = 0] = await freePorts(2);
  const config = {
    clusterId: 'hostile',
    nodeId: 1,
    dataDirectory: 'data',
    nodes: [{ id: 1, client: `127.0.0.1:${client}`, peer: `127.0.0.1:${peer}` }],
    limits: { maxConnections: connections + 16 },
  };
  fs.writeFileSync(`${directory}/node.json`, JSON.stringify(config));
  const log = fs.openSync(`${directory}/log`, 'w');
  const node = spawn(process.execPath, [values.main, 'start', `${directory}/node.json`], {
    stdio: ['ignore', log, log],
  });
  const pid = node.pid ?? 0;
  const endpoints = [`127.0.0.1:${client}`];
  const good = new RaftreeClient({ endpoints, timeoutMs: 60_000 });
  const goodWithLarge = new RaftreeClient({ endpoints, timeoutMs: 60_000 });
  const sockets: net.Socket[] = [];
  try {
    for (let i = 0; i < 8; i++) await good.put(`large ${i}`, Buffer.alloc(MIB));
    const before = residentMiB(pid);
    for (let i = 0; i < connections; i++) {
      const socket = net.connect(client, '127.0.0.1', () => attack(socket));
      socket.on('error', () => {});
      sockets.push(socket);
      if (i % 64 === 63) await sleep(5);
    }
    let most = 0;
    const smallMs: number[] = [];
    const largeMs: number[] = [];
    let failed = 0;
    const endMs = performance.now() + seconds * 1000;
    const work = async (on: RaftreeClient, bytes: number, times: number[]) => {
      while (performance.now() < endMs && node.exitCode === null && node.signalCode === null) {
        const startMs = performance.now();
        try {
          await on.put(`good ${bytes}`, Buffer.alloc(bytes), { timeoutMs: 20_000 });
          await on.get(`good ${bytes}`);
          times.push(performance.now() - startMs);
        } catch {
          failed++;
        }
        most = Math.max(most, residentMiB(pid));
        await sleep(50);
      }
    };
    await Promise.all([work(good, 100, smallMs), work(goodWithLarge, MIB, largeMs)]);
    const open = sockets.filter((socket) => !socket.destroyed).length;
    for (const socket of sockets) socket.destroy();
    await sleep(5000);
    const after = node.exitCode === null && node.signalCode === null ? residentMiB(pid) : 'ended';
    const show = (times: number[]) => {
      const sorted = times.toSorted((a, b) => a - b);
      const at = (part: number) => (sorted[Math.floor((sorted.length - 1) * part)] ?? Number.NaN).toFixed(0);
      return `p50 ${at(0.5)} ms, p99 ${at(0.99)} ms of ${sorted.length}`;
    };
    console.log(
      `${name}: ${connections} connections, ${open} still open at the end\n` +
        `  resident MiB: ${before} before, ${most} at most, ${after} after\n` +
        `  others meanwhile, put and get of 100 B: ${show(smallMs)}; of 1 MiB: ${show(largeMs)}; failed: ${failed}`,
    );
    const lines = fs.readFileSync(`${directory}/log`, 'utf8').split('\n').length;
    console.log(`  lines logged: ${lines}`);
  } finally {
    for (const socket of sockets) socket.destroy();
    await Promise.all([good.close(), goodWithLarge.close()]);
    node.kill('SIGKILL');
    await once(node, 'close').catch(() => {});
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

await measure('unfinished frames of 10 MiB', unfinishedFrame);
await measure('answers that nobody reads', unreadAnswers);
