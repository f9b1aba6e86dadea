/** What the RESP door needs of its node. */
import type { RespDoorOptions } from '../doors/resp/listener.js';
import type { BufferBudget } from '../net/buffer-budget.js';
import { secretsIn } from './config.js';
import { type DoorNodeParts, passingClient } from './http.js';
import { kvLimitsOf } from './kv-group.js';
import { VERSION } from './version.js';

/** The client library that passes requests on is to be closed after the door. */
export function respDoorOptions(
  parts: DoorNodeParts,
  maxConnections: number,
  budget: BufferBudget,
): RespDoorOptions {
  const { env, logger, config, membership } = parts;
  const { resp, limits } = config;
  if (!resp) throw new TypeError('node.json has no resp');
  return {
    ...{ env, logger, budget, maxConnections },
    cluster: passingClient(parts),
    version: VERSION,
    limits: kvLimitsOf(config),
    maxConnectionsPerAddress: limits.maxConnectionsPerAddress,
    maxBufferedBytes: resp.maxBufferedBytes,
    idleTimeoutMs: resp.idleTimeoutMs,
    allowFlush: resp.allowFlush,
    tokens: resp.tokenFile === undefined ? [] : secretsIn(resp.tokenFile, env, logger),
    service: parts.service,
    tablets: parts.tablets,
    removed: () => membership.removal,
  };
}
