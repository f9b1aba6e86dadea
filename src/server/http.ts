/** What the HTTP door needs of its node. */
import { RaftreeClient } from '../client/client.js';
import type { HttpDoorOptions } from '../doors/http/listener.js';
import type { ReadinessCheck } from '../doors/http/node-routes.js';
import { type Address, type Env, formatAddress, type Logger } from '../env/env.js';
import type { KvService } from '../kv/service.js';
import { Exposition } from '../metrics/exposition.js';
import type { ClusterSecrets } from '../protocol/handshake.js';
import type { OutboundOf } from '../protocol/messages.js';
import type { Admin } from './admin.js';
import { type NodeConfig, secretsIn } from './config.js';
import { kvLimitsOf } from './kv-group.js';
import { type LiveViewParts, liveSource } from './live-view.js';
import type { MemberView } from './member-view.js';
import type { MeasuredNode, NodeMetrics } from './metrics.js';
import type { TabletSet } from './tablet-set.js';
import { VERSION } from './version.js';

/** The folder of the page, in this package. */
const PAGE = '../../../page/';

/** What a door needs that passes requests on. */
export interface DoorNodeParts {
  readonly env: Env;
  readonly logger: Logger;
  readonly config: NodeConfig;
  /** Where this node listens for clients. */
  readonly client: Address;
  readonly security: ClusterSecrets;
  readonly membership: MemberView;
  /** Undefined before the birth of the cluster. */
  readonly service: () => { readonly kv: KvService; readonly admin: Admin } | undefined;
  readonly tablets: Pick<
    TabletSet,
    'all' | 'has' | 'leaderless' | 'leads' | 'leadsCluster' | 'meta' | 'ownerOf' | 'map'
  >;
}

export interface HttpNodeParts extends DoorNodeParts {
  readonly metrics: NodeMetrics;
  readonly maxConnections: number;
  readonly status: () => OutboundOf<'statusReply'>;
  readonly isClosing: () => boolean;
  readonly measured: () => MeasuredNode;
  readonly live: Pick<LiveViewParts, 'peers' | 'recent'>;
}

/** The client library that passes requests on is to be closed after the door. */
export function httpDoorOptions(parts: HttpNodeParts): {
  readonly options: HttpDoorOptions;
  readonly cluster: RaftreeClient;
} {
  const { env, logger, config, security, membership, metrics } = parts;
  const { http, limits } = config;
  if (!http) throw new TypeError('node.json has no http');
  const tokens = (file: string | undefined) => (file === undefined ? [] : secretsIn(file, env, logger));
  const cluster = passingClient(parts);
  const options: HttpDoorOptions = {
    env,
    logger,
    cluster,
    version: VERSION,
    limits: kvLimitsOf(config),
    maxConnections: parts.maxConnections,
    maxConnectionsPerAddress: limits.maxConnectionsPerAddress,
    maxBufferedBytes: http.maxBufferedBytes,
    clientTimeoutMs: http.clientTimeoutMs,
    security: {
      tokens: tokens(http.tokenFile),
      adminTokens: tokens(http.adminTokenFile),
      hasClusterSecret: security.secrets.length > 0,
      insecure: config.security.insecure,
    },
    service: parts.service,
    tablets: parts.tablets,
    removed: () => membership.removal,
    status: () => ({ ...parts.status(), clientAddress: membership.find(config.nodeId)?.client ?? '' }),
    isDraining: (node) => parts.tablets.meta?.state.nodes.get(node)?.isDraining ?? false,
    live: liveSource({
      ...{ env, membership, cluster, ...parts.live, tablets: parts.tablets },
      ...{ nodeId: config.nodeId, clusterId: config.clusterId, status: parts.status },
    }),
    page: (name) => env.fs.readFile(decodeURIComponent(new URL(PAGE + name, import.meta.url).pathname)),
    readiness: () => readiness(parts),
    metrics: () => {
      const exposition = new Exposition();
      metrics.write(exposition, parts.measured());
      return exposition;
    },
  };
  return { options, cluster };
}

/** The client library of a door, with which it passes requests on to the node that leads. */
export function passingClient({ env, config, security, membership, client }: DoorNodeParts): RaftreeClient {
  const [clusterSecret] = security.secrets;
  const own = formatAddress(reachable(client));
  const others = membership.members.filter(({ id }) => id !== config.nodeId).map((member) => member.client);
  return new RaftreeClient({
    env,
    // This node knows the leader, also when the others of node.json are no members any more.
    endpoints: [own, ...others],
    clusterId: config.clusterId,
    clusterSecret,
  });
}

function readiness({ service, tablets, membership, isClosing }: HttpNodeParts): readonly ReadinessCheck[] {
  const { leaderless, all, meta } = tablets;
  const groups = meta ? Math.max(all.length, 1) : all.length;
  const { removal } = membership;
  return [
    { name: 'running', problem: isClosing() ? 'this node is shutting down' : undefined },
    { name: 'cluster', problem: service() ? undefined : 'not all of its first members have met yet' },
    { name: 'member', problem: removal },
    { name: 'leader', problem: leaderProblem(leaderless, groups) },
    { name: 'disk', problem: all.some(({ group }) => group.replica.isDiskFull) ? DISK_PROBLEM : undefined },
  ];
}

const DISK_PROBLEM =
  'it is full, or too many files are open: no write is taken until that has passed; reads go on';

function leaderProblem(leaderless: readonly number[], tablets: number): string | undefined {
  if (tablets === 0 || (tablets === 1 && leaderless.length > 0)) return 'no leader is known';
  if (leaderless.length === 0) return undefined;
  const shown = leaderless.slice(0, 10).join(', ');
  return `no leader is known of tablet ${shown}${leaderless.length > 10 ? ' …' : ''}`;
}

/** An address on which a node listens for everybody is no address to connect to. */
function reachable({ host, port }: Address): Address {
  if (host === '0.0.0.0') return { host: '127.0.0.1', port };
  return { host: host === '::' ? '::1' : host, port };
}
