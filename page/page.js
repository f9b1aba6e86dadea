/** The page of a node: what /v1/live tells, drawn; keys and members by the other routes. */
import {
  bytes,
  drawChart,
  drawKeyspace,
  drawLevels,
  drawRing,
  drawTapes,
  element,
  number,
  ROLES,
} from './draw.js';

const at = (id) => document.getElementById(id);
const MAX_POINTS = 300;
const RECONNECT_MS = 500;

let token = sessionStorage.getItem('token');
let points = [];
let before;

async function ask(path, options = {}) {
  const authorization = token ? { authorization: `Bearer ${token}` } : {};
  const answer = await fetch(path, { ...options, headers: { ...authorization, ...options.headers } });
  if (answer.status !== 401) return answer;
  await signIn();
  return ask(path, options);
}

let signing;
function signIn() {
  signing ??= new Promise((resolve) => {
    const dialog = at('signin');
    dialog.addEventListener(
      'close',
      () => {
        token = dialog.querySelector('input').value.trim();
        sessionStorage.setItem('token', token);
        signing = undefined;
        resolve();
      },
      { once: true },
    );
    dialog.showModal();
  });
  return signing;
}
// Escape would only ask again.
at('signin').addEventListener('cancel', (event) => event.preventDefault());

/** The problem of an answer as an error. */
async function checked(answer) {
  if (answer.ok) return answer;
  const { detail, code } = await answer.json().catch(() => ({}));
  throw Object.assign(new Error(detail ?? `the node answered ${answer.status}`), { code });
}

// --- the feed ---

