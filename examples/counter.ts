/** A counter that three programs share. Each of them may add to it; all of them agree on what it is. */
import { RaftreeNode, type SmallStateMachine } from 'raftree';

class Counter implements SmallStateMachine<{ add: number }, number, void, number> {
  #sum = 0;

  apply({ add }: { add: number }): number {
    if (!Number.isSafeInteger(add)) throw new Error(`${add} is not a whole number`);
    this.#sum += add;
    return this.#sum;
  }

  query(): number {
    return this.#sum;
  }

  toBytes(): Uint8Array {
    return Buffer.from(String(this.#sum));
  }

  fromBytes(bytes: Uint8Array): void {
    this.#sum = Number(Buffer.from(bytes).toString());
  }
}

const nodes = [
  { id: 1, client: '127.0.0.1:7001', peer: '127.0.0.1:7101' },
  { id: 2, client: '127.0.0.1:7002', peer: '127.0.0.1:7102' },
  { id: 3, client: '127.0.0.1:7003', peer: '127.0.0.1:7103' },
];
// Here in one process; usually one in each of three.
const members = await Promise.all(
  nodes.map(({ id }) =>
    RaftreeNode.start({
      ...{ clusterId: 'counter', nodeId: id, dataDirectory: `data/counter/${id}`, nodes },
      stateMachine: () => new Counter(),
    }),
  ),
);
const [first, second, third] = members as [(typeof members)[0], (typeof members)[0], (typeof members)[0]];
console.log(await first.propose({ add: 5 })); // 5
console.log(await second.propose({ add: 37 })); // 42
console.log(await third.query()); // 42
await third.propose({ add: 0.5 }).catch((error) => console.log(error.code, error.message)); // COMMAND_FAILED 0.5 is not a whole number
await Promise.all(members.map((member) => member.close()));
