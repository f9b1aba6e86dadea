/**
 * `npm run build:wasm`: compiles the AssemblyScript source and writes the module as a TypeScript file, so that nobody
 * needs the compiler but who changes the source.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const SOURCE = 'src/lsm/base/assembly/lz4.ts';
const TARGET = 'src/lsm/base/lz4-wasm.ts';
const COMPILER = 'assemblyscript@0.28.20';
const FLAGS = ['-O3', '--runtime', 'stub', '--noAssert', '--importMemory', '--enable', 'simd,bulk-memory'];
const LINE_CHARACTERS = 96;

/** What the written file says about the source that it was made from. */
export function sourceHash(): string {
  return createHash('sha256')
    .update([COMPILER, ...FLAGS, readFileSync(join(root, SOURCE), 'utf8')].join('\n'))
    .digest('hex');
}

function compile(): Buffer {
  const directory = mkdtempSync(join(tmpdir(), 'raftree-wasm-'));
  try {
    const out = join(directory, 'lz4.wasm');
    const asc = ['--yes', '-p', COMPILER, 'asc', SOURCE, ...FLAGS, '--outFile', out];
    const { status, stderr } = spawnSync('npx', asc, { cwd: root, encoding: 'utf8' });
    if (status !== 0) throw new Error(`the compiler ended with ${status}: ${stderr}`);
    return readFileSync(out);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

function write(module: Buffer): void {
  const lines = module.toString('base64').match(new RegExp(`.{1,${LINE_CHARACTERS}}`, 'g')) ?? [];
  const text = [
    `/** \`${SOURCE}\` as WebAssembly, in Base64; made by \`npm run build:wasm\`. */`,
    'export const SOURCE_HASH =',
    `  '${sourceHash()}';`,
    '',
    'export const MODULE_BASE64: string = [',
    ...lines.map((line) => `  '${line}',`),
    "].join('');",
    '',
  ];
  writeFileSync(join(root, TARGET), text.join('\n'));
}

if (process.argv[1] === fileURLToPath(import.meta.url)) write(compile());
