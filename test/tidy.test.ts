/** The house's rules, held against every source; and each rule held against sources that break it. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SCHEDULES } from './sim/schedules/schedules.js';
import {
  codeOf,
  type Exemption,
  FLOORS,
  floorProblems,
  importsOf,
  lockFileProblems,
  longLineProblems,
  namedFileProblems,
  type PackageManifest,
  packageProblems,
  seamProblems,
  styleProblems,
  unusedExemptions,
} from './support/house-rules.js';

/** Where the world is reached without `env`, and why. */
const EXEMPTIONS: readonly Exemption[] = [
  {
    where: 'src/cli/',
    allowed: ['node:fs', 'node:os', 'node:url', 'node:child_process'],
    reason:
      'what a command line is for: files that the user names, a folder for a demo, and nodes as processes',
  },
  {
    where: 'src/cli/',
    allowed: ['performance', 'setTimeout'],
    reason: 'progress shown to people and waiting for processes to end; never simulated',
  },
  {
    where: 'src/security/',
    allowed: ['node:crypto'],
    reason: 'an HMAC, a hash and a comparison in constant time are functions of their inputs',
  },
  {
    where: 'src/doors/http/',
    allowed: ['node:http'],
    reason: "node:http's server makes its sockets itself; the simulator has no HTTP door",
  },
  {
    where: 'src/lsm/compaction/table-worker-entry.ts',
    allowed: ['node:worker_threads'],
    reason: 'where a thread of the real world begins: it has no env but the one it makes',
  },
  {
    where: 'src/sim/world/scheduler.ts',
    allowed: ['process.nextTick', 'setImmediate'],
    reason: 'it is the env: promises are settled between two events of virtual time',
  },
  {
    where: 'src/sim/world/room-env.ts',
    allowed: ['setTimeout', 'setImmediate'],
    reason: 'it is the env: tests of one room have a simulated disk and real timers',
  },
];

const root = fileURLToPath(new URL('../..', import.meta.url));

function readSources(folder: string): Map<string, string> {
  const sources = new Map<string, string>();
  if (!fs.existsSync(path.join(root, folder))) return sources;
  for (const entry of fs.readdirSync(path.join(root, folder), { recursive: true })) {
    const file = `${folder}/${String(entry)}`;
    if (file.endsWith('.ts')) sources.set(file, fs.readFileSync(path.join(root, file), 'utf8'));
  }
  return sources;
}

const src = readSources('src');
const everything = new Map([...src, ...readSources('test'), ...readSources('bench')]);

/** Every Markdown page, by its path. */
const pages = new Map(
  ['.', 'docs', 'bench', 'data'].flatMap((folder) =>
    fs
      .readdirSync(path.join(root, folder))
      .filter((name) => name.endsWith('.md'))
      .map((name) => path.posix.join(folder, name))
      .map((page): [string, string] => [page, fs.readFileSync(path.join(root, page), 'utf8')]),
  ),
);

function problemsIn(sources: ReadonlyMap<string, string>, rule: (file: string, source: string) => string[]) {
  return [...sources].flatMap(([file, source]) => rule(file, source)).join('\n');
}

test('there are sources to look at', () => {
  assert.ok(src.has('src/env/env.ts'));
  assert.ok(everything.has('test/tidy.test.ts'));
});

test('rooms import only from lower floors', () => {
  assert.is(problemsIn(src, floorProblems), '');
});

test('only env/ touches the world', () => {
  assert.is(
    problemsIn(src, (file, source) => seamProblems(file, source, EXEMPTIONS)),
    '',
  );
});

test('every exemption is needed', () => {
  assert.is(unusedExemptions(src, EXEMPTIONS).join('\n'), '');
});

test('no any, default export, barrel, unfinished work or hidden test', () => {
  assert.is(problemsIn(everything, styleProblems), '');
});

test('the package depends on what its sources import, and contains no simulator', () => {
  const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as PackageManifest;
  assert.is(packageProblems(src, manifest).join('\n'), '');
});

