/**
 * Where the members of a cluster are reached, and with which data folder. The configuration in the Raft log carries
 * that as each member's context. An address in this node's node.json counts where the context has none.
 */
import { parseAddress } from '../env/env.js';
import { errorMessage } from '../env/errors.js';
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

export function encodeMemberContext({ client, peer, storeId }: MemberAddresses): string {
  return JSON.stringify({ client, peer, storeId });
}

/** Empty addresses for a context that this version cannot read. */
export function decodeMemberContext(context: string | undefined): MemberAddresses {
  try {
    const value: unknown = JSON.parse(context ?? '');
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

/**
 * The members of a configuration, and those of node.json while the configuration is still empty (a node that joins).
 */
export function membersIn(configuration: Configuration, listed: readonly Member[]): Member[] {
  const ids = membersOf(configuration);
  if (ids.length === 0) return [...listed];
  return ids.map((id) => {
    const { client, peer, storeId } = decodeMemberContext(configuration.contexts[id]);
    const inFile = listed.find((member) => member.id === id);
    return { id, client: client || (inFile?.client ?? ''), peer: peer || (inFile?.peer ?? ''), storeId };
  });
}

/** Why other nodes cannot use this address, and what to give instead. Undefined if they can. */
export function addressProblem(address: string): string | undefined {
  try {
    const { host, port } = parseAddress(address);
    if (port === 0) return `${address} has port 0, which nobody can connect to; give the real port`;
    if (/^[0:.]+$/.test(host)) {
      return `${address} is no address of one machine; give the one that others reach it by, and listen on this one ("listen")`;
    }
    return undefined;
  } catch (error) {
    return errorMessage(error);
  }
}

/** The first address that two nodes share, and which nodes. Undefined if there is none. */
export function sharedAddress(members: readonly Member[]): string | undefined {
  const owners = new Map<string, string>();
  for (const { id, client, peer } of members) {
    for (const [name, address] of [
      ['client', client],
      ['peer', peer],
    ] as const) {
      if (address === '') continue;
      const owner = `the ${name} address of node ${id}`;
      const other = owners.get(address.toLowerCase());
      if (other !== undefined) return `${address} would be ${other} and ${owner}; each needs one of its own`;
      owners.set(address.toLowerCase(), owner);
    }
  }
  return undefined;
}
