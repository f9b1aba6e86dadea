/**
 * The types of the package as a user's project sees them: packed, unpacked into an empty project, and compiled
 * strictly, declarations of libraries included, with every entry and every example of README.md.
 */
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { entries, isInstalled, manifest, packInto, ROOT, run } from './support/packed.js';

const project = mkdtempSync(join(tmpdir(), 'raftree-user-'));
process.on('exit', () => rmSync(project, { recursive: true, force: true }));

function installPackage(): void {
  const modules = join(project, 'node_modules');
  mkdirSync(modules);
  run('tar', ['-xzf', packInto(project)], project);
  renameSync(join(project, 'package'), join(modules, manifest.name));
  for (const name of [...Object.keys(manifest.dependencies), '@types/node', 'classic-level', 'keyv']) {
    if (!isInstalled(name)) continue;
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(ROOT, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
}

/** What the compiler of this repository has to say of some sources; empty if nothing. */
function compile(
  moduleResolution: string,
  sources: Readonly<Record<string, string>>,
  more: { readonly lib?: readonly string[] } = {},
): string {
  const directory = mkdtempSync(join(project, 'src-'));
  for (const [name, source] of Object.entries(sources)) writeFileSync(join(directory, name), source);
  const compilerOptions = {
    strict: true,
    skipLibCheck: false,
    noEmit: true,
    target: 'es2023',
    module: moduleResolution === 'nodenext' ? 'nodenext' : 'esnext',
    moduleResolution,
    ...more,
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
  return spawnSync(process.execPath, [tsc, '-p', directory], { cwd: project, encoding: 'utf8' }).stdout;
}

/** The examples of README.md that use the package, by number. */
function examples(): Record<string, string> {
  const text = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const found = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, source = '']) => source);
  return Object.fromEntries(
    found
      .filter((source) => source.includes(`'${manifest.name}`))
      .filter((source) => isInstalled('keyv') || !source.includes("'keyv'"))
      .map((source, i) => [`example-${i}.ts`, source]),
  );
}

test.before(installPackage);

const importing = (entry: string) =>
  `import * as entry from '${entry}';\nexport const names: string[] = Object.keys(entry);\n`;

test('every entry compiles by itself, also without the types of a browser', () => {
  for (const entry of entries)
    assert.is(compile('nodenext', { 'entry.ts': importing(entry) }, { lib: ['es2023'] }), '', entry);
  assert.ok(entries.length >= 5, String(entries));
});

test('the examples of README.md compile', () => {
  const text = Object.values(examples()).join('');
  for (const entry of ['raftree/lsm', 'raftree/level', 'raftree/client']) assert.match(text, `'${entry}'`);
  assert.is(compile('nodenext', examples()), '');
});

test('all of it compiles for a bundler', () => {
  const all = Object.fromEntries(entries.map((entry, i) => [`entry-${i}.ts`, importing(entry)]));
  assert.is(compile('bundler', { ...all, ...examples() }), '');
});

test('what is wrong does not compile', () => {
  const errors = compile('nodenext', {
    'wrong.ts': `import { LsmTree } from 'raftree/lsm';\n(await LsmTree.open('a')).getSync(7);\n`,
    'missing.ts': importing('raftree/none'),
  });
  assert.match(errors, /wrong\.ts.*not assignable/);
  assert.match(errors, /missing\.ts.*raftree\/none/);
});

test.run();
