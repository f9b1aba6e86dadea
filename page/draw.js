/** Pictures as SVG and lists, made of plain data. Texts go in as text, never as markup. */

const SVG = 'http://www.w3.org/2000/svg';

/** An element with attributes and children; `on…` attributes are listeners. */
export function element(name, attributes = {}, ...children) {
  const made = ['svg', 'g', 'circle', 'line', 'path', 'rect', 'text', 'title'].includes(name)
    ? document.createElementNS(SVG, name)
    : document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith('on')) made.addEventListener(key.slice(2), value);
    else if (value !== undefined && value !== false) made.setAttribute(key, value === true ? '' : value);
  }
  made.append(...children.flat().filter((child) => child !== undefined));
  return made;
}

export function number(value) {
  return Math.round(value).toLocaleString('en-US');
}

export function bytes(value) {
  const units = ['B', 'KB', 'MB', 'GB', 'TB'];
  let at = 0;
  let left = value;
  while (left >= 1000 && at < units.length - 1) {
    left /= 1000;
    at++;
  }
  return `${left < 10 && at > 0 ? left.toFixed(1) : Math.round(left)} ${units[at]}`;
}

export const ROLES = {
  leader: 'leader',
  follower: 'follower',
  candidate: 'candidate',
  preCandidate: 'asks for votes',
};

/**
 * Nodes in a circle. `nodes`: { id, role, term, reached, isSelf }, and of several tablets { leads, note }: whether it
 * leads some, and what is said in place of the term; `links`: { from, to, label, busy, cut };
 * `flights`: { from, to, at (0 to 1) }.
 */
export function drawRing(nodes, links, flights = []) {
  const center = 150;
  const places = new Map(
    nodes.map(({ id }, i) => {
      const angle = (2 * Math.PI * i) / nodes.length - Math.PI / 2;
      return [id, { x: center + 98 * Math.cos(angle), y: center + 98 * Math.sin(angle) }];
    }),
  );
  const spoken = nodes.map(({ id, role, term, reached, note }) =>
    reached ? `node ${id} ${note ?? `${ROLES[role] ?? role} in term ${term}`}` : `node ${id} not reached`,
  );
  const lowest = Math.max(center, ...[...places.values()].map(({ y }) => y)) + 58;
  const svg = element('svg', { viewBox: `0 0 300 ${lowest}`, role: 'img', 'aria-label': spoken.join(', ') });
  const labels = [];
  for (const { from, to, label, busy, cut } of links) {
    const [a, b] = [places.get(from), places.get(to)];
    if (!a || !b) continue;
    svg.append(
      element('line', {
        ...{ x1: a.x, y1: a.y, x2: b.x, y2: b.y, class: busy ? 'link busy' : 'link' },
        ...{
          stroke: cut ? 'var(--danger)' : busy ? 'var(--accent)' : 'var(--line)',
          'stroke-width': busy ? 3 : 2,
        },
        'stroke-dasharray': cut ? '3 7' : undefined,
      }),
    );
    if (label) {
      const at = { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2 };
      const width = 6.4 * label.length + 10;
      labels.push(
        element('rect', { x: at.x - width / 2, y: at.y - 10, width, height: 19, rx: 9, fill: 'var(--card)' }),
        element('text', { x: at.x, y: at.y + 4, 'text-anchor': 'middle', class: 'muted' }, label),
      );
    }
  }
  // Above all lines: of four nodes two cross.
  svg.append(...labels);
  for (const { from, to, at } of flights) {
    const [a, b] = [places.get(from), places.get(to)];
    if (!a || !b) continue;
    svg.append(
      element('circle', {
        cx: a.x + (b.x - a.x) * at,
        cy: a.y + (b.y - a.y) * at,
        r: 4,
        fill: 'var(--accent)',
      }),
    );
  }
  for (const { id, role, term, reached, isSelf, note, leads = reached && role === 'leader' } of nodes) {
    const { x, y } = places.get(id);
    const stands = reached && (role === 'candidate' || role === 'preCandidate');
    const fill = leads ? 'var(--accent)' : stands ? 'var(--tint)' : 'var(--card)';
    svg.append(
      element('circle', {
        ...{ cx: x, cy: y, r: 34, fill, 'stroke-width': 2 },
        stroke: reached ? (leads || stands ? 'var(--accent)' : 'var(--muted)') : 'var(--danger)',
        'stroke-dasharray': reached ? undefined : '4 5',
      }),
      element(
        'text',
        {
          ...{ x, y: y - 2, 'text-anchor': 'middle', 'font-weight': 650 },
          'font-size': `${id}`.length > 3 ? 13 : 17,
          class: leads ? 'on' : undefined,
        },
        `${id}`,
      ),
      element(
        'text',
        {
          ...{ x, y: y + 15, 'text-anchor': 'middle' },
          fill: 'var(--muted)',
          class: leads ? 'on' : 'muted',
        },
        reached ? (note ?? `term ${term}`) : 'silent',
      ),
    );
    if (isSelf)
      svg.append(
        element(
          'text',
          { x, y: y < center ? y - 42 : y + 51, 'text-anchor': 'middle', class: 'muted' },
          'this node',
        ),
      );
  }
  return svg;
}

