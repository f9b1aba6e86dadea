/**
 * Locks with fencing tokens. A token is the index of the command that took the lock, and tokens only grow: a service
 * that has seen a token refuses requests with an older one. `apply` does not look at the time, because the clocks of the
 * members differ. For locks that expire, propose a command that releases them.
 */
import { RaftreeNode, type SmallStateMachine } from 'raftree';

type Command = { type: 'take' | 'release'; lock: string; owner: string };
type Holder = { owner: string; token: number };

class LockTable implements SmallStateMachine<Command, Holder | undefined, string, Holder | undefined> {
  #holders = new Map<string, Holder>();

  /** Who holds the lock afterwards. */
  apply({ type, lock, owner }: Command, index: number): Holder | undefined {
    const holder = this.#holders.get(lock);
    if (type === 'take' && !holder) this.#holders.set(lock, { owner, token: index });
    if (type === 'release' && holder?.owner === owner) this.#holders.delete(lock);
    return this.#holders.get(lock);
  }

  query(lock: string): Holder | undefined {
    return this.#holders.get(lock);
  }

  toBytes(): Uint8Array {
    return Buffer.from(JSON.stringify([...this.#holders]));
  }

  fromBytes(bytes: Uint8Array): void {
    this.#holders = new Map(JSON.parse(Buffer.from(bytes).toString()));
  }
}

const node = await RaftreeNode.start({
  clusterId: 'locks',
  nodeId: 1,
  dataDirectory: 'data/locks/1',
  nodes: [{ id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7101' }],
  stateMachine: () => new LockTable(),
});
const alice = await node.propose({ type: 'take', lock: 'printer', owner: 'alice' });
const bob = await node.propose({ type: 'take', lock: 'printer', owner: 'bob' });
console.log(bob?.owner, bob?.token === alice?.token); // alice true
await node.propose({ type: 'release', lock: 'printer', owner: 'alice' });
const then = await node.propose({ type: 'take', lock: 'printer', owner: 'bob' });
console.log(then?.owner, (then?.token ?? 0) > (alice?.token ?? 0)); // bob true
console.log((await node.query('printer'))?.owner); // bob
await node.close();
