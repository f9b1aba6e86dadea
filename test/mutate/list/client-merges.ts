/** Mutations of what a client does while tablets are merged, and after. */
import { inFile, type Mutation } from '../mutation.js';

const router = inFile('client/router.js');

export const CLIENT_MERGE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a leader whose tablet is frozen is no leader any more',
    reason: 'it takes nothing',
    patches: [router("'OUT_OF_ORDER', 'TABLET_FROZEN',", "'OUT_OF_ORDER',")],
    killedBy: ['client/frozen'],
  },
  {
    name: 'a frozen tablet is an answer',
    reason: 'it certainly committed nothing',
    patches: [router("'SPANS_TABLETS',", "'SPANS_TABLETS', 'TABLET_FROZEN',")],
    killedBy: ['client/frozen'],
  },
];
