/** What the tests of the database share. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { errorCode } from '../../src/env/errors.js';

/** A directory that is there while `use` runs. */
export async function withDirectory(use: (directory: string) => Promise<void>): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'raftree-level-'));
  try {
    await use(join(directory, 'db'));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}

/** The codes of an error and of its causes, outermost first. */
export function codesOf(error: unknown): string[] {
  const code = errorCode(error);
  const cause = error instanceof Error ? error.cause : undefined;
  return [...(code === undefined ? [] : [code]), ...(cause === undefined ? [] : codesOf(cause))];
}

/** The codes that a promise rejects with. */
export async function rejection(promise: Promise<unknown>): Promise<string[]> {
  try {
    await promise;
  } catch (error) {
    return codesOf(error);
  }
  throw new Error('it was expected to fail');
}

/** How many turns the event loop made while something was under way, and what came of it. */
export async function countingTurns<T>(work: () => Promise<T>): Promise<[turns: number, result: T]> {
  let turns = 0;
  let isRunning = true;
  const count = () => {
    turns++;
    if (isRunning) setImmediate(count);
  };
  setImmediate(count);
  try {
    return await work().then((result) => [turns, result]);
  } finally {
    isRunning = false;
  }
}
