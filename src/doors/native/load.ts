/** What the process of this node carries: the answer to `load`. */
import type { KvService } from '../../kv/service.js';
import type { OutboundOf } from '../../protocol/messages.js';
import type { NodeFigures } from '../ports.js';

/** `kv`: undefined before the birth of the cluster. */
export function loadReply(
  kv: KvService | undefined,
  figures: NodeFigures,
  requestId: number,
): OutboundOf<'loadReply'> {
  const { user, system } = process.cpuUsage();
  return {
    ...{ type: 'loadReply', requestId },
    reads: kv?.counts.total('read') ?? 0,
    writes: kv?.counts.total('write') ?? 0,
    pendingRequests: kv?.pendingRequests ?? 0,
    residentBytes: process.memoryUsage.rss(),
    processorMs: Math.round((user + system) / 1000),
    ...figures,
  };
}
