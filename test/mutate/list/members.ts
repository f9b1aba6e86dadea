/** Mutations of what keeps operators' mistakes, copied folders and wrong addresses out. */
import { inFile, type Mutation } from '../mutation.js';

const admin = inFile('server/admin.js');
const connection = inFile('server/peer-connection.js');
const known = inFile('server/known-peers.js');
const members = inFile('server/member-context.js');
const peers = inFile('server/peers.js');
const plan = inFile('server/member-plan.js');

export const MEMBER_MUTATIONS: readonly Mutation[] = [
  {
    name: 'adding a voter as a learner demotes it',
    reason: 'the operator has said so',
    patches: [plan('(isMoved || wasVoter !== wantsVoter)', 'false')],
    killedBy: ['server/member-checks'],
  },
  {
    name: 'the quorum after a change is not asked for',
    reason: 'the present quorum is there',
    patches: [plan("[after.voters, 'the voters that there would be'],", '')],
    killedBy: ['server/member-checks'],
  },
  {
    name: 'who was heard lately is heard',
    reason: 'an election timeout has not passed yet',
    patches: [peers('&& this.isConnected(node)', '')],
    killedBy: ['server/member-checks'],
  },
  {
    name: 'a learner that is heard may vote',
    reason: 'it will catch up',
    patches: [admin('if (behind(node) > 0)', 'if (false)')],
    killedBy: ['server/member-checks'],
  },
  {
    name: 'whoever answers at the address of a new member is it',
    reason: 'nobody else would',
    patches: [peers('hello.nodeId === node ?', 'true ?')],
    killedBy: ['server/member-checks', 'server/member-identity'],
  },
  {
    name: 'node.json counts more than the log',
    reason: 'it is edited by hand',
    patches: [members("client: client || (inFile?.client ?? '')", 'client: inFile?.client ?? client')],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'a folder that a newer configuration has is refused',
    reason: 'another one is known here',
    patches: [known('&& memberAt(shown) <= this.#index', '')],
    killedBy: ['server/absent-voter'],
  },
  {
    name: 'a node counts as a member with whatever folder it has',
    reason: 'its id is there',
    patches: [
      inFile('server/member-view.js')(
        'members.includes(nodeId) && decodeMemberContext(configuration.contexts[nodeId]).storeId === storeId',
        'members.includes(nodeId)',
      ),
    ],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'a folder for which only its node speaks is kept',
    reason: 'it was let in',
    patches: [known('this.#ahead.add(nodeId);', 'this.#ahead.add(nodeId); if (false)')],
    killedBy: ['server/known-peers'],
  },
  {
    name: 'a removed member’s folder is remembered',
    reason: 'its id might come back',
    patches: [inFile('server/member-view.js')('if (gone.length > 0)', 'if (false)')],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'a start that was used before is welcome',
    reason: 'the folder is the same',
    patches: [
      known("if (starts < before.starts || (starts === before.starts && before.run !== ''))", 'if (false)'),
    ],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'a second run is listened to beside the first',
    reason: 'the first may be gone',
    patches: [connection('if (!other.#said || other.#said.run === said.run) continue;', 'continue;')],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'a folder without what it acknowledged is welcome',
    reason: 'the leader sends it again',
    patches: [known('if (lastIndex >= held)', 'if (true)')],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'what a member acknowledged is forgotten in a restart',
    reason: 'it will acknowledge again',
    patches: [known('z.record(z.string(), index)', 'z.record(z.string(), index.transform(() => 0))')],
    killedBy: ['server/member-identity'],
  },
  {
    name: 'a folder need only have what it acknowledged of the first tablet',
    reason: 'the others are shorter',
    patches: [
      known('Object.entries(before.holds)', "Object.entries(before.holds).filter(([id]) => id === '1')"),
    ],
    killedBy: ['server/tablets'],
  },
];
