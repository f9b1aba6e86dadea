/** Connections to a store of any kind. */
import type { Connection, Target } from './connection.js';
import { EtcdConnection } from './etcd-connection.js';
import { RaftreeConnection } from './raftree-connection.js';
import { RedisConnection } from './redis-connection.js';

/** `number`: of the connections, from 0 on; `window`: the most requests that will be under way on it. */
export function connect(target: Target, number: number, window: number): Promise<Connection> {
  switch (target.kind) {
    case 'raftree':
      return RaftreeConnection.open(target, number, window);
    case 'etcd':
      return EtcdConnection.open(target, number);
    case 'redis':
      return RedisConnection.open(target);
  }
}