test('the pages of the API are made of every entry of the package', () => {
  const read = (name: string): unknown => JSON.parse(fs.readFileSync(path.join(root, name), 'utf8'));
  const { exports } = read('package.json') as { exports: Record<string, string | { types: string }> };
  const entries = Object.values(exports).flatMap((entry) => (typeof entry === 'string' ? [] : [entry.types]));
  const { entryPoints } = read('docs/typedoc.json') as { entryPoints: string[] };
  const source = (types: string) => types.replace('./dist/', '../').replace('.d.ts', '.ts');
  assert.equal([...entryPoints].sort(), entries.map(source).sort());
});

test('the rule of the package sees what is missing and what is too much', () => {
  const sources = new Map([
    ['src/kv/a.ts', `import { b } from 'b/deep';\nimport '@scope/c/deep';\nimport 'node:path';`],
    ['src/sim/a.ts', `import 'only-in-tests';`],
  ]);
  const files = ['dist/src', '!dist/src/sim'];
  const right = { files, dependencies: { b: '1' }, optionalDependencies: { '@scope/c': '1' } };
  assert.equal(packageProblems(sources, right), []);
  assert.equal(packageProblems(sources, { ...right, dependencies: {} }), ['src/kv/a.ts: b is no dependency']);
  assert.equal(packageProblems(sources, { ...right, dependencies: { b: '1', d: '1' } }), [
    'd is a dependency that nothing imports',
  ]);
  assert.equal(packageProblems(sources, { ...right, files: ['dist/src'] }), ['the package contains sim/']);
});

test('the lock file says what, not from where', () => {
  assert.is(lockFileProblems(fs.readFileSync(path.join(root, 'package-lock.json'), 'utf8')).join('\n'), '');
});

test('prose fits on a line, in comments and on pages', () => {
  for (const page of ['README.md', 'docs/formats.md', 'bench/README.md']) assert.ok(pages.has(page), page);
  assert.is(problemsIn(new Map([...everything, ...pages]), longLineProblems), '');
});

test('the files that pages name are there', () => {
  const files = [...everything.keys()];
  assert.is(
    problemsIn(pages, (page, text) => namedFileProblems(page, text, files)),
    '',
  );
  const text = '`kv/a.ts`, `a.ts`, `test/kv/b.ts`; not `raft/a.ts`, `c.ts`, `kv/a.ts` or `v/a.ts`';
  assert.equal(namedFileProblems('p.md', text, ['src/kv/a.ts', 'test/kv/b.ts']), [
    'p.md: there is no raft/a.ts',
    'p.md: there is no c.ts',
    'p.md: there is no v/a.ts',
  ]);
});

test('docs/simulator.md tells of every schedule', () => {
  const text = pages.get('docs/simulator.md') ?? '';
  const told = [...text.matchAll(/^\| (`\w+`.*?) \|/gm)].flatMap((row) => row[1]?.match(/\w+/g) ?? []);
  assert.equal(told.sort(), SCHEDULES.map(({ name }) => name).sort());
});

test('the rule of long lines sees comments and prose, not code, tables and listings', () => {
  const long = 'x'.repeat(121);
  const at = (text: string, file = 'a.ts') =>
    longLineProblems(file, text).map((problem) => problem.split(':')[1]);
  assert.equal(at(`// ${long}\nconst a = 1; // ${long}\n/*\n * ${long}\n */`), ['1', '2', '4']);
  assert.equal(at(`const a = '${long}';\nconst b = \`// ${long}\`;\n// ${'x'.repeat(117)}`), []);
  const page = `${long}\n| ${long} |\n\`\`\`\n${long}\n\`\`\`\n- ${long}`;
  assert.equal(at(page, 'a.md'), ['1', '6']);
});

/** A source that holds a template literal, with `@{` for its opening. */
const template = (source: string) => source.replaceAll('@{', '\u0024{');

