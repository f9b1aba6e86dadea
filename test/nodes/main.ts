/**
 * npm run test:nodes [-- MAJOR…]
 *
 * Fetches other major versions of Node.js (22 and 24) from npm's registry into a temporary folder, and runs a smoke
 * test of the built package on each. Not part of `npm test`, because it downloads some 50 MB per version.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const SMOKE = fileURLToPath(new URL('./smoke.js', import.meta.url));
const PLATFORMS: Readonly<Record<string, string>> = { win32: 'win' };

function run(command: string, args: readonly string[]): boolean {
  const { status, error } = spawnSync(command, args, { stdio: 'inherit' });
  if (error) console.error(error.message);
  return status === 0;
}

/** The binary of a major version; undefined if it could not be fetched. */
function fetchNode(major: string, directory: string): string | undefined {
  const name = `node-${PLATFORMS[process.platform] ?? process.platform}-${process.arch}`;
  const options = ['--prefix', directory, '--no-save', '--no-audit', '--no-fund', '--ignore-scripts'];
  if (!run('npm', ['install', ...options, `${name}@${major}`])) return undefined;
  return join(directory, 'node_modules', name, 'bin', process.platform === 'win32' ? 'node.exe' : 'node');
}

const majors = process.argv.length > 2 ? process.argv.slice(2) : ['22', '24'];
const failed: string[] = [];
for (const major of majors) {
  const directory = mkdtempSync(join(tmpdir(), 'raftree-node-'));
  try {
    const binary = fetchNode(major, directory);
    if (!binary || !run(binary, [SMOKE])) failed.push(major);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
console.log(failed.length === 0 ? `passed on ${majors.join(', ')}` : `failed on ${failed.join(', ')}`);
process.exitCode = failed.length === 0 ? 0 : 1;
