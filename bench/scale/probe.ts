/**
 * Preloaded (`node --import`) into a real node of `bench:scale`: it counts what the node does, so that the cost model
 * (cost-model.ts) can be calibrated, and tells it when asked. Counting costs well below a microsecond each.
 */
import * as net from 'node:net';
import { Readable } from 'node:stream';
import type { KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { Peers } from '../../src/server/peers.js';
import { Store } from '../../src/store/store.js';

/** Since the process began. */
export interface Counts {
  /** Chunks that came from sockets, and writes to them. */
  readonly frames: number;
  /** Messages of replicas, sent and received. */
  readonly messages: number;
  /** In the logs of all groups. */
  readonly entries: number;
  /** Of the Raft log. */
  readonly syncs: number;
}

type AnyStore = Store<KvStateMachine, unknown>;

let frames = 0;
let messages = 0;
let store: AnyStore | undefined;

const { write } = net.Socket.prototype;
net.Socket.prototype.write = function (this: net.Socket, ...args: Parameters<typeof write>) {
  frames++;
  return write.apply(this, args);
} as typeof write;
const { push } = Readable.prototype;
net.Socket.prototype.push = function (this: net.Socket, ...args: Parameters<typeof push>) {
  frames++;
  return push.apply(this, args);
};

const { send } = Peers.prototype;
Peers.prototype.send = function (...args: Parameters<typeof send>) {
  messages++;
  send.apply(this, args);
};
const { receive } = Store.prototype;
Store.prototype.receive = function (this: AnyStore, ...args: Parameters<typeof receive>) {
  messages++;
  store = this;
  receive.apply(this, args);
};
process.on('message', () => {
  const entries = (store?.groups ?? []).reduce((sum, { replica }) => sum + replica.lastIndex, 0);
  const counts: Counts = { frames, messages, entries, syncs: store?.logSyncs ?? 0 };
  process.send?.(counts);
});
// The benchmark's questions do not keep a node alive that has nothing else to do.
process.channel?.unref();