test('the rule of the floors sees every kind of import', () => {
  const bad = [
    `import { a } from '../lsm/a.js';`,
    `import type { A } from '../lsm/a.js';`,
    `import {\n  a,\n  type B,\n} from '../lsm/a.js';`,
    `import '../lsm/a.js';`,
    `export { a } from '../lsm/a.js';`,
    `export * from '../lsm/a.js';`,
    `const a = await import('../lsm/a.js');`,
    `type A = import('../lsm/a.js').A;`,
    `new Worker(new URL('../lsm/worker.js', import.meta.url));`,
  ];
  for (const source of bad) {
    assert.equal(floorProblems('src/record/x.ts', source).length, 1, `upwards: ${source}`);
    assert.equal(floorProblems('src/raft/x.ts', source).length, 1, `sideways: ${source}`);
    assert.equal(floorProblems('src/raft-log/x.ts', source), [], `downwards: ${source}`);
    assert.equal(
      floorProblems('src/raft/deep/x.ts', source.replaceAll('../lsm', '..')),
      [],
      `at home: ${source}`,
    );
  }
  assert.is(floorProblems('src/helpers.ts', '').length, 1, 'a file outside the rooms');
  assert.is(floorProblems('src/kv/x.ts', `import '../../test/support/x.js';`).length, 1, 'out of the house');
  assert.equal(floorProblems('src/index.ts', `export * from './lsm/index.js';`), []);
  assert.equal(
    floorProblems('src/record/x.ts', `// import '../lsm/a.js';\nconst s = "import '../lsm/a.js'";`),
    [],
  );
  for (const [room, floor] of Object.entries(FLOORS)) {
    if (floor > 0) assert.equal(floorProblems(`src/${room}/x.ts`, `import '../env/env.js';`), []);
  }
});

test('kv knows no wire, and a door knows no other door', () => {
  for (const room of ['protocol', 'doors/native', 'client', 'server'])
    assert.equal(floorProblems('src/kv/x.ts', `import type { A } from '../${room}/a.js';`).length, 1, room);
  assert.equal(
    floorProblems('src/doors/native/x.ts', `import '../../kv/a.js';\nimport '../../protocol/a.js';`),
    [],
  );
  assert.equal(floorProblems('src/doors/native/x.ts', `import '../ports.js';`), []);
  assert.equal(floorProblems('src/doors/ports.ts', `import './native/a.js';`).length, 1);
  assert.equal(floorProblems('src/doors/native/x.ts', `import '../other/a.js';`).length, 1, 'another door');
});

test('the rule of the floors holds within a room that has inner floors', () => {
  const upwards = `import { a } from '../compaction/a.js';`;
  assert.equal(floorProblems('src/lsm/read/x.ts', upwards).length, 1, 'upwards');
  assert.equal(floorProblems('src/lsm/write/x.ts', upwards), [], 'downwards');
  assert.equal(floorProblems('src/lsm/compaction/x.ts', `import { a } from './a.js';`), [], 'at home');
  assert.equal(floorProblems('src/lsm/table/x.ts', `import '../memtable/a.js';`).length, 1, 'sideways');
  assert.equal(floorProblems('src/lsm/table/x.ts', `import '../lsm-tree.js';`).length, 1, 'the front');
  assert.equal(
    floorProblems('src/lsm/read/x.ts', `import '../options.js';`),
    [],
    'a file with its own floor',
  );
  assert.equal(floorProblems('src/lsm/x.ts', `import './tools/a.js';`), [], 'the front is above all');
  assert.equal(
    floorProblems('src/lsm/odd/x.ts', `import '../base/a.js';`).length,
    1,
    'a folder without a floor',
  );
});