async function follow() {
  for (;;) {
    try {
      const answer = await checked(await ask('/v1/live'));
      await read(answer, (name, data) => {
        if (name === 'history') points = data.points;
        else if (name === 'view') draw(data);
      });
      show('this node is closing', 'off');
    } catch (error) {
      show(error.code ? error.message : 'this node does not answer', 'off');
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
}

function show(text, state) {
  const live = at('live');
  if (live.textContent !== text) live.textContent = text;
  live.className = state;
}

/** The server-sent events of an answer, until it ends. */
async function read(answer, take) {
  let text = '';
  for (const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader(); ; ) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const events = text.split('\n\n');
    text = events.pop();
    for (const event of events) {
      const name = /^event: (\w+)$/m.exec(event)?.[1];
      const data = /^data: (.*)$/m.exec(event)?.[1];
      if (data !== undefined) take(name, JSON.parse(data));
    }
  }
}

function draw(view) {
  show('live', 'on');
  at('where').textContent = `${view.clusterId}, seen by node ${view.self}, version ${view.version}`;
  drawCluster(view);
  drawLog(view);
  drawTablets(view);
  drawStorage(view);
  if (view.point && view.point.atMs !== points.at(-1)?.atMs)
    points = [...points, view.point].slice(-MAX_POINTS);
  drawCharts();
  before = view;
}

/** The leader that most nodes of the newest term name. */
function leaderOf({ nodes }) {
  return nodes.filter(({ role, reached }) => reached && role === 'leader').sort((a, b) => b.term - a.term)[0];
}

/** Who leads, in words: of several tablets each has a leader. */
function leadersOf({ tablets }, leader) {
  if (!hasSeveral({ tablets }))
    return leader ? `Node ${leader.id} leads in term ${leader.term}` : 'No leader: an election is under way';
  const counts = new Map();
  for (const { leader: id } of tablets.shown) counts.set(id, (counts.get(id) ?? 0) + 1);
  const led = [...counts].filter(([id]) => id !== 0).sort(([a], [b]) => a - b);
  const without = counts.has(0) ? `, ${counts.get(0)} without a leader` : '';
  return `${tablets.count} tablets: ${led.map(([id, count]) => `node ${id} leads ${count}`).join(', ')}${without}`;
}

function drawCluster(view) {
  const leader = leaderOf(view);
  const reached = view.nodes.filter((node) => node.reached).length;
  const silent = view.nodes.length - reached;
  const quorum = silent > 0 ? `, ${silent} of ${view.nodes.length} silent` : '';
  setText(at('headline'), `${leadersOf(view, leader)}${quorum}`);
  document.title = `${leader ? `Node ${leader.id} leads` : 'No leader'} – Raftree`;
  const several = hasSeveral(view);
  at('ring').replaceChildren(
    drawRing(
      view.nodes.map((node) => ({
        ...node,
        isSelf: node.id === view.self,
        ...(several && node.reached ? { leads: node.leads > 0, note: `leads ${node.leads}` } : {}),
      })),
      linksOf(view),
    ),
  );
  drawNodes(view, leader, several);
}

function hasSeveral({ tablets }) {
  return tablets !== undefined && tablets.count > 1;
}

function linksOf(view) {
  const pairs = view.nodes.flatMap((a) => view.nodes.filter((b) => b.id > a.id).map((b) => [a.id, b.id]));
  const seconds = before ? Math.max(0.1, (view.atMs - before.atMs) / 1000) : undefined;
  return pairs.map(([from, to]) => {
    const other = from === view.self ? to : to === view.self ? from : undefined;
    const now = view.traffic.find(({ peer }) => peer === other);
    const then = before?.traffic.find(({ peer }) => peer === other);
    if (!now || !then || !seconds) return { from, to };
    const rate = (now.sent - then.sent + now.received - then.received) / seconds;
    return { from, to, busy: rate > 0, label: rate > 0 ? `${number(rate)}/s` : undefined };
  });
}

function setText(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

/** Of a cluster with one tablet, and with several: then a node leads some, and what it holds of logs is a sum. */
const TITLES = {
  one: ['Node', 'Role', 'Term', 'Match', 'Lag', 'Actions'],
  several: ['Node', 'State', 'Tablets', 'Leads', 'Lag', 'Actions'],
};

/** Rows stay while their node does, so that the focus stays on its buttons. */
function drawNodes(view, leader, several) {
  const titles = several ? TITLES.several : TITLES.one;
  [...at('titles').children].forEach((cell, i) => {
    setText(cell, titles[i]);
  });
  const body = at('nodes');
  const wanted = view.nodes.map(({ id }) => `${id}`);
  if ([...body.children].map((row) => row.dataset.id).join() !== wanted.join())
    body.replaceChildren(...view.nodes.map(({ id }) => nodeRow(id)));
  view.nodes.forEach((node, i) => {
    const [name, role, term, match, lag, actions] = body.children[i].children;
    setText(name, `${node.id}`);
    name.title = node.client;
    const [meter, text] = match.children;
    const measure = (value, most) => {
      meter.hidden = value === undefined;
      if (value !== undefined) {
        meter.max = Math.max(1, most);
        meter.value = value;
      }
      setText(text, value === undefined ? '–' : number(value));
    };
    const [transfer, drain] = actions.firstChild.children;
    drain.hidden = !several;
    setText(drain, node.isDraining ? 'Take part' : 'Drain');
    drain.setAttribute('aria-label', `${node.isDraining ? 'Let take part again' : 'Drain'}: node ${node.id}`);
    if (several) {
      setText(role.firstChild, stateOf(node));
      role.firstChild.className = `role ${node.reached ? (node.isDraining ? 'draining' : '') : 'gone'}`;
      setText(term, node.reached ? number(node.holds) : '–');
      measure(node.reached ? node.leads : undefined, view.tablets.count);
      setText(lag, node.lag === undefined ? '–' : number(node.lag));
      transfer.disabled = !node.reached || node.holds === 0 || node.leads === view.tablets.count;
      return;
    }
    const title = node.reached ? (ROLES[node.role] ?? node.role) : 'silent';
    setText(role.firstChild, node.isVoter ? title : `${title}, learner`);
    role.firstChild.className = `role ${node.reached ? node.role : 'gone'}`;
    setText(term, node.reached ? `${node.term}` : '–');
    const own = leader?.id === node.id;
    const held = own ? leader.last : leader?.matches.find(({ id }) => id === node.id)?.matchIndex;
    measure(held, leader?.last ?? 1);
    setText(lag, held === undefined || own ? '–' : number(Math.max(0, leader.last - held)));
    transfer.disabled = own || !node.reached || !node.isVoter;
  });
}

/** As `raftree node list` says it. */
function stateOf({ reached, isDraining, holds }) {
  if (!reached) return isDraining ? 'silent, drains' : 'silent';
  if (!isDraining) return 'takes part';
  return holds > 0 ? 'drains' : 'drained';
}

function nodeRow(id) {
  return element(
    'tr',
    { 'data-id': id },
    element('td'),
    element('td', {}, element('span', { class: 'role' })),
    element('td'),
    element('td', {}, element('meter', { min: 0, 'aria-label': `match of node ${id}` }), element('span')),
    element('td'),
    element(
      'td',
      { class: 'last' },
      element(
        'span',
        { class: 'row' },
        element(
          'button',
          { 'aria-label': `Make leader: node ${id}`, onclick: () => transfer(id) },
          'Make leader',
        ),
        element('button', { onclick: () => drain(id), hidden: '' }, 'Drain'),
        element(
          'button',
          { class: 'danger', 'aria-label': `Remove node ${id}`, onclick: () => remove(id) },
          'Remove',
        ),
      ),
    ),
  );
}

const INDEXES = [
  ['first', 'first entry'],
  ['snapshot', 'snapshot'],
  ['applied', 'applied'],
  ['commit', 'commit'],
  ['last', 'last entry'],
];

function drawLog(view) {
  if (hasSeveral(view)) {
    drawLogs(view);
    return;
  }
  const [group] = view.groups;
  at('log').replaceChildren(
    ...INDEXES.map(([name, label]) =>
      element('div', {}, element('span', {}, label), element('b', {}, number(group.log[name]))),
    ),
    element('div', {}, element('span', {}, 'keys, about'), element('b', {}, number(group.keys))),
  );
  const rows = view.nodes.map(({ id, commit, applied, last }) => ({
    ...{ name: `Node ${id}`, commit, applied, last },
    ...(id === view.self ? group.log : {}),
  }));
  at('tapes').replaceChildren(...drawTapes(rows));
}

/** Where a tablet begins, in words; by hash the hash. */
function startOf({ start, startBase64 }, by) {
  if (start === '') return 'the first';
  if (by === 'hash') {
    const raw = start ?? atob(startBase64);
    return [...raw].map((char) => char.charCodeAt(0).toString(16).padStart(2, '0')).join('');
  }
  return start ?? `base64 ${startBase64}`;
}

const MAX_LOGS = 12;

/** Of several tablets: their logs on this node. */
function drawLogs({ self, groups }) {
  const logs = groups.slice(0, MAX_LOGS).map(({ id, log }) => ({ name: `Tablet ${id}`, ...log }));
  const cut = groups.length > MAX_LOGS ? `, the first ${MAX_LOGS} of ${groups.length}` : '';
  at('log').replaceChildren(element('div', {}, element('b', {}, `Of the tablets on node ${self}${cut}`)));
  at('tapes').replaceChildren(...drawTapes(logs));
}

let tabletsDrawn;

/** A cluster of one tablet has nothing to show here. */
function drawTablets({ tablets }) {
  at('map').hidden = !hasSeveral({ tablets });
  if (at('map').hidden) return;
  const { by, count, shown, changes } = tablets;
  const text = JSON.stringify(tablets);
  if (text === tabletsDrawn) return;
  tabletsDrawn = text;
  const cut = count > shown.length ? `, the first ${shown.length} shown` : '';
  setText(at('by'), `${count} by ${by}${cut}; as wide as what they hold here`);
  setText(at('from-title'), by === 'hash' ? 'From hash' : 'From key');
  const changing = new Map(changes.map((change) => [change.tablet, change]));
  at('keyspace').replaceChildren(
    drawKeyspace(shown.map((tablet) => ({ ...tablet, change: changing.get(tablet.id)?.type }))),
  );
  drawChanges(tablets);
  drawBalancing(tablets);
  at('tablets').replaceChildren(
    ...shown.map((tablet) =>
      element(
        'tr',
        {},
        element('td', {}, `${tablet.id}`),
        element('td', { class: 'key' }, startOf(tablet, by).slice(0, 60)),
        element('td', {}, tablet.leader === 0 ? 'none known' : `node ${tablet.leader}`),
        element('td', {}, tablet.keys === undefined ? 'not here' : number(tablet.keys)),
        element('td', {}, tablet.bytes === undefined ? '–' : bytes(tablet.bytes)),
        element('td', {}, tablet.nodes?.join(', ') ?? 'all'),
        element('td', {}, changing.has(tablet.id) ? changeText(changing.get(tablet.id), by) : ''),
      ),
    ),
  );
}

/** What is under way with a tablet, in words. */
function changeText({ type, from, to, at, atBase64 }, by) {
  if (type === 'move') return `moves from node ${from ?? '?'} to node ${to ?? '?'}`;
  if (type !== 'split') return type;
  return `is split at ${startOf({ start: at, startBase64: atBase64 }, by).slice(0, 60)}`;
}

/** Spoken once for each change, and not with each new size. */
function drawChanges({ changes, changesCount, by }) {
  const said = changes.map((change) => `Tablet ${change.tablet} ${changeText(change, by)}.`);
  if (changesCount > changes.length) said.push(`And ${number(changesCount - changes.length)} more.`);
  const list = at('underway');
  if (list.dataset.said === said.join(' ')) return;
  list.dataset.said = said.join(' ');
  list.replaceChildren(
    ...(said.length > 0 ? said : ['No tablet is split or moved now.']).map((text) => element('p', {}, text)),
  );
}

function drawStorage(view) {
  const target = at('lsm');
  if (!view.lsm) {
    target.textContent = 'The storage engine of this node tells nothing of itself.';
    return;
  }
  const { lsm } = view;
  const working = new Set();
  lsm.levels.forEach(({ files, bytes: size }, level) => {
    const then = before?.lsm?.levels[level];
    if (then && (then.files !== files || then.bytes !== size)) working.add(level);
  });
  const stall = lsm.stalled ? ` Writes wait: ${lsm.stalled}.` : '';
  const flushes = `flushes: ${number(lsm.flushes)}`;
  const compactions = `compactions: ${number(lsm.compactions)}, ${bytes(lsm.compactedBytes)} written`;
  target.replaceChildren(
    ...drawLevels(lsm, working),
    element('p', { class: 'note' }, `${flushes}; ${compactions}, ${bytes(lsm.pendingBytes)} to do.${stall}`),
  );
}

let drawnAtMs;
function drawCharts() {
  const last = points.at(-1)?.atMs ?? Date.now();
  if (last === drawnAtMs) return;
  drawnAtMs = last;
  const times = points.map(({ atMs }) => atMs);
  const values = (name) => points.map((point) => point[name]);
  const chart = (target, series, look) =>
    target.replaceChildren(
      ...drawChart(times, series, { ...look, width: Math.max(240, target.clientWidth) }),
    );
  chart(
    at('throughput'),
    [
      { name: 'entries applied', color: 'var(--accent)', values: values('writesPerSecond') },
      { name: 'reads here', color: 'var(--muted)', values: values('readsPerSecond') },
    ],
    { unit: '/s', digits: 0 },
  );
  chart(
    at('latency'),
    [
      { name: 'commit p50', color: 'var(--accent)', values: values('commitP50Ms') },
      { name: 'p99', color: 'var(--second)', values: values('commitP99Ms') },
      { name: 'disk sync p99', color: 'var(--muted)', values: values('syncP99Ms') },
    ],
    { unit: 'ms', digits: 1 },
  );
}

// --- members ---

function confirmed(question, consequence, agree) {
  const dialog = at('confirm');
  setText(at('question'), question);
  setText(at('consequence'), consequence);
  setText(at('agree'), agree);
  dialog.returnValue = 'no';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => resolve(dialog.returnValue === 'yes'), { once: true });
  });
}

