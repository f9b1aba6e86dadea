/**
 * etcd's KV service, API v3, over one gRPC connection.
 * https://etcd.io/docs/v3.4/dev-guide/api_reference_v3/
 */
import type { Connection, Entry, ReadLevel, Target } from './connection.js';
import { GrpcChannel } from './grpc-channel.js';
import { bytesField, forEachBytes, numberField } from './protobuf.js';

const PUT = '/etcdserverpb.KV/Put';
const RANGE = '/etcdserverpb.KV/Range';
const TXN = '/etcdserverpb.KV/Txn';

/** Fields of the messages. */
const KEY = 1;
const VALUE = 2;
const RANGE_END = 2;
const LIMIT = 3;
const SERIALIZABLE = 7;
const KVS = 2;
const KV_VALUE = 5;
const SUCCESS = 2;
const REQUEST_PUT = 2;

/** As the end of a range: no end. */
const NO_END = Buffer.from([0]);

function putRequest(key: Buffer, value: Buffer): Buffer {
  return Buffer.concat([...bytesField(KEY, key), ...bytesField(VALUE, value)]);
}

export class EtcdConnection implements Connection {
  readonly #leader: GrpcChannel;
  /** For reads of any node. */
  readonly #readable: GrpcChannel;

  private constructor(leader: GrpcChannel, readable: GrpcChannel) {
    this.#leader = leader;
    this.#readable = readable;
  }

  static async open({ endpoints }: Target, number: number): Promise<EtcdConnection> {
    const leader = await GrpcChannel.open(endpoints[0] ?? '');
    const other = number % endpoints.length;
    return new EtcdConnection(leader, other === 0 ? leader : await GrpcChannel.open(endpoints[other] ?? ''));
  }

  async put(key: Buffer, value: Buffer): Promise<void> {
    await this.#leader.call(PUT, putRequest(key, value));
  }

  async get(key: Buffer, level: ReadLevel): Promise<number> {
    const channel = level === 'follower' || level === 'stale' ? this.#readable : this.#leader;
    const request = bytesField(KEY, key);
    if (level === 'stale') request.push(numberField(SERIALIZABLE, 1));
    const { length } = found(await channel.call(RANGE, Buffer.concat(request)));
    return length;
  }

  async scan(from: Buffer, limit: number): Promise<number> {
    const request = [...bytesField(KEY, from), ...bytesField(RANGE_END, NO_END), numberField(LIMIT, limit)];
    return found(await this.#leader.call(RANGE, Buffer.concat(request))).count;
  }

  async putMany(entries: readonly Entry[]): Promise<void> {
    const puts = entries.flatMap(({ key, value }) =>
      bytesField(SUCCESS, Buffer.concat(bytesField(REQUEST_PUT, putRequest(key, value)))),
    );
    await this.#leader.call(TXN, Buffer.concat(puts));
  }

  async close(): Promise<void> {
    await Promise.all([this.#leader.close(), this.#readable.close()]);
  }
}

/** How many entries an answer has, and the length of the last one's value; -1 where there is none. */
function found(response: Buffer): { readonly count: number; readonly length: number } {
  let count = 0;
  let length = -1;
  forEachBytes(response, 0, response.length, (field, from, to) => {
    if (field !== KVS) return;
    count++;
    // An empty value is left out.
    length = 0;
    forEachBytes(response, from, to, (inner, start, end) => {
      if (inner === KV_VALUE) length = end - start;
    });
  });
  return { count, length };
}
