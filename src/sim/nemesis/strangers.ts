/**
 * Strangers on the network: they connect to every port, and send garbage, lies, or bytes that they have overheard. They
 * know the name of the cluster, and what nodes tell every client.
 */
import type { Env } from '../../env/env.js';
import type { OutboundMessage } from '../../protocol/messages.js';
import type { RunCluster } from '../run/run-cluster.js';
import type { RunMachine } from '../run/run-machine.js';
import { type FaultOf, faultsOf } from '../setting/fault-names.js';
import type { SeededRandom } from '../world/seeded-random.js';
import { type Hearsay, LIES, WITHSTOOD_WITHOUT_SECRET } from './lies.js';
import { StrangerLine } from './stranger-line.js';

const HOST = 'stranger';
/** Ids that no member has. */
const FIRST_MADE_UP_ID = 1000;

/** More connections than one address may have. */
const AT_ONCE = 40;

const REMOVAL = { type: 'remove', clientAddress: '', peerAddress: '' } as const;

export class Strangers {
  readonly #cluster: RunCluster;
  readonly #random: SeededRandom;
  readonly #does: Record<FaultOf<'strangers'>, () => Promise<void>>;
  readonly #held: StrangerLine[] = [];
  #env: Env | undefined;
  #nextId = FIRST_MADE_UP_ID;
  #stopped = false;

