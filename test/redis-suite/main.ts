/**
 * `npm run test:redis [-- --follower] [FILE…]`: Redis' own test suite against the RESP door of three nodes. Prints for
 * each file how many tests passed, failed and were left out, and which failed. Exits 1 if fewer pass, of all files
 * together, than of Redis itself with every command of other types unknown.
 *
 * Nothing of the suite is in this repository. It comes from RAFTREE_REDIS_SOURCE, a folder with the unpacked source of
 * Redis 7.0; without that, from `apt-get source redis`, which needs a `deb-src` line and dpkg-dev. Where there is none,
 * or no `tclsh`, it says that it skips.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { freePorts } from '../../bench/free-ports.js';
import type { NodeConfigInput } from '../../src/server/config.js';
import { commandLine, flag } from '../support/command-line.js';
import { finish, ProcessCluster, temporaryDirectory } from '../support/process-cluster.js';

/** File, and how many of its tests Redis passes with every command of other types unknown. */
const FILES: Readonly<Record<string, number>> = {
  'unit/type/string': 51,
  'unit/type/incr': 21,
  'unit/expire': 55,
  'unit/keyspace': 33,
  'unit/multi': 21,
  'unit/scan': 5,
  'unit/quit': 3,
};
/** What needs a server's inside, another type's encoding, or long. */
const LEFT_OUT = [
  ...['needs:debug', 'needs:repl', 'needs:save', 'needs:config-maxmemory', 'needs:config-resetstat'],
  ...['needs:reset', 'needs:pfdebug', 'needs:local-process', 'slow', 'large-memory'],
];
const FLAGS = ['--singledb', '--ignore-encoding', '--ignore-digest', '--durable'];
const FILE_LIMIT_MS = 600_000;
const MIB = 1024 * 1024;
const ESCAPE = '\u001b';

const { values, names } = commandLine({ follower: flag() }, true);
const downloads = temporaryDirectory();
try {
  const source = sourceFolder();
  if (typeof source === 'string') await runAll(source);
  else process.stdout.write(`skipped: ${source.reason}\n`);
} finally {
  fs.rmSync(downloads, { recursive: true, force: true });
}

function sourceFolder(): string | { readonly reason: string } {
  if (spawnSync('tclsh', { input: 'exit' }).status !== 0) return { reason: 'there is no tclsh' };
  const given = process.env.RAFTREE_REDIS_SOURCE;
  if (given !== undefined) {
    if (fs.existsSync(path.join(given, 'tests/test_helper.tcl'))) return given;
    return { reason: `RAFTREE_REDIS_SOURCE=${given} has no tests/test_helper.tcl` };
  }
  try {
    execFileSync('apt-get', ['source', 'redis'], { cwd: downloads, stdio: 'ignore' });
  } catch {
    return {
      reason:
        'apt-get has no source of redis (a deb-src line, apt-get update, dpkg-dev); or set RAFTREE_REDIS_SOURCE',
    };
  }
  const folder = fs.readdirSync(downloads).find((name) => fs.existsSync(path.join(downloads, name, 'tests')));
  return folder === undefined ? { reason: 'the source of redis has no tests' } : path.join(downloads, folder);
}

async function runAll(source: string): Promise<void> {
  const files = names.length > 0 ? names : Object.keys(FILES);
  const ports = await freePorts(3);
  const limits = { maxValueBytes: 8 * MIB, maxRequestBytes: 32 * MIB };
  const cluster = await ProcessCluster.create(3, { limits });
  for (const id of [1, 2, 3]) {
    const config = JSON.parse(fs.readFileSync(cluster.configFile(id), 'utf8')) as NodeConfigInput;
    const resp = { listen: `127.0.0.1:${ports[id - 1]}`, allowFlush: true };
    fs.writeFileSync(cluster.configFile(id), JSON.stringify({ ...config, resp }));
  }
  try {
    await cluster.startAll();
    const leader = await cluster.leader();
    const port = ports[(values.follower ? leader % 3 : leader - 1) as number] ?? 0;
    process.stdout.write('file                passed  failed  left out\n');
    let passed = 0;
    for (const file of files) passed += await runFile(source, file, port);
    const least = files.reduce((sum, file) => sum + (FILES[file] ?? 0), 0);
    process.stdout.write(`${passed} passed; of Redis with commands on strings alone ${least}\n`);
    if (passed < least) process.exitCode = 1;
  } finally {
    await cluster.destroy();
  }
}

/** Returns how many tests passed. */
async function runFile(source: string, file: string, port: number): Promise<number> {
  const tags = LEFT_OUT.map((tag) => `-${tag}`).join(' ');
  const args = ['tests/test_helper.tcl', '--host', '127.0.0.1', '--port', String(port), ...FLAGS];
  const child = spawn('tclsh', [...args, '--tags', tags, '--single', file], { cwd: source, stdio: 'pipe' });
  const limit = setTimeout(() => child.kill('SIGKILL'), FILE_LIMIT_MS);
  const startMs = performance.now();
  const { stdout } = await finish(child);
  clearTimeout(limit);
  const seconds = Math.round((performance.now() - startMs) / 1000);
  const lines = withoutColours(stdout.toString()).split('\n');
  const those = (mark: string) => lines.filter((line) => line.startsWith(`[${mark}]: `));
  const [passed, failed] = [those('ok'), those('err')];
  const leftOut = those('ignore').length + those('skip').length;
  const counts = [passed.length, failed.length, leftOut].map((count) => String(count).padStart(8)).join('');
  process.stdout.write(`${file.padEnd(18)}${counts}  ${seconds} s\n`);
  for (const line of failed) process.stdout.write(`    ${line.replace(/^\[err\]: | in tests\/.*$/g, '')}\n`);
  return passed.length;
}

function withoutColours(text: string): string {
  return text
    .split(ESCAPE)
    .map((part, i) => (i === 0 ? part : part.slice(part.indexOf('m') + 1)))
    .join('');
}
