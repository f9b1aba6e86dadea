/** Engines under the tests for authors: on a simulated disk that loses power, and on real files that are copied. */
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type EngineUnderTest, engineTests } from '../../src/engines/engine-test.js';
import type { EngineKind, StorageEngine } from '../../src/engines/storage-engine.js';
import { DiskSpace } from '../../src/env/disk-space.js';
import { silentLogger } from '../../src/env/env.js';
import { errorMessage } from '../../src/env/errors.js';
import { realEnv } from '../../src/env/real/real-env.js';
import { SimDisk } from '../../src/sim/world/disk.js';
import { SimWorld } from '../../src/sim/world/world.js';

export type Alter = (engine: StorageEngine) => StorageEngine;

const logger = silentLogger;

/** Runs every test of one kind in a world of its own; gives the names of those that failed, with what they said. */
export async function failuresInSimulation(
  kind: EngineKind,
  { alter = (engine) => engine, seed = 1 }: { readonly alter?: Alter; readonly seed?: number } = {},
): Promise<Map<string, string>> {
  const failures = new Map<string, string>();
  const count = engineTests(simulated(kind, alter, seed).subject).length;
  for (let i = 0; i < count; i++) {
    const { world, subject } = simulated(kind, alter, seed);
    const test = engineTests(subject)[i];
    if (!test) break;
    const outcome = await world.scheduler.run(
      test.run().then(() => undefined, errorMessage),
      600_000,
    );
    if (outcome !== undefined) failures.set(test.name, outcome);
  }
  return failures;
}

function simulated(kind: EngineKind, alter: Alter, seed: number) {
  const world = new SimWorld(seed);
  const disk = new SimDisk();
  const start = () =>
    world.start('n', disk, { latency: () => world.scheduler.sleep(world.random.float() * 0.1) });
  let process = start();
  let directories = 0;
  const subject: EngineUnderTest = {
    newDirectory() {
      directories++;
      process.env.fs.makeDirectory(`/data/${directories}`);
      return `/data/${directories}`;
    },
    async open(directory) {
      const { env } = process;
      return alter(await kind.open(directory, { env, logger, diskSpace: new DiskSpace(logger, env) }));
    },
    crash(_engine, directory) {
      process.kill();
      disk.powerCut(world.random);
      process = start();
      return directory;
    },
    damage(directory) {
      for (const name of process.env.fs.list(directory)) {
        disk.edit(`${directory}/${name}`, (content) => {
          for (let at = Math.min(40, content.length - 1); at < content.length; at += 500)
            content[at] = (content[at] ?? 0) ^ 1;
          return content;
        });
      }
    },
  };
  return { world, subject };
}

/** On real files; `done` removes them. */
export function onRealFiles(kind: EngineKind): { readonly subject: EngineUnderTest; done(): void } {
  const root = mkdtempSync(join(tmpdir(), 'raftree-engine-'));
  const newDirectory = () => mkdtempSync(join(root, 'd'));
  const env = realEnv();
  const subject: EngineUnderTest = {
    newDirectory,
    open: (directory) => kind.open(directory, { env, logger, diskSpace: new DiskSpace(logger, env) }),
    async crash(engine, directory) {
      const copy = newDirectory();
      cpSync(directory, copy, { recursive: true });
      await engine.close();
      return copy;
    },
    damage(directory) {
      for (const name of readdirSync(directory)) {
        const content = readFileSync(join(directory, name));
        for (let at = Math.min(40, content.length - 1); at < content.length; at += 500)
          content[at] = (content[at] ?? 0) ^ 1;
        writeFileSync(join(directory, name), content);
      }
    },
  };
  return { subject, done: () => rmSync(root, { recursive: true, force: true }) };
}
