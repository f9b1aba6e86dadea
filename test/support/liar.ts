/** A program that speaks as a node does, and says what it likes. */
import type { Env } from '../../src/env/env.js';
import { connectChannel } from '../../src/net/connect.js';
import { ONE_TABLET } from '../../src/placement/placement.js';
import type { ReplicaMessage } from '../../src/replica/snapshot-messages.js';
import { type PeerAnnouncement, PeerConnection } from '../../src/server/peer-connection.js';
import { toProtocol } from '../../src/server/raft-messages.js';
import { SECRET } from '../../src/sim/cluster/secrets.js';
import type { SimulatedCluster } from '../../src/sim/cluster/simulated-cluster.js';

export interface Claim {
  readonly nodeId: number;
  readonly storeId?: string;
  /** Without the secret it is refused where there is one. */
  readonly hasSecret?: boolean;
  /** It says that a newer configuration than anyone's has it as a member with its data folder. */
  readonly isMember?: boolean;
}

type Run = Pick<PeerAnnouncement, 'starts' | 'run'>;
const UNHEARD: Run = { starts: 1, run: 'of a liar' };

export class Liar {
  readonly heard: ReplicaMessage[] = [];
  readonly #connection: PeerConnection;

  private constructor(connection: PeerConnection) {
    this.#connection = connection;
  }

  /**
   * Connects to a node of a cluster that is born, from a machine of its own, and waits until it is let in or refused.
   */
  static async meet(cluster: SimulatedCluster, to: number, claim: Claim): Promise<Liar> {
    const host = `liar${claim.nodeId}-${to}-${cluster.world.scheduler.nowMs()}`;
    const { env } = cluster.host(host);
    const hears = (heard: ReplicaMessage) => liar.heard.push(heard);
    const run = claim.storeId === undefined ? UNHEARD : await Liar.#overhear(cluster, claim);
    const liar = new Liar(await cluster.run(connected(cluster, env, to, claim, run, hears)));
    await cluster.world.scheduler.runFor(200);
    return liar;
  }

  /** Which run of its folder a node tells everybody who knows the secret. */
  static async #overhear(cluster: SimulatedCluster, { nodeId, hasSecret }: Claim): Promise<Run> {
    const { env } = cluster.host(`ear${nodeId}-${cluster.world.scheduler.nowMs()}`);
    const claim = { nodeId: 99, hasSecret: hasSecret ?? false };
    const connection = await cluster.run(connected(cluster, env, nodeId, claim, UNHEARD, () => {}));
    await cluster.world.scheduler.runFor(200);
    const { starts = 0, run = '' } = connection.said ?? {};
    connection.channel.abort();
    return { starts, run };
  }

  /** What the other node has announced. */
  get told(): PeerAnnouncement | undefined {
    return this.#connection.said;
  }

  /** What it says counts, if that depends on who it says it is. */
  get isIn(): boolean {
    return this.#connection.channel.isOpen && this.#connection.isOfSameBirth;
  }

  say(...messages: readonly ReplicaMessage[]): void {
    for (const message of messages) this.#connection.channel.write(toProtocol(1, message));
  }

  leave(): void {
    this.#connection.channel.abort();
  }
}

/** Of a node's data folder. */
export function identityOf(cluster: SimulatedCluster, id: number): { storeId: string; incarnation: string } {
  const text = cluster.machine(id).disk.mount().readFile('/data/identity.json').toString() ?? '';
  const { storeId, birth } = JSON.parse(text) as { storeId: string; birth: { incarnation: string } };
  return { storeId, incarnation: birth.incarnation };
}

async function connected(
  cluster: SimulatedCluster,
  env: Env,
  to: number,
  { nodeId, storeId = `store of ${nodeId}`, hasSecret = false, isMember = false }: Claim,
  run: Run,
  heard: (message: ReplicaMessage) => void,
): Promise<PeerConnection> {
  const { incarnation } = identityOf(cluster, to);
  let connection: PeerConnection | undefined;
  await connectChannel(
    env,
    { host: `n${to}`, port: 7101 },
    {
      connectTimeoutMs: 1000,
      initialise: (channel) => {
        connection = new PeerConnection(
          {
            env,
            known: { isOther: () => false, lost: () => undefined, remember: () => undefined },
            electionTimeoutMinMs: 1000,
            announcement: () => ({
              ...{ phase: 'born', incarnation, founders: [], joins: true, placement: ONE_TABLET },
              ...{ configurationIndex: 2 ** 53 - 1, members: [nodeId], isMember },
              ...{ ...run, logs: [{ tablet: 1, lastIndex: 2 ** 53 - 1 }], engine: 'lsm' },
            }),
            bornIn: () => incarnation,
            announced: () => undefined,
            left() {},
            outdated() {},
            received: (_group, _from, message) => heard(message),
            alive() {},
          },
          new Set(),
          channel,
        );
        connection.begin({
          side: 'connecting',
          identity: { role: 'peer', clusterId: 'simulated', nodeId, storeId },
          expectedRoles: ['peer'],
          security: { secrets: hasSecret ? [Buffer.from(SECRET)] : [], random: env.random },
        });
      },
    },
  );
  if (!connection) throw new Error('it was not connected');
  return connection;
}
