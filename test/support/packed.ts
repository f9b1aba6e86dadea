/** The package as it is published: packed, and what is in it. */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The repository's. */
export const ROOT = fileURLToPath(new URL('../../..', import.meta.url));

export const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly name: string;
  readonly version: string;
  readonly exports: Readonly<Record<string, unknown>>;
  readonly dependencies: Readonly<Record<string, string>>;
};

/** Whether a package that only tests use is there. */
export function isInstalled(name: string): boolean {
  return existsSync(join(ROOT, 'node_modules', name));
}

/** What a program may import. */
export const entries: readonly string[] = Object.keys(manifest.exports)
  .filter((entry) => !entry.endsWith('.json'))
  .map((entry) => join(manifest.name, entry));

/** Runs a command to its end; throws with what it said if it fails. */
export function run(command: string, args: readonly string[], cwd: string): string {
  const { status, stdout, stderr, error } = spawnSync(command, args, { cwd, encoding: 'utf8' });
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ended with ${status}: ${stdout}${stderr}`);
  return stdout;
}

/** Packs what is built into a directory that holds no other package; returns the tarball's path. */
export function packInto(directory: string): string {
  run('npm', ['pack', '--ignore-scripts', '--offline', '--pack-destination', directory], ROOT);
  const [tarball] = readdirSync(directory).filter((name) => name.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack has made no package');
  return join(directory, tarball);
}
