/** Mutations of what a client does while tablets are merged, and after. */
import { inFile, type Mutation } from '../mutation.js';

const router = inFile('client/router.js');
const watch = inFile('client/watch.js');
const tabletWatch = inFile('client/tablet-watch.js');
const places = inFile('client/watch-places.js');
const tablets = inFile('client/tablet-cache.js');
const writer = inFile('client/session-writer.js');
const met = inFile('client/met-tablets.js');
const order = inFile('client/key-order.js');
const watches = inFile('kv/watch/watches.js');
const backend = inFile('doors/backend.js');
const history = inFile('kv/watch/change-history.js');
const MERGED_WATCH = ['client/merged-watch'];
const MERGED_WRITES = ['client/merged-writes'];

export const CLIENT_MERGE_MUTATIONS: readonly Mutation[] = [
  {
    name: 'a tablet goes on with the session of any tablet that it came from',
    reason: 'sessions are handed on',
    patches: [
      met(
        'return ancestors.filter((older) => !ancestors.some((other) => this.cameFrom(other, older)));',
        'return ancestors;',
      ),
    ],
    killedBy: ['client/merged-writes', 'client/met-tablets'],
  },
  {
    name: 'a write is sent though the one that it follows has a higher sequence now',
    reason: 'they have one session',
    patches: [order('earlier.sequence < sequence', 'true')],
    killedBy: ['client/key-order'],
  },
  {
    name: 'what has ended is forgotten as soon as there is more of it than tablets',
    reason: 'its session has gone on',
    patches: [
      writer(
        'for (const older of this.#tablets.parentsOf(id, this.#sessions.keys()))',
        'for (const older of [])',
      ),
    ],
    killedBy: MERGED_WRITES,
  },
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
  {
    name: 'a write that may be applied waits until all nodes say that its tablet is not there',
    reason: 'one that is down may have it',
    patches: [router("(target === 'holder' || call.uncertain)", "target === 'holder'")],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'a merged tablet tells a watch again what one of both has told',
    reason: 'its changes have a version from there on',
    patches: [tabletWatch('version < versionAt(places, this.part.by, key)', 'false')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'a watch goes on in a merged tablet where the one that has come further is',
    reason: 'that is where it has come to',
    patches: [places('Math.min(...versions)', 'Math.max(...versions)')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'of two writes told in part the second one is told again after a merge',
    reason: 'one version is told in part',
    patches: [watch('ended.flatMap(({ toldParts }) => toldParts)', 'ended[0]?.toldParts ?? []')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'what was merged with a tablet that has ended is followed on its own',
    reason: 'it has not ended yet',
    patches: [
      watch('(stream) => stream === before || following.some', '(stream) => stream === before || [].some'),
    ],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'a watch goes on in a merged tablet before all of both is taken',
    reason: 'what waits has lower versions',
    patches: [watch('if (isTaken) this.#open', 'this.#open')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'who takes changes waits for the rest of a write that a merge has cut off',
    reason: 'more changes come',
    patches: [watch('this.#current = undefined; this.#serve();', 'this.#current = undefined;')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'a token from between two steps of a merge has the lower version for both',
    reason: 'that lacks nothing',
    patches: [
      watch(
        'by, ...places }',
        'by, pieces: [{ ...places.pieces[0], version: lowestOf(places) }], end: places.end }',
      ),
    ],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'a watch does not hear where what a tablet became begins',
    reason: 'it has come to its last change',
    patches: [tabletWatch('if (!isGone && fromVersion !== undefined', 'if (false')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'a version that a program names counts as one that a watch has come to',
    reason: 'both are versions',
    patches: [watch('isPlain: isFirst &&', 'isPlain: false &&')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'a version of one key counts as one of several logs',
    reason: 'somebody has named it',
    patches: [watch('&& !isOneKey(this.#range)', '')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'when a merged tablet does not keep changes of some keys, all go back to there',
    reason: 'from there on it keeps them',
    patches: [
      watch(
        "why === 'ahead' ? unreached(stream.nextPlaces) : stream.nextPlaces",
        'unreached(stream.nextPlaces)',
      ),
    ],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'keys of a tablet that has not begun are told from where those of the other go on',
    reason: 'one stream has one version',
    patches: [tabletWatch('if (this.#isProbe) {', 'if (false) {')],
    killedBy: MERGED_WATCH,
  },
  {
    name: 'a write that was given up in the other session may be applied after later ones',
    reason: 'they say what was given up',
    patches: [writer('if (session === owned.session) return;', 'return;')],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'a tablet came from those only that it is a part of',
    reason: 'tablets are split',
    patches: [
      met('overlap(one, before)', 'Buffer.compare(one.start, before.start) >= 0 && overlap(one, before)'),
    ],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'keys count as those of two tablets that were merged since',
    reason: 'the map says so',
    patches: [tablets('if (ageMs >= MAX_AGE_OF_SEVERAL_MS)', 'if (false)')],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'the map is asked for at each batch that spans tablets',
    reason: 'it may have changed',
    patches: [tablets('if (ageMs >= MAX_AGE_OF_SEVERAL_MS)', '')],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'a batch that may be applied counts as not committed when its tablet was split',
    reason: 'its keys have several tablets',
    patches: [
      writer("SPANS_TABLETS, call.uncertain ? 'unknown' : 'notCommitted'", "SPANS_TABLETS, 'notCommitted'"),
    ],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'a gap in the map means another cluster',
    reason: 'nobody owns the key',
    patches: [writer('if (owned.tablet === 0) throw notKnown();', '')],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'the only tablet is that with which the cluster began',
    reason: 'there is one only',
    patches: [tablets('first.id !== FIRST_TABLET', 'false')],
    killedBy: MERGED_WRITES,
  },
  {
    name: 'a version that somebody names is a place in the logs of all that were merged',
    reason: 'the history goes back to there',
    patches: [watches('fromVersion <= mergedThrough', 'false')],
    killedBy: ['kv/watch/watches'],
  },
  {
    name: 'a part of a merged tablet forgets that it has versions of several logs',
    reason: 'it is one tablet',
    patches: [
      history(
        'this.mergedThrough = Math.max(this.mergedThrough, ...before.map(({ mergedThrough }) => mergedThrough));',
        '',
      ),
    ],
    killedBy: ['kv/watch/watches'],
  },
  {
    name: 'FLUSHALL gives up when a tablet is split meanwhile',
    reason: 'a write has one tablet',
    patches: [
      inFile('doors/resp/keyspace.js')(
        "if (!(error instanceof RaftreeClientError) || error.code !== 'SPANS_TABLETS') throw error;",
        'throw error;',
      ),
    ],
    killedBy: ['server/doors'],
  },
  {
    name: 'a door says that a tablet is frozen, or has ended',
    reason: 'this node leads it',
    patches: [backend('!leadsNoMore(result) && !isOfOthers(result)', '!leadsNoMore(result)')],
    killedBy: ['doors/write-line'],
  },
  {
    name: 'a door gives a scan up when a tablet ends meanwhile',
    reason: 'whoever asked may ask again',
    patches: [backend('if (!isWrongTablet(error)) throw error;', 'throw error;')],
    killedBy: ['server/doors'],
  },
  {
    name: 'a scan over a door begins anew when a tablet ends meanwhile',
    reason: 'the tablets are others now',
    patches: [backend('last ? rangeAfter(range, last, reverse) : range', 'range')],
    killedBy: ['server/doors'],
  },
];
