/** Asks the leader of a tablet, whichever of its nodes that is. */
import type { MapRequest } from './node-calls.js';

/** A tablet may change its leader while it is asked who leads. */
const MAX_HOPS = 3;

interface NotLeader {
  readonly state: 'notLeader';
  /** 0: none is known. */
  readonly leader: number;
}

/** Undefined: nobody says that it leads. Rejects as the last node that was asked. */
export async function askLeader<Answer extends { readonly state: string }>(
  nodes: readonly number[],
  request: MapRequest,
  ask: (node: number, request: MapRequest) => Promise<unknown>,
): Promise<Exclude<Answer, NotLeader> | undefined> {
  let failure: unknown;
  for (const node of nodes) {
    let next = node;
    for (let hops = 0; next !== 0 && hops < MAX_HOPS; hops++) {
      try {
        const answer = (await ask(next, request)) as Answer | NotLeader;
        if (answer.state !== 'notLeader') return answer as Exclude<Answer, NotLeader>;
        const { leader } = answer as NotLeader;
        next = leader === next ? 0 : leader;
      } catch (error) {
        failure = error;
        next = 0;
      }
    }
  }
  if (failure) throw failure;
  return undefined;
}
