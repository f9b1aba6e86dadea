/** Mutations of what keeps operators' mistakes and strangers from ending a cluster, each found by its schedule. */
import { inFile, type Mutation, randomFaults, under } from '../mutation.js';

const plan = inFile('server/member-plan.js');
const birth = inFile('server/birth.js');

export const MISTAKE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'an empty founder takes part, and nobody compares its data folder',
    reason: 'its id and its address are the same as before',
    patches: [
      birth(
        "if (joins) return met && { phase: 'born'",
        "if (joins || (met && phase === 'untouched')) return met && { phase: 'born'",
      ),
      inFile('server/known-peers.js')(
        'return expected !== undefined && expected !== storeId;',
        'return false;',
      ),
    ],
    killedBy: under('emptiedMajority', 5),
  },
  {
    name: 'an empty founder takes part in a cluster that was born without it',
    reason: 'all of them list the same nodes',
    patches: [
      birth(
        "if (joins) return met && { phase: 'born'",
        "if (joins || (met && phase === 'untouched')) return met && { phase: 'born'",
      ),
    ],
    killedBy: under('grownByEdit', 5),
  },
  {
    name: 'founders that list different nodes begin one cluster',
    reason: 'the lists are made equal later anyhow',
    patches: [birth('if (isFounding && others.join() !== this.#listed.join())', 'if (false)')],
    killedBy: randomFaults(60, 'editedNodeJson'),
  },
  {
    name: 'a new member is not reached before it counts',
    reason: 'it may be started later',
    patches: [plan('if (isMoved && present?.peer !== member.peer)', 'if (false)')],
    killedBy: under('absentVoters', 5),
  },
  {
    name: 'a change leaves a majority that is silent',
    reason: 'a majority agrees to it anyhow',
    patches: [plan('if (voters.length - faults.length >= needed) continue;', 'continue;')],
    killedBy: under('removedWhileDown', 5),
  },
  {
    name: 'a learner becomes a voter that nobody hears',
    reason: 'it was reached when it was added',
    patches: [plan("if (present && type === 'promote')", 'if (false)')],
    killedBy: under('promotedDown', 5),
  },
  {
    name: 'a voter that is added again becomes a learner',
    reason: 'whoever is added begins as one',
    patches: [plan('if (present && isNew && (isMoved || wasVoter !== wantsVoter))', 'if (false)')],
    killedBy: under('repeatedCommands', 5),
  },
  {
    name: 'a start of a folder that was used before counts',
    reason: 'the store id is the right one',
    patches: [
      inFile('server/known-peers.js')(
        "if (starts < before.starts || (starts === before.starts && before.run !== ''))",
        'if (false)',
      ),
    ],
    killedBy: under('copiedFolder', 5),
  },
  {
    name: 'a copy beside the original is listened to',
    reason: 'its start is a new one',
    patches: [
      inFile('server/peer-connection.js')(
        'const wrong = lost ?? this.#otherRun(from, said) ?? known.remember',
        'const wrong = lost ?? known.remember',
      ),
    ],
    killedBy: under('copiedFolder', 1),
  },
  {
    name: 'a folder that has lost what it acknowledged is taken',
    reason: 'the leader sends it what it lacks',
    patches: [inFile('server/known-peers.js')('if (lastIndex >= held)', 'if (lastIndex >= 0)')],
    killedBy: under('olderFolder', 5),
  },
  {
    name: 'any proof is one',
    reason: 'the other side knows the name of the cluster',
    patches: [
      inFile('security/proof.js')(
        'return proof.length === expected.length && timingSafeEqual(proof, expected);',
        'return expected.length > 0;',
      ),
    ],
    killedBy: ['security/proof'],
  },
  {
    name: 'a term has no bound',
    reason: 'terms only grow',
    patches: [
      inFile('raft/senders.js')(
        'if (term > MAX_TERM || (!isNew && term > local.term + MAX_TERM_JUMP))',
        'if (false)',
      ),
    ],
    killedBy: under('liesWithoutSecret', 5),
  },
  {
    name: 'whoever speaks as a client changes the members',
    reason: 'clients are in the same network',
    patches: [inFile('doors/native/request-handler.js')('callerWho(isProven || isOpen)', 'callerWho(true)')],
    killedBy: under('strangeOperator', 5),
  },
];