const JSON_TYPE = { 'content-type': 'application/json' };

async function transfer(to) {
  const consequence = `Writes wait for a moment while node ${to} takes over.`;
  if (!(await confirmed(`Make node ${to} the leader?`, consequence, 'Transfer'))) return;
  await told(
    `Node ${to} leads.`,
    () => ask('/v1/cluster/transfer', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify({ to }) }),
    at('changed'),
  );
}

async function drain(id) {
  const isDraining = before?.nodes.find((node) => node.id === id)?.isDraining;
  const [question, consequence, agree] = isDraining
    ? [`Let node ${id} take part again?`, 'Tablets may be moved to it again.', 'Take part']
    : [
        `Drain node ${id}?`,
        'It gives its tablets to other nodes, one after the other, and gets none.',
        'Drain',
      ];
  if (!(await confirmed(question, consequence, agree))) return;
  await told(
    isDraining ? `Node ${id} takes part.` : `Node ${id} gives its tablets away.`,
    () => ask(`/v1/nodes/${id}/drain`, { method: isDraining ? 'DELETE' : 'POST' }),
    at('changed'),
  );
}

/** Undefined: the node does not say it, or the cluster keeps no map. */
function drawBalancing({ isBalanced }) {
  at('balancing').hidden = isBalanced === undefined;
  const [state, button] = at('balancing').children;
  setText(state, isBalanced ? 'Balancing is on.' : 'Balancing is off: only nodes that drain are emptied.');
  setText(button, isBalanced ? 'Switch it off' : 'Switch it on');
}

