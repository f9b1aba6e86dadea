/** Mutations of what keeps strangers out: src/security, the handshake, and whose messages count. */
import { inFile, type Mutation, under } from '../mutation.js';

const handshake = inFile('protocol/handshake.js');
const proof = inFile('security/proof.js');
const senders = inFile('raft/senders.js');
const raft = inFile('raft/raft.js');
const leadership = inFile('raft/leadership.js');
const clientDoor = inFile('doors/native/request-handler.js');
const httpAccess = inFile('doors/http/access.js');
const httpListener = inFile('doors/http/listener.js');

export const SECURITY_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a proof does not say which side made it',
    reason: 'both sides prove the same secret',
    patches: [proof('secret, proof of the $', 'secret, proof of the ')],
    killedBy: ['security/proof', 'protocol/handshake'],
  },
  {
    name: 'a proof that lacks the nonce of the other side',
    reason: 'the own one is random enough',
    patches: [proof('field(accepting.nonce);', '')],
    killedBy: ['security/proof', 'protocol/handshake'],
  },
  {
    name: 'a side without a secret meets one that has one',
    reason: 'it has nothing to compare',
    patches: [
      handshake('if (isWithout || (!first && !isSetThere))', 'if (isWithout || !first || !isSetThere)'),
    ],
    killedBy: ['protocol/handshake'],
  },
  {
    name: 'whoever connects with any role may administrate',
    reason: 'the handshake has been passed',
    patches: [clientDoor('callerWho(isProven || isOpen)', 'callerWho(true)')],
    killedBy: ['server/security'],
  },
  {
    name: 'a stranger is obeyed although the leader is there',
    reason: 'a voter may not know yet who its leader is',
    patches: [
      senders(
        "return isStranger(from, local) && hasLeader && !isStranger(leader, local) ? 'stranger' : undefined;",
        'return undefined;',
      ),
    ],
    killedBy: ['raft/senders'],
  },
  {
    name: 'strangers are never listened to',
    reason: 'who is no member has no say',
    patches: [
      senders(
        'isStranger(from, local) && hasLeader && !isStranger(leader, local)',
        'isStranger(from, local)',
      ),
    ],
    killedBy: ['raft/senders'],
  },
  {
    name: 'answers count from whoever gives them',
    reason: 'quorums are counted by the members anyway',
    patches: [senders("isMember(local.configuration, from) ? undefined : 'stranger'", 'undefined')],
    killedBy: ['raft/senders'],
  },
  {
    name: 'a term may jump anywhere',
    reason: 'the newest term wins',
    patches: [senders('if (term > MAX_TERM || (!isNew && term > local.term + MAX_TERM_JUMP))', 'if (false)')],
    killedBy: under('liesWithoutSecret', 5),
  },
  {
    name: 'the second leader of a term is followed',
    reason: 'whoever spoke last leads',
    patches: [senders("sort === 'of a leader' ? 'secondLeader' : 'notLeader'", 'undefined')],
    killedBy: ['raft/senders', 'raft/raft'],
  },
  {
    name: 'messages that contradict themselves are taken',
    reason: 'leaders do not write such',
    patches: [raft("isSound(message) ? undefined : 'malformed'", 'undefined')],
    killedBy: ['raft/senders'],
  },
  {
    name: 'a round that was never sent is confirmed',
    reason: 'a higher round includes the lower ones',
    patches: [leadership('if (!progress || message.round > this.#reads.round)', 'if (!progress)')],
    killedBy: ['raft/senders'],
  },
  {
    name: 'an entry that nobody can decode stops the machine',
    reason: 'no leader writes such',
    patches: [inFile('kv/command.js')("return { type: 'void', reason: error.message };", 'throw error;')],
    killedBy: ['kv/kv-state-machine', 'server/strangers'],
  },
  {
    name: 'appends make a value of any size in one batch',
    reason: 'requests are small',
    patches: [inFile('kv/kv-state-machine.js')('keys.changedBytes > FULL_BATCH_BYTES ||', '')],
    killedBy: ['kv/kv-state-machine'],
  },
  {
    name: 'nodes that are no members are remembered',
    reason: 'they may become members',
    patches: [inFile('server/known-peers.js')('if (!this.#members.has(nodeId)) return undefined;', '')],
    killedBy: ['server/strangers'],
  },
  {
    name: 'HTTP: without an admin token the machine of the node may administrate, although the cluster has a secret',
    reason: 'it is the machine of the node',
    patches: [httpAccess('if (hasClusterSecret || adminTokens.length > 0)', 'if (adminTokens.length > 0)')],
    killedBy: ['doors/http/access'],
  },
  {
    name: 'HTTP: any token is let in',
    reason: 'without a token file none is wanted',
    patches: [
      httpAccess("return unauthenticated('this node does not know the token');", 'return callerWho(false);'),
    ],
    killedBy: ['doors/http/access'],
  },
  {
    name: 'HTTP: a page of another origin may send simple requests',
    reason: 'its Host is right',
    patches: [httpAccess('return isForeign ?', 'return false ?')],
    killedBy: ['doors/http/bad-input'],
  },
  {
    name: 'HTTP: a host name may point to the machine of the node',
    reason: 'a browser resolves it',
    patches: [httpAccess('if (checksHost &&', 'if (false &&')],
    killedBy: ['doors/http/bad-input'],
  },
  {
    name: 'HTTP: requests of one connection are carried out side by side',
    reason: 'the answers come in order anyway',
    patches: [httpListener('line.last = line.last .then(', 'line.last = Promise.resolve() .then(')],
    killedBy: ['doors/http/bad-input'],
  },
];
