/** A recorded run as a function of the number of events that have happened: pure, so that tests and the page use it. */

const SNAPSHOT_EVERY = 2000;
/** A message that has not arrived by then counts as lost. */
const LOST_AFTER_MS = 3000;

/** The tablet of events that name none: there is one. */
const ONLY = 'only';
/** Of a node that has no replica. */
const NO_GROUP = {
  ...{ isHeld: false, role: 'follower', term: 0, leader: 0 },
  ...{ last: 0, commit: 0, applied: 0 },
};

const NODE = /^n\d+(?:copy)?$/;

/** `events`: { t, who, what, … } in order, as `npm run sim -- --trace` writes them. */
export function runOf(events) {
  const names = new Set();
  const tablets = new Set();
  for (const { who, tablet } of events) {
    if (!NODE.test(who)) continue;
    names.add(who);
    if (tablet !== undefined) tablets.add(tablet);
  }
  const hosts = [...names].sort((a, b) => a.localeCompare(b, 'en', { numeric: true }));
  const snapshots = [first(hosts)];
  const state = first(hosts);
  events.forEach((event, i) => {
    if (i > 0 && i % SNAPSHOT_EVERY === 0) snapshots.push(structuredClone(state));
    happen(state, event);
  });
  const broken = events.findIndex(({ who, what }) => who === 'world' && what === 'broken');
  return {
    events,
    hosts,
    broken: broken < 0 ? undefined : broken,
    /** Raft groups by their ids, 0 the map; none are named in a run of a cluster with one tablet. */
    tablets: [...tablets].sort((a, b) => a - b),
    /** How things stood after so many events. Of `tablet` are roles, logs and messages: of that or of the only one. */
    after(count, tablet = ONLY) {
      const from = Math.min(Math.floor(count / SNAPSHOT_EVERY), snapshots.length - 1);
      const found = structuredClone(snapshots[from]);
      for (let i = from * SNAPSHOT_EVERY; i < count; i++) happen(found, events[i]);
      const nodes = Object.entries(found.nodes).map(([host, { groups, ...node }]) => [
        host,
        { ...node, ...(groups[tablet] ?? NO_GROUP) },
      ]);
      return {
        ...found,
        nodes: Object.fromEntries(nodes),
        flights: found.flights.filter((flight) => flight.tablet === tablet),
      };
    },
  };
}

function first(hosts) {
  return {
    nodes: Object.fromEntries(
      hosts.map((host) => [
        host,
        {
          ...{ life: 'off', files: {}, writes: 0, syncs: 0, disk: '' },
          /** By tablet: what its replica here is like. */
          groups: {},
        },
      ]),
    ),
    /** `from>to` of links that pass nothing. */
    cuts: {},
    /** Messages of Raft under way: { tablet, from, to, type, sentMs }. */
    flights: [],
  };
}

/** What ends or begins the life of a node's process, and how it is called then. */
const LIVES = {
  start: 'starting',
  up: 'up',
  kill: 'killed',
  'switched off': 'off',
  end: 'ended',
  close: 'closing',
  closed: 'closed',
  pause: 'paused',
  resume: 'up',
  failed: 'failed',
};
const DEAD = new Set(['killed', 'off', 'ended', 'closed', 'failed']);

export function isAlive({ life }) {
  return !DEAD.has(life);
}

function happen(state, event) {
  const { who, what } = event;
  if (what === 'net.cut') state.cuts[who] = true;
  else if (what === 'net.mend') delete state.cuts[who];
  else if (state.nodes[who]) happenAt(state, state.nodes[who], event);
}

function happenAt(state, node, event) {
  const { who, what, t, tablet = ONLY } = event;
  if (what.startsWith('raft.')) node.groups[tablet] ??= { ...NO_GROUP, isHeld: true };
  const group = node.groups[tablet];
  if (LIVES[what] !== undefined) {
    node.life = LIVES[what];
    if (!isAlive(node) || what === 'start') {
      for (const each of Object.values(node.groups)) each.role = 'follower';
      state.flights = state.flights.filter(({ to }) => to !== who);
    }
  } else if (what === 'raft.status') {
    group.role = event.role;
    group.term = event.term;
    group.leader = event.leader;
  } else if (what === 'raft.append') {
    group.term = event.term ?? group.term;
    group.commit = Math.max(group.commit, event.commit ?? 0);
    if (event.entries > 0) group.last = event.first + event.entries - 1;
  } else if (what === 'raft.apply' || what === 'raft.applied') {
    // Of entries, or of a snapshot that was taken over.
    const index = what === 'raft.apply' ? event.last : event.input.index;
    group.applied = index;
    group.commit = Math.max(group.commit, index);
    group.last = Math.max(group.last, index);
  } else if (what === 'raft.send') {
    state.flights = state.flights.filter(({ sentMs }) => sentMs > t - LOST_AFTER_MS);
    state.flights.push({ tablet, from: who, to: `n${event.to}`, type: event.message.type, sentMs: t });
  } else if (what === 'raft.receive') {
    const { type } = event.message;
    const at = state.flights.findIndex(
      (flight) =>
        flight.tablet === tablet &&
        flight.from === `n${event.from}` &&
        flight.to === who &&
        flight.type === type,
    );
    if (at >= 0) state.flights.splice(at, 1);
  } else if (what.startsWith('disk.')) atDisk(node, event);
}

function atDisk(node, { what, path, sizeBytes }) {
  const kind = what.slice('disk.'.length);
  if (kind === 'create' || kind === 'rename') node.files[path] = true;
  else if (kind === 'unlink') delete node.files[path];
  else if (kind === 'write') node.writes++;
  else if (kind.startsWith('sync')) node.syncs++;
  if (kind !== 'read')
    node.disk = `${kind} ${path.replace(/^\/data\//, '')}${sizeBytes === undefined ? '' : `, ${sizeBytes} B`}`;
}

/** What a reader looks for: lives, leaders, faults; not messages, disks and calls. */
export function isNotable({ who, what, role }) {
  if (what === 'raft.status') return role === 'leader' || role === 'candidate';
  if (who === 'world' || what === 'net.cut' || what === 'net.mend') return true;
  return LIVES[what] !== undefined;
}

/** An event in a few words. */
export function wordsOf({ t: _t, who, what, message, ...fields }) {
  const rest = Object.entries(fields)
    .map(([name, value]) => `${name} ${typeof value === 'object' ? JSON.stringify(value) : value}`)
    .join(', ');
  const said = message === undefined ? '' : typeof message === 'string' ? message : message.type;
  return { who, what, rest: [said, rest].filter((each) => each !== '').join(', ') };
}