/** Logs on one scale. `rows`: { name, first, snapshot, commit, applied, last }, numbers or undefined. */
export function drawTapes(rows) {
  const first = Math.min(...rows.map((row) => row.first ?? Number.POSITIVE_INFINITY));
  const last = Math.max(1, ...rows.map((row) => row.last ?? 0));
  const from = Number.isFinite(first) ? first : 1;
  const x = (index) => (1000 * Math.max(0, index - from)) / Math.max(1, last - from);
  return rows.map((row) => {
    const spoken =
      row.last === undefined
        ? `${row.name}: not known`
        : `${row.name}: last entry ${row.last}, commit ${row.commit}, applied ${row.applied}`;
    const svg = element('svg', {
      ...{ viewBox: '0 0 1000 20', preserveAspectRatio: 'none', role: 'img', 'aria-label': spoken },
    });
    const bar = (begin, end, fill) =>
      svg.append(
        element('rect', { x: x(begin), y: 3, width: Math.max(1, x(end) - x(begin)), height: 14, fill }),
      );
    bar(from, last, 'var(--soft)');
    if (row.last !== undefined) {
      bar(row.first ?? from, row.last, 'var(--tint)');
      bar(row.first ?? from, row.applied, 'var(--accent)');
      for (const [at, tall] of [
        [row.snapshot, 3],
        [row.commit, 0],
      ]) {
        if (!at) continue;
        const left = Math.min(997, Math.max(0, x(at) - 1.5));
        svg.append(
          element('rect', { x: left, y: tall, width: 3, height: 20 - 2 * tall, fill: 'var(--text)' }),
        );
      }
    }
    return element('div', { class: 'tape' }, element('span', {}, row.name), svg);
  });
}

const MIN_SHARE = 0.2;

/**
 * The keyspace as a row of tablets, as wide as their sizes. `tablets`: { id, leader, bytes, change }. Those of one
 * leader have one pattern, and those that are split or moved a bar; the list below says the same in words.
 */
export function drawKeyspace(tablets) {
  const mean = tablets.reduce((sum, { bytes: size = 0 }) => sum + size, 0) / tablets.length || 1;
  const parts = tablets.map(({ id, leader, bytes: size = 0, change }) => {
    const part = element(
      'span',
      {
        class: `tablet leader-${leader === 0 ? 'none' : leader % 4}${change ? ` changing ${change}` : ''}`,
        title: `tablet ${id}, node ${leader}${change ? `, ${change} under way` : ''}`,
      },
      tablets.length <= 24 ? `${id}` : '',
    );
    part.style.flex = `${Math.max(MIN_SHARE, size / mean)} 1 0`;
    return part;
  });
  return element('div', { class: 'keyspace', 'aria-hidden': 'true' }, parts);
}

