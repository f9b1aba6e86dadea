/** What a node does with its program's state machine: proposals, queries, and checksums that members compare. */
import type { RaftreeClient } from '../client/client.js';
import { RaftreeClientError } from '../client/client-error.js';
import type { CallOptions } from '../client/client-options.js';
import type { Env, Logger } from '../env/env.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import {
  CHECK_PREFIX,
  COMMAND_PREFIX,
  MACHINE_PREFIX,
  type MachineEngine,
  machineEngine,
  type Outcome,
} from './machine-engine.js';
import type { AnyStateMachine, Divergence } from './state-machine.js';

/** With fewer commands in between, the checks themselves would cause further checksums. */
const MIN_CHECKSUM_EVERY = 100;
const ID_BYTES = 16;
/** A key that is never stored. It is read only for the guarantee of the read. */
const NO_KEY = `${MACHINE_PREFIX}none`;

export interface ProgramMachineOptions {
  readonly nodeId: number;
  readonly logger: Logger;
  readonly create: () => AnyStateMachine<never, unknown, never, unknown>;
  readonly checksumEvery?: number | undefined;
  readonly onDivergence?: ((divergence: Divergence) => void) | undefined;
}

/** A node's own client, and the endpoint under which it reaches the node. */
interface Started {
  readonly client: RaftreeClient;
  readonly own: string;
  readonly env: Pick<Env, 'random'>;
}

export class ProgramMachine {
  readonly engine: MachineEngine;
  readonly #options: ProgramMachineOptions;
  /** The proposals of this node in progress, by id, with their outcomes here. */
  readonly #outcomes = new Map<string, Outcome | undefined>();
  #started: Started | undefined;

  /** Throws `INVALID_CONFIG`. */
  constructor(options: ProgramMachineOptions) {
    const { create, checksumEvery = 0 } = options;
    const isEvery = Number.isSafeInteger(checksumEvery) && checksumEvery >= MIN_CHECKSUM_EVERY;
    if (options.checksumEvery !== undefined && !isEvery) {
      throw new RaftreeError(
        'INVALID_CONFIG',
        `checksumEvery is a whole number of commands, at least ${MIN_CHECKSUM_EVERY}, not ${checksumEvery}`,
      );
    }
    this.#options = options;
    this.engine = machineEngine({
      create: create as () => AnyStateMachine<unknown, unknown, unknown, unknown>,
      checksumEvery,
      applied: (id, outcome) => {
        if (this.#outcomes.has(id)) this.#outcomes.set(id, outcome);
      },
      checksum: (commands, checksum) => this.#tell(commands, checksum),
      told: (nodeId, commands, checksum, own) => this.#differs(nodeId, commands, checksum, own),
    });
  }

  start(started: Started): void {
    this.#started = started;
  }

  async propose(command: unknown, options: CallOptions): Promise<unknown> {
    const { client, env } = this.#running;
    const text = asJson(command);
    const id = env.random.bytes(ID_BYTES).toString('hex');
    const key = `${COMMAND_PREFIX}${id}`;
    this.#outcomes.set(id, undefined);
    let outcome: Outcome | undefined;
    try {
      await client.put(key, text, options);
      outcome = this.#outcomes.get(id) ?? (await this.#outcomeOf(key, options));
    } finally {
      this.#outcomes.delete(id);
    }
    if ('error' in outcome) throw new RaftreeClientError('COMMAND_FAILED', outcome.error, 'notCommitted');
    return outcome.result;
  }

  async query(
    query: unknown,
    { level = 'linearizable', ...options }: CallOptions & { readonly level?: 'linearizable' | 'stale' },
  ): Promise<unknown> {
    const { client, own } = this.#running;
    // When this node answers, it has applied all commands acknowledged before.
    await client.get(NO_KEY, { ...options, level: level === 'stale' ? 'stale' : 'follower', endpoint: own });
    try {
      return await this.engine.query(query);
    } catch (error) {
      throw new RaftreeClientError('QUERY_FAILED', errorMessage(error), 'notCommitted');
    }
  }

  /** Read from the leader: it has applied the command that it acknowledged. */
  async #outcomeOf(key: string, options: CallOptions): Promise<Outcome> {
    let failure = 'its result is not kept any more';
    try {
      const found = await this.#running.client.get(key, options);
      if (found) return JSON.parse(found.value.toString()) as Outcome;
    } catch (error) {
      failure = errorMessage(error);
    }
    throw new RaftreeClientError('RESULT_UNKNOWN', `the command was applied, but ${failure}`, 'unknown');
  }

  /** If a checksum does not arrive, the other members still compare theirs. So it need not arrive. */
  #tell(commands: number, checksum: number): void {
    const key = `${CHECK_PREFIX}${this.#options.nodeId}/${commands}`;
    this.#started?.client.put(key, String(checksum)).catch(() => {});
  }

  #differs(nodeId: number, commands: number, checksum: number, own: number): void {
    if (nodeId === this.#options.nodeId) return;
    const { logger, onDivergence } = this.#options;
    logger.error(
      { node: nodeId, commands, checksum, own },
      `after ${commands} commands the state of node ${nodeId} differs from the state here: apply did not do the same on ` +
        'both. Find out which one is right; remove the other one, and add it again with an empty folder',
    );
    onDivergence?.({ nodeId, commands });
  }

  get #running(): Started {
    if (this.#started) return this.#started;
    throw new RaftreeClientError('CLIENT_CLOSED', 'the node has not started yet', 'notCommitted');
  }
}

function asJson(command: unknown): string {
  let text: string | undefined;
  let reason = 'it is not JSON';
  try {
    text = JSON.stringify(command);
  } catch (error) {
    reason = errorMessage(error);
  }
  if (text !== undefined) return text;
  throw new RaftreeClientError('INVALID_REQUEST', `the command cannot be sent: ${reason}`, 'notCommitted');
}