  constructor(cluster: RunCluster, random: SeededRandom) {
    this.#cluster = cluster;
    this.#random = random;
    this.#does = {
      strangeBytes: () => this.sendBytes(this.#anyMachine()),
      lyingPeer: () => this.lie(this.#anyMachine()),
      madeUpNodes: () => this.makeUpNodes(this.#anyMachine(), random.between(20, 60)),
      heldConnections: () => this.hold(this.#anyMachine(), random.between(5, 40)),
      replayedFrames: () => this.replay(),
      strangeClient: () => this.askAsClient(this.#anyMachine()),
    };
  }

  async run(): Promise<void> {
    const { faults, strangeEveryMs } = this.#cluster.setting;
    const own = faultsOf(['strangers'], faults);
    if (own.length === 0) return;
    while (!this.#stopped) {
      await this.#cluster.sleep(this.#random.float() * 2 * strangeEveryMs);
      if (this.#stopped) break;
      void this.#does[this.#random.pick(own)]();
    }
  }

  stop(): void {
    this.#stopped = true;
    for (const line of this.#held.splice(0)) line.close();
  }

  #anyMachine(): RunMachine {
    return this.#random.pick(this.#cluster.machines);
  }

  /** Made when it is needed first, so that runs without strangers do not change. */
  #open(machine: RunMachine, port: 'peer' | 'client'): Promise<StrangerLine | undefined> {
    this.#env ??= this.#cluster.host(HOST).env;
    return StrangerLine.open(this.#env, machine.host, port);
  }

  #note(what: string, fields: Readonly<Record<string, unknown>>): void {
    this.#cluster.trace.record(HOST, what, fields);
  }

  /** Sends broken frames, unknown frames, or random bytes. */
  async sendBytes(machine: RunMachine): Promise<void> {
    const random = this.#random;
    const port = random.pick(['peer', 'client'] as const);
    const line = await this.#open(machine, port);
    this.#cluster.coverage.count('strange bytes');
    this.#note('bytes', { to: machine.host, port });
    if (!line) return;
    if (random.chance(0.4)) line.hello(this.#nextId++, this.#storeId());
    const header = Buffer.alloc(8);
    header.writeUInt32BE(random.pick([0, 1, 34, 45, 0xffff_ffff]), 0);
    header.writeUInt32BE(random.pick([0, 1, 4096, 60_000, 0xffff_ffff]), 4);
    line.sendBytes(
      random.pick([random.bytes(random.between(1, 200)), header, Buffer.from('GET / HTTP/1.1\r\n\r\n')]),
    );
    await this.#cluster.sleep(random.float() * 2000);
    line.close();
  }

  /** Says hello as a node that does not exist, or as a member where a secret is needed, and then lies. */
  async lie(machine: RunMachine, name = this.#random.pick(this.#lies)): Promise<void> {
    const lie = LIES[name];
    const line = await this.#open(machine, 'peer');
    if (!line || !lie) return;
    this.#cluster.coverage.count('lies of strangers');
    const { id, storeId } = await this.#identity();
    this.#note('lie', { to: machine.host, name, id });
    await this.#greet(line, id, storeId);
    for (let times = this.#random.between(1, 4); times > 0 && line.isOpen; times--) {
      line.send(...lie(this.#hearsay(machine), this.#random));
      await this.#cluster.sleep(this.#random.float() * 300);
    }
    line.close();
  }

  async makeUpNodes(machine: RunMachine, count: number): Promise<void> {
    this.#cluster.coverage.count('nodes made up');
    this.#note('made-up nodes', { to: machine.host, first: this.#nextId, count });
    for (let left = count; left > 0; left -= AT_ONCE) {
      const batch = Array.from({ length: Math.min(left, AT_ONCE) }, async () => {
        const line = await this.#open(machine, 'peer');
        if (!line) return;
        await this.#greet(line, this.#nextId++, this.#storeId());
        line.close();
      });
      await Promise.all(batch);
    }
  }

  /** Connections that never say hello, or nothing after it. */
  async hold(machine: RunMachine, count: number): Promise<void> {
    this.#cluster.coverage.count('connections held by strangers');
    this.#note('hold connections', { to: machine.host, count });
    const port = this.#random.pick(['peer', 'client'] as const);
    for (let left = count; left > 0; left--) {
      const line = await this.#open(machine, port);
      if (!line) return;
      this.#held.push(line);
      const says = this.#random.pick(['nothing', 'nothing', 'a little', 'hello'] as const);
      if (says === 'a little') line.sendBytes(this.#random.bytes(3));
      if (says === 'hello') line.hello(this.#nextId++, this.#storeId());
    }
  }

  /** Sends again all that one node sent to another on one connection. */
  async replay(): Promise<void> {
    const { streams } = this.#cluster.overheard;
    if (streams.length === 0) return;
    const { to, bytes } = this.#random.pick([...streams]);
    const machine = this.#cluster.machines.find(({ host }) => host === to);
    const line = machine && (await this.#open(machine, 'peer'));
    this.#cluster.coverage.count('frames replayed');
    this.#note('replay', { to, bytes: bytes.length });
    if (!line) return;
    line.sendBytes(bytes);
    await this.#cluster.sleep(this.#random.float() * 2000);
    line.close();
  }

  /** A client that requests what clients must not. */
  async askAsClient(machine: RunMachine): Promise<void> {
    const random = this.#random;
    const line = await this.#open(machine, 'client');
    this.#cluster.coverage.count('requests of strangers');
    if (!line) return;
    const { voters } = this.#hearsay(machine);
    const requestId = 1;
    line.clientHello();
    await line.next('hello');
    this.#note('request', { to: machine.host });
    // Without a secret nodes obey an operator on any machine (README, Security). A forced change could end the cluster.
    const orders: readonly OutboundMessage[] = this.#cluster.setting.hasSecret
      ? [
          { type: 'transferLeader', requestId, tablet: 0, nodeId: random.pick([...voters, 66]) },
          {
            ...{ type: 'changeMembers', requestId, expectedIndex: undefined, force: true },
            changes: [
              { type: 'addVoter', nodeId: 66, clientAddress: 'stranger:1', peerAddress: 'stranger:2' },
            ],
          },
          {
            ...{ type: 'changeMembers', requestId, expectedIndex: undefined, force: true },
            changes: voters.slice(1).map((nodeId) => ({ ...REMOVAL, nodeId })),
          },
        ]
      : [];
    line.send(
      random.pick<OutboundMessage>([
        ...orders,
        { type: 'openSession', tablet: 0, requestId, window: 0xffff_ffff },
        {
          type: 'get',
          tablet: 0,
          requestId,
          consistency: 'stale',
          key: Buffer.alloc(3000),
          omitValue: false,
        },
        { type: 'heartbeat', group: 1, term: Number.MAX_SAFE_INTEGER, commitIndex: 0, round: 1 },
      ]),
    );
    await this.#cluster.sleep(random.float() * 1000);
    line.close();
  }

  /**
   * Without a secret nodes trust every machine (README, Security). They must withstand only what no member ever says.
   */
  get #lies(): readonly string[] {
    return this.#cluster.setting.hasSecret ? Object.keys(LIES) : WITHSTOOD_WITHOUT_SECRET;
  }

  async #identity(): Promise<{ readonly id: number; readonly storeId: string }> {
    const member =
      this.#cluster.setting.hasSecret && this.#random.chance(0.5) ? this.#anyMachine() : undefined;
    const line = member && (await this.#open(member, 'peer'));
    if (!line) return { id: this.#nextId++, storeId: this.#storeId() };
    // Its hello names its data folder.
    line.hello(this.#nextId, this.#storeId());
    const { storeId } = (await line.next('hello')) ?? { storeId: this.#storeId() };
    line.close();
    return { id: member.id, storeId };
  }

  /**
   * Announces itself as a node of this cluster. It does not know the secret. Without one it learns the incarnation from
   * the other side.
   */
  async #greet(line: StrangerLine, id: number, storeId: string): Promise<void> {
    const random = this.#random;
    line.hello(id, storeId);
    const { nonce } = (await line.next('challenge')) ?? {};
    if (!nonce) return;
    line.send({ type: 'challenge', nonce: random.bytes(nonce.length) });
    if (nonce.length > 0)
      line.send({ type: 'proof', proof: random.pick([random.bytes(32), nonce, Buffer.alloc(0)]) });
    const birth = await line.next('birth');
    if (birth) line.send({ ...birth, joins: true });
  }

  #storeId(): string {
    return this.#random.bytes(16).toString('hex');
  }

  /** From a status request, which every client may send. */
  #hearsay({ node }: RunMachine): Hearsay {
    const { term = 1, lastIndex = 0, commitIndex = 0, voters = [] } = node?.status(0) ?? {};
    // Within what a message can carry.
    return { term: Math.min(term, Number.MAX_SAFE_INTEGER - 1), lastIndex, commitIndex, voters };
  }
}
