/** The page of a recorded run: a time line to scrub, play and step, and how things stood at that moment. */
import { drawRing, drawTapes, element, number, ROLES } from './draw.js';
import { isAlive, isNotable, runOf, wordsOf } from './run.js';

const at = (id) => document.getElementById(id);
const SHOWN_BEFORE = 60;
const SHOWN_AFTER = 8;
const FRAME_MS = 80;
const FLIGHT_MS = 30;

let run;
let count = 0;
let playing;
/** Which is shown, in a run of several. */
let tablet;

async function load() {
  const answer = await fetch('/run.jsonl');
  const lines = (await answer.text()).split('\n').filter((line) => line !== '');
  run = runOf(lines.map((line) => JSON.parse(line)));
  const { events, broken } = run;
  at('live').textContent = `${number(events.length)} events`;
  at('live').className = broken === undefined ? 'on' : 'off';
  const scrub = at('scrub');
  scrub.max = events.length;
  drawLine();
  const of = broken === undefined ? undefined : [...events.slice(0, broken + 1)].reverse();
  tablet = of?.find((event) => event.tablet !== undefined)?.tablet ?? run.tablets.find((id) => id > 0);
  at('choice').hidden = run.tablets.length === 0;
  at('tablet').replaceChildren(
    ...run.tablets.map((id) =>
      element('option', { value: id, selected: id === tablet }, id === 0 ? 'the map' : `tablet ${id}`),
    ),
  );
  const elected = events.findIndex(({ what, role }) => what === 'raft.status' && role === 'leader');
  show(broken === undefined ? elected + 1 : broken + 1);
}

function timeOf(index) {
  return run.events[Math.max(0, Math.min(index, run.events.length - 1))]?.t ?? 0;
}

/** Marks of what is notable over the scrubber, by the number of the event. */
function drawLine() {
  const { events, broken } = run;
  const svg = element('svg', { viewBox: '0 0 1000 16', preserveAspectRatio: 'none', 'aria-hidden': 'true' });
  events.forEach((event, i) => {
    if (!isNotable(event)) return;
    const x = (1000 * i) / events.length;
    const fill = event.what === 'raft.status' ? 'var(--accent)' : 'var(--muted)';
    svg.append(element('rect', { x, y: 4, width: 1.5, height: 8, fill }));
  });
  if (broken !== undefined)
    svg.append(
      element('rect', {
        x: (1000 * broken) / events.length - 2,
        y: 0,
        width: 4,
        height: 16,
        fill: 'var(--danger)',
      }),
    );
  at('line').replaceChildren(svg);
}

function show(wanted) {
  count = Math.max(1, Math.min(wanted, run.events.length));
  const state = run.after(count, tablet);
  const nowMs = timeOf(count - 1);
  const scrub = at('scrub');
  scrub.value = count;
  scrub.setAttribute('aria-valuetext', `event ${count}, ${(nowMs / 1000).toFixed(3)} seconds`);
  at('clock').textContent =
    `${(nowMs / 1000).toFixed(3)} s, event ${number(count)} of ${number(run.events.length)}`;
  const nodes = Object.entries(state.nodes);
  const isBroken = run.broken !== undefined && count > run.broken;
  const leader = nodes
    .filter(([, node]) => isAlive(node) && node.role === 'leader')
    .sort((a, b) => b[1].term - a[1].term)[0];
  const { rule, detail } = isBroken ? run.events[run.broken] : {};
  at('headline').textContent = isBroken
    ? `Broken: ${rule}. ${detail ?? ''}`
    : leader
      ? `${leader[0]} leads${tablet > 0 ? ` tablet ${tablet}` : tablet === 0 ? ' the map' : ''} in term ${leader[1].term}`
      : 'No leader';
  at('headline').className = isBroken ? 'bad' : '';
  at('ring').replaceChildren(
    drawRing(
      nodes.map(([id, node]) => ({ id, ...node, reached: isAlive(node), ...lackOf(node) })),
      linksOf(state),
      state.flights.map(({ from, to, sentMs }) => ({
        from,
        to,
        at: Math.min(0.85, 0.2 + (nowMs - sentMs) / FLIGHT_MS),
      })),
    ),
  );
  const logs = nodes.map(([name, node]) => (node.isHeld ? { name, first: 1, ...node } : { name }));
  at('tapes').replaceChildren(...drawTapes(logs));
  at('disks').replaceChildren(...nodes.map(diskRow));
  drawEvents();
}