test('the rule of the seam sees modules, globals and calls', () => {
  const bad = [
    `import * as fs from 'node:fs';`,
    `import fs from 'fs';`,
    `import { readFile } from 'fs/promises';`,
    `const { randomBytes } = await import('node:crypto');`,
    `const now = Date.now();`,
    `const d = new Date();`,
    `const t = performance.now();`,
    `const t = process.hrtime.bigint();`,
    `const { hrtime } = process;`,
    `setTimeout(() => {}, 1);`,
    `globalThis.setTimeout(run, 1);`,
    `const later = setInterval;`,
    `setImmediate(run);`,
    `queueMicrotask(run);`,
    `const r = Math.random();`,
    `const { random } = Math;`,
    `crypto.getRandomValues(bytes);`,
    `const id = globalThis.crypto.randomUUID();`,
    `const signal = AbortSignal.timeout(5);`,
    template('const text = `at @{Date.now()}`;'),
    template('const text = `@{`@{a}`} @{{ a: Math.random() }.a}`;'),
  ];
  for (const source of bad) {
    assert.equal(seamProblems('src/kv/x.ts', source, []).length, 1, source);
    assert.equal(seamProblems('src/env/real/x.ts', source, []), [], source);
  }
  const good = [
    `import * as path from 'node:path';`,
    `// Date.now()`,
    `/* setTimeout */`,
    `const s = 'Math.random()';`,
    'const s = `Math.random()`;',
    `env.clock.setTimeout; this.#performance; options.crypto;`,
    `const matches = /["'] Date.now() /.test(s);`,
    `interface A { performance: number; Date?: string }`,
    `const updated = lastDate(row);`,
  ];
  for (const source of good) assert.equal(seamProblems('src/kv/x.ts', source, []), [], source);
});

test('an exemption covers what it names, where it says, and must be needed', () => {
  const exemptions = [{ where: 'src/cli/', allowed: ['node:fs', 'Date'], reason: 'a test' }];
  const source = `import 'node:fs'; import 'node:net';`;
  assert.is(seamProblems('src/cli/x.ts', source, exemptions).length, 1);
  assert.is(seamProblems('src/kv/x.ts', source, exemptions).length, 2);
  assert.equal(unusedExemptions(new Map([['src/cli/x.ts', source]]), exemptions), [
    'src/cli/: the exemption for Date is not needed',
  ]);
});

test('the rules of style see what they forbid, and nothing else', () => {
  const unfinished = ['TO', 'DO'].join('');
  const bad = [
    `let a: any;`,
    `const a = b as any;`,
    `let a: any[] = [];`,
    `function f(a: string, ...rest: any[]): Promise<any> {}`,
    `type A = string | any;`,
    `type A = any;`,
    `let a: Map<string, any>;`,
    `export default function f() {}`,
    `export { f as default };`,
    `export * from './a.js';`,
    `export * as a from './a.js';`,
    `// ${unfinished}: later`,
    `test.only('a', () => {});`,
  ];
  for (const source of bad) assert.ok(styleProblems('src/kv/x.ts', source).length > 0, source);
  const good = [
    `// any of them`,
    `await Promise.any(all);`,
    `const any = 1;`,
    `const s = 'export default';`,
    `export { a } from './a.js';`,
    `export const a = b * c;`,
    `const only = items.only;`,
  ];
  for (const source of good) assert.equal(styleProblems('src/kv/x.ts', source), [], source);
  assert.equal(styleProblems('src/lsm/index.ts', `export * from './a.js';`), []);
  assert.equal(styleProblems('src/kv/x.ts', `// one\nlet a: any;`), ['src/kv/x.ts:2: any']);
});

test('the rule of the lock file sees addresses', () => {
  const lock = (entry: object) => JSON.stringify({ packages: { 'node_modules/a': entry } });
  assert.is(lockFileProblems(lock({ resolved: 'https://example.org/a.tgz' })).length, 1);
  assert.is(lockFileProblems(lock({ version: 'https://example.org/a-1.0.0.tgz' })).length, 1);
  assert.equal(lockFileProblems(lock({ version: '1.0.0', funding: { url: 'https://example.org/a' } })), []);
});

test('code and text are told apart', () => {
  assert.is(codeOf(`a('x\\'y', "z") // c\nb`), `a('    ', " ")     \nb`);
  assert.is(codeOf(template('`a@{b + `c@{d}`}e`')), template('` @{b + ` @{d}`} `'));
  assert.is(codeOf(`a / b / c /* d */`), `a / b / c        `);
  assert.equal(importsOf(`import a from 'a';\nimport type { B } from "b";\nexport { c } from 'c';`), [
    'a',
    'b',
    'c',
  ]);
});

test.run();