at('balancing').lastElementChild.addEventListener('click', async () => {
  const isOn = !before?.tablets?.isBalanced;
  const [question, consequence, agree] = isOn
    ? ['Switch balancing on?', 'Replicas and leaders are moved, and dead nodes are replaced.', 'Switch on']
    : ['Switch balancing off?', 'Dead nodes are not replaced until it is on again.', 'Switch off'];
  if (!(await confirmed(question, consequence, agree))) return;
  await told(
    async (answer) => {
      const { steps, furtherSteps } = await answer.json();
      return stepsTold(isOn, steps.length + furtherSteps);
    },
    () => ask('/v1/balance', { method: 'PUT', headers: JSON_TYPE, body: JSON.stringify({ isOn }) }),
    at('balanced'),
  );
});

function stepsTold(isOn, steps) {
  const count = steps === 1 ? '1 step' : `${steps} steps`;
  if (steps === 0) return `Balancing is ${isOn ? 'on' : 'off'}; there is nothing to do.`;
  return isOn ? `Balancing is on: ${count} to do.` : `Balancing is off: it would do ${count}.`;
}

async function remove(id) {
  const consequence =
    'It takes no more requests and holds no more copies. To come back it starts with an empty folder.';
  if (!(await confirmed(`Remove node ${id} from the cluster?`, consequence, `Remove node ${id}`))) return;
  await told(
    `Node ${id} is removed.`,
    () => ask(`/v1/cluster/members/${id}`, { method: 'DELETE' }),
    at('changed'),
  );
}

