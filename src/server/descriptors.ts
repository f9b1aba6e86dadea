/**
 * File descriptors of the process, divided at start. Connections must never take descriptors that files need: a log or
 * a table that cannot be opened stops writes. Clients get the rest, at most `limits.maxConnections`.
 */
import { RaftreeError } from '../env/errors.js';

export interface DescriptorShares {
  readonly clients: number;
  /** Connections of the HTTP door. */
  readonly http: number;
  /** Connections of the RESP door. */
  readonly resp: number;
  /** Places above `clients` for connections from the same machine. */
  readonly clientsFromLoopback: number;
  /** Connections that other nodes have dialled. */
  readonly peers: number;
  readonly tables: number;
}

const CLIENTS_FROM_LOOPBACK = 16;
const MAX_PEERS = 256;
const MAX_TABLES = 512;
/** Logs, directories, snapshots, connections that this node dials, the runtime's own. */
const OTHERS = 64;
const MIN_CLIENTS = 16;

/** Throws `TOO_FEW_DESCRIPTORS` if hardly anything is left to clients. */
export function shareDescriptors(
  maxConnections: number,
  maxDescriptors: number,
  maxHttpConnections = 0,
  maxRespConnections = 0,
): DescriptorShares {
  const tables = Math.min(MAX_TABLES, Math.floor(maxDescriptors / 4));
  const peers = Math.min(MAX_PEERS, Math.floor(maxDescriptors / 8));
  const left = maxDescriptors - tables - peers - OTHERS - CLIENTS_FROM_LOOPBACK;
  if (left < MIN_CLIENTS) {
    throw new RaftreeError(
      'TOO_FEW_DESCRIPTORS',
      `this process may open ${maxDescriptors} files and sockets, which are too few for a node: raise the limit (ulimit -n), ` +
        'to 1024 at least, better to 8192',
    );
  }
  // Where there are few, HTTP and RESP get at most a quarter each.
  const http = Math.min(maxHttpConnections, Math.floor(left / 4));
  const resp = Math.min(maxRespConnections, Math.floor(left / 4));
  return {
    clients: Math.min(maxConnections, left - http - resp),
    http,
    resp,
    clientsFromLoopback: CLIENTS_FROM_LOOPBACK,
    peers,
    tables,
  };
}
