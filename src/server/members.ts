/**
 * Where the members of a cluster are reached. The configuration in the Raft log carries each member's addresses as its
 * note; an address in this node's node.json counts more, so that a member can be moved.
 */
import { type Configuration, membersOf } from '../raft/configuration.js';

export interface MemberAddresses {
  readonly client: string;
  readonly peer: string;
}

export interface Member extends MemberAddresses {
  readonly id: number;
}

export function encodeNote({ client, peer }: MemberAddresses): string {
  return JSON.stringify({ client, peer });
}

/** Empty addresses for a note that this version cannot read. */
export function decodeNote(note: string | undefined): MemberAddresses {
  try {
    const value: unknown = JSON.parse(note ?? '');
    if (typeof value === 'object' && value !== null && 'client' in value && 'peer' in value) {
      if (typeof value.client === 'string' && typeof value.peer === 'string') {
        return { client: value.client, peer: value.peer };
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
    const own = listed.find((member) => member.id === id);
    return own ?? { id, ...decodeNote(configuration.notes[id]) };
  });
}