/** `series`: { name, color, values } over the same times; undefined values are gaps. */
export function drawChart(times, series, { unit, digits, width }) {
  const height = 150;
  const known = series.flatMap(({ values }) => values.filter((value) => value !== undefined));
  const largest = Math.max(0, ...known);
  const top = largest > 0 ? niceCeiling(largest) : 1;
  const to = times.at(-1) ?? 0;
  const x = (time) => 36 + ((width - 40) * (time - (to - 600_000))) / 600_000;
  const y = (value) => height - 22 - ((height - 34) * value) / top;
  const shown = (value) =>
    value === undefined ? '–' : value.toLocaleString('en-US', { maximumFractionDigits: digits });
  const legend = element(
    'div',
    { class: 'legend' },
    series.map(({ name, color, values }) => {
      const dot = element('i');
      dot.style.background = color;
      return element('span', {}, dot, `${name} `, element('strong', {}, shown(values.at(-1))), ` ${unit}`);
    }),
  );
  const spoken = series.map(({ name, values }) => `${name} ${shown(values.at(-1))} ${unit}`).join(', ');
  const svg = element('svg', {
    viewBox: `0 0 ${width} ${height}`,
    role: 'img',
    'aria-label': `now: ${spoken}`,
  });
  for (const part of [0, 0.5, 1]) {
    svg.append(
      element('line', { x1: 36, x2: width - 4, y1: y(part * top), y2: y(part * top), stroke: 'var(--line)' }),
      element(
        'text',
        { x: 30, y: y(part * top) + 4, 'text-anchor': 'end', class: 'muted' },
        short(part * top),
      ),
    );
  }
  for (const [minutes, label] of [
    [10, '10 min ago'],
    [5, '5 min'],
    [0, 'now'],
  ]) {
    const anchor = minutes === 10 ? 'start' : minutes === 0 ? 'end' : 'middle';
    svg.append(
      element(
        'text',
        { x: x(to - minutes * 60_000), y: height - 4, 'text-anchor': anchor, class: 'muted' },
        label,
      ),
    );
  }
  for (const { color, values } of series) {
    let path = '';
    values.forEach((value, i) => {
      const isGap = value === undefined || times[i] < to - 600_000;
      if (!isGap)
        path += `${path === '' || values[i - 1] === undefined ? 'M' : 'L'}${x(times[i]).toFixed(1)} ${y(value).toFixed(1)}`;
    });
    svg.append(
      element('path', {
        d: path,
        fill: 'none',
        stroke: color,
        'stroke-width': 2,
        'stroke-linejoin': 'round',
      }),
    );
  }
  return [legend, svg];
}

function short(value) {
  if (value >= 1e6) return `${value / 1e6}M`;
  if (value >= 1000) return `${value / 1000}k`;
  return String(Number(value.toPrecision(2)));
}

function niceCeiling(value) {
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 4, 5, 10].map((factor) => factor * power).find((each) => each >= value) ?? value;
}

const MAX_FILES = 60;

/** The scale of the memtable: what it held at most. */
let memtableMaxBytes = 64_000;

/** Levels as rows of files. `working`: levels that changed just now. */
export function drawLevels({ levels, memtableBytes }, working) {
  const row = (name, files, note, isWorking) =>
    element(
      'div',
      { class: isWorking ? 'level working' : 'level' },
      element('span', {}, name),
      element('span', { class: 'files', 'aria-hidden': 'true' }, files),
      element('span', {}, note),
    );
  memtableMaxBytes = Math.max(memtableMaxBytes, memtableBytes);
  const memory = element('i', { class: 'memory' });
  memory.style.flex = `0 0 ${Math.min(100, (100 * memtableBytes) / memtableMaxBytes)}%`;
  const used = levels.findLastIndex(({ files }) => files > 0);
  return [
    row('Memtable', memory, bytes(memtableBytes), false),
    ...levels.slice(0, Math.max(2, used + 1)).map(({ files, bytes: size }, level) =>
      row(
        `Level ${level}`,
        Array.from({ length: Math.min(files, MAX_FILES) }, () => element('i')),
        files === 0 ? 'empty' : `${number(files)} ${files === 1 ? 'file' : 'files'}, ${bytes(size)}`,
        working.has(level),
      ),
    ),
  ];
}
