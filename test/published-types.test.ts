/**
 * The types of the package as a user's project sees them: packed, unpacked into an empty project, and compiled
 * strictly, declarations of libraries included, with every entry and every example of README.md.
 */
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const root = fileURLToPath(new URL('../..', import.meta.url));
const project = mkdtempSync(join(tmpdir(), 'raftree-user-'));
process.on('exit', () => rmSync(project, { recursive: true, force: true }));

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as {
  readonly name: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies: Readonly<Record<string, string>>;
};
/** As a program imports them. */
const entries = Object.keys(manifest.exports)
  .filter((entry) => !entry.endsWith('.json'))
  .map((entry) => join(manifest.name, entry));

function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

function installPackage(): void {
  const modules = join(project, 'node_modules');
  mkdirSync(modules);
  run('npm', ['pack', '--ignore-scripts', '--offline', '--pack-destination', project], root);
  const [tarball = ''] = readdirSync(project).filter((name) => name.endsWith('.tgz'));
  run('tar', ['-xzf', tarball], project);
  renameSync(join(project, 'package'), join(modules, manifest.name));
  for (const name of [...Object.keys(manifest.dependencies), '@types/node']) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    symlinkSync(join(root, 'node_modules', name), join(modules, name));
  }
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
}

/** What the compiler of this repository has to say of some sources; empty if nothing. */
function compile(moduleResolution: string, sources: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(project, 'src-'));
  for (const [name, source] of Object.entries(sources)) writeFileSync(join(directory, name), source);
  const compilerOptions = {
    strict: true,
    skipLibCheck: false,
    noEmit: true,
    target: 'es2023',
    module: moduleResolution === 'nodenext' ? 'nodenext' : 'esnext',
    moduleResolution,
  };
  writeFileSync(join(directory, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc');
  return spawnSync(process.execPath, [tsc, '-p', directory], { cwd: project, encoding: 'utf8' }).stdout;
}

/** The examples of README.md that use the package, by number. */
function examples(): Record<string, string> {
  const text = readFileSync(join(root, 'README.md'), 'utf8');
  const found = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, source = '']) => source);
  return Object.fromEntries(
    found
      .filter((source) => source.includes(`'${manifest.name}`))
      .map((source, i) => [`example-${i}.ts`, source]),
  );
}

test.before(installPackage);

const importing = (entry: string) =>
  `import * as entry from '${entry}';\nexport const names: string[] = Object.keys(entry);\n`;

test('every entry compiles by itself', () => {
  for (const entry of entries) assert.is(compile('nodenext', { 'entry.ts': importing(entry) }), '', entry);
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