function lackOf({ isHeld }) {
  return tablet === undefined || isHeld ? {} : { note: 'no replica', leads: false };
}

function linksOf({ cuts }) {
  const pairs = run.hosts.flatMap((a, i) => run.hosts.slice(i + 1).map((b) => [a, b]));
  return pairs.map(([from, to]) => {
    const [there, back] = [cuts[`${from}>${to}`], cuts[`${to}>${from}`]];
    const label =
      there && back ? 'cut' : there ? `${from} to ${to} cut` : back ? `${to} to ${from} cut` : undefined;
    return { from, to, cut: there || back, label };
  });
}

function diskRow([name, node]) {
  const state = isAlive(node) && node.life === 'up' ? (ROLES[node.role] ?? node.role) : node.life;
  const kind = isAlive(node) ? node.role : 'gone';
  const cells = [Object.keys(node.files).length, node.writes, node.syncs].map((value) =>
    element('td', {}, number(value)),
  );
  return element(
    'tr',
    {},
    ...[
      element('td', {}, name),
      element('td', {}, element('span', { class: `role ${kind}` }, state)),
      ...cells,
    ],
    element('td', { class: 'last' }, node.disk),
  );
}

function drawEvents() {
  const from = Math.max(0, count - SHOWN_BEFORE);
  const items = run.events.slice(from, count + SHOWN_AFTER).map((event, i) => {
    const index = from + i;
    const { who, what, rest } = wordsOf(event);
    const kind =
      index === run.broken ? 'broken' : index >= count ? 'later' : isNotable(event) ? 'notable' : '';
    return element(
      'li',
      { class: kind, 'aria-current': index === count - 1 ? 'step' : undefined },
      element('span', { class: 'time' }, (event.t / 1000).toFixed(3)),
      element('strong', {}, who),
      ` ${what} `,
      element('span', { class: 'rest' }, rest.slice(0, 300)),
    );
  });
  const list = at('events');
  list.replaceChildren(...items);
  const current = list.querySelector('[aria-current]');
  const box = list.parentElement;
  if (current) box.scrollTop = current.offsetTop - box.clientHeight + 70;
}

function stop() {
  clearInterval(playing);
  playing = undefined;
  at('play').textContent = 'Play';
}

function play() {
  if (playing !== undefined) {
    stop();
    return;
  }
  at('play').textContent = 'Pause';
  if (count >= run.events.length) count = 1;
  let nowMs = timeOf(count - 1);
  playing = setInterval(() => {
    nowMs += FRAME_MS * Number(at('speed').value);
    let next = count;
    while (next < run.events.length && run.events[next].t <= nowMs) next++;
    if (next !== count) show(next);
    if (next >= run.events.length) stop();
  }, FRAME_MS);
}

function nextNotable() {
  const found = run.events.findIndex((event, i) => i >= count && isNotable(event));
  show(found < 0 ? run.events.length : found + 1);
}

const still = (act) => () => {
  if (!run) return;
  stop();
  act();
};
at('scrub').addEventListener(
  'input',
  still(() => show(Number(at('scrub').value))),
);
at('step').addEventListener(
  'click',
  still(() => show(count + 1)),
);
at('back').addEventListener(
  'click',
  still(() => show(count - 1)),
);
at('notable').addEventListener('click', still(nextNotable));
at('end').addEventListener(
  'click',
  still(() => show(run.broken === undefined ? run.events.length : run.broken + 1)),
);
at('tablet').addEventListener('change', () => {
  tablet = Number(at('tablet').value);
  show(count);
});
at('play').addEventListener('click', () => run && play());
for (const region of document.querySelectorAll('.scroll')) region.tabIndex = 0;
load().catch((error) => {
  at('headline').textContent = `This run cannot be read: ${error.message}`;
  at('live').className = 'off';
});
