/** The answer to `tablets`: a page of the map, as this node knows it. */
import { isMerge, type TabletChange } from '../kv/lineage.js';
import { nodesOf } from '../meta/records.js';
import type { MessageOf, OutboundOf } from '../protocol/messages.js';
import { crc32 } from '../record/checksum.js';
import type { MemberView } from './member-view.js';
import type { TabletSet } from './tablet-set.js';

const MAX_TABLETS_PER_PAGE = 256;

/** Undefined before the birth of the cluster. */
export function tabletsReply(
  tablets: Pick<TabletSet, 'placement' | 'map' | 'meta' | 'all'>,
  membership: Pick<MemberView, 'members'>,
  incarnation: string,
  { requestId, from, limit }: MessageOf<'tablets'>,
): OutboundOf<'tabletsReply'> | undefined {
  const { placement, map, meta } = tablets;
  if (!placement || !map) return undefined;
  const { members } = membership;
  const all = members.map(({ id }) => id);
  const replicasOf = (id: number) => {
    const descriptor = meta?.state.tablets.get(id);
    return descriptor ? nodesOf(descriptor.replicas) : all;
  };
  const here = new Map(tablets.all.map((open) => [open.tablet.id, open]));
  /** Versions up to there are those of one log, whichever of the tablets now owns a key. */
  const splitVersionOf = (id: number) =>
    placement.tablets === 1 ? splitIndexOf(here.get(id)?.stateMachine.begunBy) : 0;
  const following = map.tablets.filter(({ start }) => Buffer.compare(start, from) >= 0);
  const page = following.slice(0, limit === 0 ? MAX_TABLETS_PER_PAGE : Math.min(limit, MAX_TABLETS_PER_PAGE));
  return {
    type: 'tabletsReply',
    requestId,
    fingerprint: crc32(Buffer.from(incarnation)),
    ...{ by: placement.by, hashVersion: placement.hashVersion },
    nodes: members.map(({ id, client }) => ({
      ...{ nodeId: id, clientAddress: client },
      isDraining: meta?.state.nodes.get(id)?.isDraining ?? false,
    })),
    tablets: page.map(({ id, start, end, generation }) => ({
      ...{ id, start, end, generation },
      ...{ leaderId: here.get(id)?.group.replica.leader ?? 0, term: here.get(id)?.group.replica.term ?? 0 },
      ...{ sizeBytes: here.get(id)?.stateMachine.sizeBytes, replicas: replicasOf(id) },
      splitVersion: splitVersionOf(id),
    })),
    more: page.length < following.length,
  };
}

/** What was merged has versions of two logs. */
function splitIndexOf(change: TabletChange | undefined): number {
  return change && !isMerge(change) ? change.index : 0;
}