at('add').addEventListener('submit', async (event) => {
  event.preventDefault();
  const fields = new FormData(event.target);
  const id = Number(fields.get('id'));
  const body = { id, client: fields.get('client'), peer: fields.get('peer'), learner: fields.has('learner') };
  if (
    !(await confirmed(
      `Add node ${id}?`,
      'It gets a copy of everything, and a voter counts for majorities.',
      'Add',
    ))
  )
    return;
  await told(
    `Node ${id} is a member.`,
    () => ask('/v1/cluster/members', { method: 'POST', headers: JSON_TYPE, body: JSON.stringify(body) }),
    at('changed'),
  );
});

/** Says in words how it went. */
async function told(done, act, place = at('said')) {
  const say = (text, state = '') => {
    place.textContent = text;
    place.className = `said ${state}`;
  };
  say('…');
  try {
    const result = await checked(await act());
    say(typeof done === 'function' ? await done(result) : done);
  } catch (error) {
    say(error.message, 'bad');
  }
}

// --- keys ---

/** A key is text, or bytes that are no text: then its field shows them as base64 and is not edited. */
let chosen;
let cursor;

function pathOf(key) {
  if (key.keyBase64 === undefined) return `/v1/kv/${encodeURIComponent(key.key)}`;
  const hex = [...atob(key.keyBase64)].map((char) => `%${char.charCodeAt(0).toString(16).padStart(2, '0')}`);
  return `/v1/kv/${hex.join('')}`;
}

function keyInForm() {
  const shown = at('entry').elements.key.value;
  return chosen?.keyBase64 !== undefined && shown === chosen.shown ? chosen : { key: shown };
}

async function scan(isMore) {
  await told(
    async (answer) => {
      const found = await answer.json();
      cursor = found.cursor;
      const items = found.entries.map(item);
      if (isMore) at('keys').append(...items);
      else at('keys').replaceChildren(...items);
      at('more').hidden = cursor === null;
      const count = at('keys').children.length;
      return count === 0
        ? 'No keys there yet: put one.'
        : `${number(count)} keys${cursor === null ? '' : ', and more'}.`;
    },
    () => {
      const query = new URLSearchParams({ limit: '50', level: 'follower' });
      const prefix = at('scan').elements.prefix.value;
      if (prefix !== '') query.set('prefix', prefix);
      if (isMore) query.set('cursor', cursor);
      return ask(`/v1/kv?${query}`);
    },
  );
}

