/**
 * A state machine of a program: every member of the cluster applies the same commands in the same order to its copy.
 *
 *     class Counter implements SmallStateMachine<number, number> {
 *       #sum = 0;
 *       apply(add: number) { this.#sum += add; return this.#sum; }
 *       query() { return this.#sum; }
 *       toBytes() { return Buffer.from(`${this.#sum}`); }
 *       fromBytes(bytes: Uint8Array) { this.#sum = Number(Buffer.from(bytes)); }
 *     }
 *
 * Commands, queries and what they return are JSON. `apply` must be a function of the state and its arguments: no time,
 * no randomness, nothing from outside. The state is written as a whole from time to time: a small one as bytes, any
 * other one in pieces.
 */
interface Machine<Command, Result, Query, Answer> {
  /**
   * Changes the state, and gives what `propose` resolves to. If it throws, `propose` rejects with `COMMAND_FAILED`, the
   * command counts as applied, and the node goes on. So it must throw for the same commands on all members, and before
   * it changes anything. It may take time if it does not block: one command is applied at a time, and the node's other
   * work goes on. `index` is that of the command in the Raft log: larger than that of every command before.
   */
  apply(command: Command, index: number): Result | Promise<Result>;
  /** Answers from the state and changes nothing. */
  query(query: Query): Answer | Promise<Answer>;
  /** The node no longer uses this copy. */
  close?(): void | Promise<void>;
}

export interface StateMachine<Command, Result, Query = void, Answer = unknown>
  extends Machine<Command, Result, Query, Answer> {
  /** The whole state, in pieces of any size. No command is applied meanwhile. A piece is copied before the next one. */
  snapshot(): Iterable<Uint8Array> | AsyncIterable<Uint8Array>;
  /**
   * Takes the state that `snapshot` gave, here or on another member. The bytes are the same; they are cut into other
   * pieces. Called once at most, before the first command.
   */
  restore(pieces: AsyncIterable<Uint8Array>): void | Promise<void>;
}

/** A machine whose state is small. */
export interface SmallStateMachine<Command, Result, Query = void, Answer = unknown>
  extends Machine<Command, Result, Query, Answer> {
  /** The whole state. No command is applied meanwhile. */
  toBytes(): Uint8Array | Promise<Uint8Array>;
  /** Takes the state that `toBytes` gave, here or on another member. Called once at most, before the first command. */
  fromBytes(bytes: Uint8Array): void | Promise<void>;
}

export type AnyStateMachine<Command, Result, Query, Answer> =
  | StateMachine<Command, Result, Query, Answer>
  | SmallStateMachine<Command, Result, Query, Answer>;

/** Two members disagree about the state after the same commands: `apply` is not the same function on both. */
export interface Divergence {
  /** The state after so many commands. */
  readonly commands: number;
  /** The other member. */
  readonly nodeId: number;
}
