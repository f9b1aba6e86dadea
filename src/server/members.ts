/**
 * Where the members of a cluster are reached, and with which data folder. The configuration in the Raft log carries that as
 * each member's note; an address in this node's node.json counts more, so that a member can be moved.
 */
import { type Configuration, membersOf } from '../raft/configuration.js';

export interface MemberAddresses {
  readonly client: string;
  readonly peer: string;
  /** Id of its data folder, if it was known when the member was added. */
  readonly storeId?: string | undefined;
}

export interface Member extends MemberAddresses {
  readonly id: number;
}

export function encodeNote({ client, peer, storeId }: MemberAddresses): string {
  return JSON.stringify({ client, peer, storeId });
}

/** Empty addresses for a note that this version cannot read. */
export function decodeNote(note: string | undefined): MemberAddresses {
  try {
    const value: unknown = JSON.parse(note ?? '');
    if (typeof value === 'object' && value !== null && 'client' in value && 'peer' in value) {
      if (typeof value.client === 'string' && typeof value.peer === 'string') {
        const storeId = 'storeId' in value && typeof value.storeId === 'string' ? value.storeId : undefined;
        return { client: value.client, peer: value.peer, storeId };
      }
    }
  } catch {
    // Not JSON.
  }
  return { client: '', peer: '' };
}

/** The members of a configuration, and those of node.json while the configuration is still empty (a node that joins). */
export function membersIn(configuration: Configuration, listed: readonly Member[]): Member[] {
  const ids = membersOf(configuration);
  if (ids.length === 0) return [...listed];
  return ids.map((id) => {
    const noted = decodeNote(configuration.notes[id]);
    return { id, ...noted, ...listed.find((member) => member.id === id) };
  });
}