function item(entry) {
  const shown = entry.key ?? `base64 ${entry.keyBase64}`;
  const value = entry.value ?? `${entry.valueBase64?.length ?? 0} characters of base64`;
  const button = element(
    'button',
    {
      type: 'button',
      onclick: () => {
        for (const other of at('keys').querySelectorAll('[aria-current]'))
          other.removeAttribute('aria-current');
        button.setAttribute('aria-current', 'true');
        chosen = { ...entry, shown };
        at('entry').elements.key.value = shown;
        get();
      },
    },
    element('span', { class: 'key' }, shown),
    element('span', { class: 'value' }, value.slice(0, 200)),
  );
  return element('li', {}, button);
}

const MAX_SHOWN_BYTES = 64 * 1024;

function get() {
  const field = at('entry').elements.value;
  return told(
    async (answer) => {
      const data = new Uint8Array(await answer.arrayBuffer());
      field.value = new TextDecoder().decode(data.subarray(0, MAX_SHOWN_BYTES));
      const cut =
        data.length > MAX_SHOWN_BYTES ? `, of which the first ${bytes(MAX_SHOWN_BYTES)} are shown` : '';
      return `${bytes(data.length)}${cut}, version ${answer.headers.get('etag')?.replaceAll('"', '')}.`;
    },
    () => ask(pathOf(keyInForm())),
  );
}

at('scan').addEventListener('submit', (event) => {
  event.preventDefault();
  scan(false);
});
at('more').addEventListener('click', () => scan(true));
at('entry').addEventListener('submit', async (event) => {
  event.preventDefault();
  const key = keyInForm();
  const { value } = at('entry').elements.value;
  await told(
    (answer) => `Put, version ${answer.headers.get('etag')?.replaceAll('"', '')}.`,
    () => ask(pathOf(key), { method: 'PUT', body: value }),
  );
});
at('entry').elements.get.addEventListener('click', () => {
  if (at('entry').reportValidity()) get();
});
at('entry').elements.delete.addEventListener('click', async () => {
  if (!at('entry').reportValidity()) return;
  const key = keyInForm();
  const name = at('entry').elements.key.value;
  if (!(await confirmed(`Delete ${name}?`, 'Its value is gone on every node.', 'Delete'))) return;
  await told('Deleted.', () => ask(pathOf(key), { method: 'DELETE' }));
});

// --- watch ---

const MAX_CHANGES = 100;
let watched;

/** Follows the changes of the prefix until it is pressed again. */
async function watch() {
  const ending = new AbortController();
  watched = ending;
  const prefix = at('scan').elements.prefix.value;
  at('watch').setAttribute('aria-pressed', 'true');
  at('watching').hidden = false;
  at('changes').replaceChildren();
  at('said').className = 'said';
  at('said').textContent = prefix === '' ? 'Watching all keys.' : `Watching ${prefix}…`;
  const query = prefix === '' ? '' : `?${new URLSearchParams({ prefix })}`;
  try {
    const answer = await checked(await ask(`/v1/watch${query}`, { signal: ending.signal }));
    await read(answer, (name, data) => {
      if (name === 'end') throw new Error(data.detail ?? 'The node tells no more changes.');
      if (['put', 'delete', 'expire'].includes(name)) showChange(name, data);
    });
    at('said').textContent = 'The watch has ended.';
  } catch (error) {
    if (!ending.signal.aborted) {
      at('said').textContent = error.message;
      at('said').className = 'said bad';
    }
  } finally {
    ending.abort();
    if (watched === ending) {
      watched = undefined;
      at('watch').setAttribute('aria-pressed', 'false');
    }
  }
}

function showChange(name, change) {
  const key = change.key ?? `base64 ${change.keyBase64}`;
  const value = change.value ?? (change.valueBase64 === undefined ? '' : `base64 ${change.valueBase64}`);
  const line = element(
    'li',
    {},
    element('b', {}, name),
    element('span', { class: 'key' }, key),
    element('span', { class: 'value' }, value.slice(0, 200)),
  );
  at('changes').prepend(line);
  if (at('changes').children.length > MAX_CHANGES) at('changes').lastChild.remove();
}

at('watch').addEventListener('click', () => {
  if (watched) {
    watched.abort();
    at('said').textContent = 'The watch has ended.';
  } else watch();
});

// What scrolls is reached by the keyboard, too.
for (const region of document.querySelectorAll('.scroll')) region.tabIndex = 0;
follow();
scan(false);
