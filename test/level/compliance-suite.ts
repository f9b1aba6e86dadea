/**
 * node dist/test/level/compliance-suite.js raftree|classic
 *
 * Runs the test suite that abstract-level publishes for its implementations against one of them, and prints TAP.
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ClassicLevel } from 'classic-level';
import tape from 'tape';
import { RaftreeLevel } from '../../src/level/index.js';

type Factory = (options?: object) => ClassicLevel | RaftreeLevel;
/** It has no types. */
const suite = createRequire(import.meta.url)('abstract-level/test') as (options: {
  test: typeof tape;
  factory: Factory;
}) => void;

const base = mkdtempSync(join(tmpdir(), 'raftree-compliance-'));
process.on('exit', () => rmSync(base, { recursive: true, force: true }));
const newDirectory = () => mkdtempSync(join(base, 'db-'));

const factories: Readonly<Record<string, Factory>> = {
  raftree: (options) => new RaftreeLevel(newDirectory(), options),
  classic: (options) => new ClassicLevel(newDirectory(), options),
};
const factory = factories[process.argv[2] ?? ''];
if (!factory) throw new Error(`one of ${Object.keys(factories).join(', ')} must be named`);
suite({ test: tape, factory });
