/**
 * README.md's chapters on nodes, state machines and engines of a program, and the programs of examples/: each one runs,
 * and prints what its comments say.
 */
import { spawnSync } from 'node:child_process';
import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { freePorts } from '../../bench/free-ports.js';
import { isInstalled, manifest, ROOT, run } from '../support/packed.js';

const project = mkdtempSync(join(tmpdir(), 'raftree-readme-'));
test.after(() => rmSync(project, { recursive: true, force: true }));

const text = readFileSync(join(ROOT, 'README.md'), 'utf8');
const examples: (readonly [name: string, source: string])[] = [...text.matchAll(/^```ts\n(.*?)^```$/gms)]
  .map(([, source = '']) => source)
  .filter((source) => /RaftreeNode|engineTests/.test(source))
  .filter((source) => isInstalled('keyv') || !source.includes("'keyv'"))
  .map((source, i) => [`readme-${i + 1}`, source]);
for (const name of readdirSync(join(ROOT, 'examples')).filter((file) => file.endsWith('.ts')))
  examples.push([name.replace('.ts', ''), readFileSync(join(ROOT, 'examples', name), 'utf8')]);

/** With ports that nobody listens on. */
async function onFreePorts(source: string): Promise<string> {
  const addresses = [...new Set(source.match(/127\.0\.0\.1:\d+/g) ?? [])];
  const ports = await freePorts(addresses.length);
  return addresses.reduce(
    (changed, address, i) => changed.replaceAll(address, `127.0.0.1:${ports[i]}`),
    source,
  );
}

/** The comments behind `console.log`. */
function promisedLines(source: string): string[] {
  return [...source.matchAll(/console\.log\(.*\)\)?;? *\/\/ (.*)$/gm)].map(([, line = '']) => line);
}

test('the examples compile', () => {
  assert.ok(examples.length >= 7, `${examples.length} examples`);
  mkdirSync(join(project, 'node_modules'));
  symlinkSync(ROOT, join(project, 'node_modules', manifest.name));
  for (const name of ['@types', 'abstract-level', 'classic-level', 'keyv', 'sql.js'].filter(isInstalled))
    symlinkSync(join(ROOT, 'node_modules', name), join(project, 'node_modules', name));
  writeFileSync(join(project, 'package.json'), '{ "type": "module" }');
  for (const [name, source] of examples) writeFileSync(join(project, `${name}.ts`), source);
  const compilerOptions = { strict: true, target: 'es2023', module: 'nodenext', outDir: 'out', rootDir: '.' };
  writeFileSync(join(project, 'tsconfig.json'), JSON.stringify({ compilerOptions, include: ['*.ts'] }));
  run(process.execPath, [join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc'), '-p', project], project);
});

for (const [name, source] of examples) {
  test(`${name} prints what it says`, async () => {
    const compiled = readFileSync(join(project, 'out', `${name}.js`), 'utf8');
    const folder = mkdtempSync(join(project, 'run-'));
    writeFileSync(join(folder, 'example.js'), await onFreePorts(compiled));
    const { stdout, stderr, status } = spawnSync(process.execPath, ['example.js'], {
      cwd: folder,
      encoding: 'utf8',
      timeout: 60_000,
    });
    assert.is(status, 0, stderr);
    const promised = promisedLines(source);
    assert.ok(promised.length > 0, 'an example shows what it prints');
    assert.equal(stdout.trimEnd().split('\n'), promised);
  });
}

test.run();
