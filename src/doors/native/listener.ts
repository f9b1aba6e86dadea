/** Listens for clients that speak the native protocol. */
import type { Address, Env, Logger } from '../../env/env.js';
import { errorCode } from '../../env/errors.js';
import type { BufferBudget } from '../../net/buffer-budget.js';
import { ChannelListener, type Refusal } from '../../net/channel-listener.js';
import { IdleTimeout } from '../../net/idle-timeout.js';
import { Tally } from '../../net/tally.js';
import { Turns } from '../../net/turns.js';
import type { Identity } from '../../protocol/handshake.js';
import { MAX_ANSWER_BYTES, requestFrameBytes } from '../../protocol/limits.js';
import { LinkWatch } from '../../protocol/link-watch.js';
import { protocolPipeline } from '../../protocol/protocol-pipeline.js';
import { RequestHandler, type RequestHandlerParts } from './request-handler.js';

export interface NativeDoorOptions extends RequestHandlerParts {
  readonly env: Env;
  readonly logger: Logger;
  readonly identity: Identity;
  readonly budget: BufferBudget;
  readonly maxConnections: number;
  /** Above maxConnections, for an operator on the node's own machine. */
  readonly reservedForLoopback: number;
  readonly maxConnectionsPerAddress: number;
  readonly idleTimeoutMs: number;
}

/** Unsent output of one connection. Answers are made one at a time, within the budget of the node. */
const MIN_BUFFERED_BYTES = 2 * MAX_ANSWER_BYTES;

/** The answers to reads that are made in one turn of the event loop. */
const ANSWERS_PER_TURN = { maxBytes: 128 * 1024, maxMs: 0.25 };

export function listenForClients(options: NativeDoorOptions, address: Address): Promise<ChannelListener> {
  const { env, logger, identity, security, maxConnections, maxConnectionsPerAddress } = options;
  const maxFrameBytes = requestFrameBytes(options.limits);
  const turns = new Turns(env, ANSWERS_PER_TURN);
  const closings = new Tally<{ remote: string; message: string }>(
    env.timers,
    (code, { remote, message }, more) =>
      logger.warn({ remote, code, ...(more > 0 ? { more } : {}) }, `client connection closed: ${message}`),
  );
  const refusals = new Tally<string>(env.timers, (limit, remote, more) =>
    logger.warn(
      { remote, ...(more > 0 ? { more } : {}) },
      `connection refused: ${limit} (${options[limit as Refusal]}) are open`,
    ),
  );
  return ChannelListener.listen(env, address, {
    maxConnections,
    maxConnectionsPerAddress,
    reservedForLoopback: options.reservedForLoopback,
    budget: { of: options.budget, kind: 'client' },
    channel: { maxBufferedBytes: Math.max(MIN_BUFFERED_BYTES, 2 * maxFrameBytes) },
    initialise: (channel) => {
      const handler = new RequestHandler(options, channel, turns);
      protocolPipeline(channel, {
        limits: { maxFrameBytes, maxSentFrameBytes: MAX_ANSWER_BYTES },
        handshake: {
          side: 'accepting',
          identity,
          // The cluster's name is repeated to a client that knows it, and told to no other.
          answer: ({ clusterId }) => ({ ...identity, clusterId, storeId: '' }),
          expectedRoles: ['client', 'administrator'],
          security,
          greeted: (hello, _channel, isProven) => handler.greeted(hello, isProven),
        },
        between: [new IdleTimeout(options.idleTimeoutMs), new LinkWatch()],
        handler,
      });
    },
    closed: (channel, reason) => {
      if (reason)
        closings.add(errorCode(reason) ?? 'ERROR', { remote: channel.remote, message: reason.message });
    },
    refused: (remote, limit) => refusals.add(limit, remote),
  });
}
