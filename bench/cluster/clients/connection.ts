/** What the load generator asks of any store. Several requests may be under way on one connection. */

export type ReadLevel = 'linearizable' | 'lease' | 'follower' | 'stale';

export interface Entry {
  readonly key: Buffer;
  readonly value: Buffer;
}

export interface Connection {
  put(key: Buffer, value: Buffer): Promise<void>;
  /** The length of the value, or -1 where there is none. */
  get(key: Buffer, level: ReadLevel): Promise<number>;
  /** The number of entries found, at most `limit`, from a key on. */
  scan(from: Buffer, limit: number): Promise<number>;
  putMany(entries: readonly Entry[]): Promise<void>;
  close(): Promise<void>;
}

/** How the load process reaches a store. */
export interface Target {
  readonly kind: 'raftree' | 'etcd' | 'redis';
  /** `host:port`, the leader first where one leads. */
  readonly endpoints: readonly string[];
  /** dist/src/cli/main.js of the build that is measured, whose client is used: other builds may speak otherwise. */
  readonly main?: string;
}

/** A request that has no answer after this time is an error. */
export const REQUEST_TIMEOUT_MS = 30_000;
