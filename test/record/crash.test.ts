/** The power fails before, during and after every operation of a log's life, and again while it lives on. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { errorMessage } from '../../src/env/errors.js';
import type { RecordLogOptions } from '../../src/record/record-log.js';
import type { SimDisk } from '../../src/sim/world/disk.js';
import type { Fault, FileOperation } from '../../src/sim/world/file-operation.js';
import { SeededRandom } from '../../src/sim/world/seeded-random.js';
import { type Expectation, newDisk, openLog, Script, violation } from '../support/record-lab.js';

interface Crash {
  readonly disk: SimDisk;
  readonly expected: Expectation;
  readonly at: string;
  readonly log: Partial<RecordLogOptions>;
}

/** Files made anew, and files written over or made longer in advance. */
const SETTINGS: readonly [string, Partial<RecordLogOptions>][] = [
  ['new files', {}],
  ['recycled files', { recycles: true }],
  ['recycled and preallocated files', { recycles: true, preallocateBytes: 1500 }],
  ['syncs in the background', { recycles: true, syncStepBytes: 300 }],
];

interface CrashRun {
  readonly seed: number;
  readonly steps: number;
  readonly mark: string;
  readonly clonesPerPoint: number;
  readonly fault?: (operation: FileOperation) => Fault;
  readonly log?: Partial<RecordLogOptions>;
}

/** Opens a log on the disk, runs a script on it, and gives what a power cut at every point would leave. */
async function crashes(disk: SimDisk, before: Expectation | undefined, run: CrashRun): Promise<Crash[]> {
  const random = new SeededRandom(run.seed);
  const found: Crash[] = [];
  let expected = (): Expectation => before ?? { history: [], durable: 0, removable: 0 };
  const cut = (operation: FileOperation, moment: string) => {
    const at = `seed ${run.seed}, ${moment} operation ${operation.number} (${operation.kind} ${operation.path})`;
    for (let i = 0; i < run.clonesPerPoint; i++) {
      found.push({ disk: disk.powerCutClone(random), expected: expected(), at, log: run.log ?? {} });
    }
  };
  const opened = openLog(disk, {
    maxFileBytes: 700,
    maxGroupBytes: 900,
    ...run.log,
    files: {
      fault: (operation) => {
        if (operation.kind !== 'read') cut(operation, 'before');
        return run.fault?.(operation);
      },
      latency: async (operation) => cut(operation, 'during'),
    },
  });
  const script = new Script(opened, { ...run, maxPayloadBytes: 600 });
  expected = () => script.expected();
  await script.run();
  await opened.log.close();
  return found;
}

function judge(crash: Crash): string | undefined {
  try {
    return violation(openLog(crash.disk, crash.log).recovered, crash.expected);
  } catch (error) {
    return errorMessage(error);
  }
}

function firstViolation(all: readonly Crash[]): string {
  for (const crash of all) {
    const wrong = judge(crash);
    if (wrong !== undefined) return `${crash.at}: ${wrong}`;
  }
  return '';
}

for (const [name, log] of SETTINGS) {
  test(`what was acknowledged as durable survives a power cut at any point (${name})`, async () => {
    let count = 0;
    for (let seed = 1; seed <= 25; seed++) {
      const all = await crashes(newDisk(), undefined, { seed, steps: 30, mark: 'a', clonesPerPoint: 3, log });
      count += all.length;
      assert.is(firstViolation(all), '');
    }
    assert.ok(count > 3000, `${count} crashes`);
  });

  test(`a log that was recovered and goes on survives the next cuts as well (${name})`, async () => {
    for (let seed = 101; seed <= 104; seed++) {
      const first = await crashes(newDisk(), undefined, {
        seed,
        steps: 25,
        mark: 'a',
        clonesPerPoint: 1,
        log,
      });
      const second: Crash[] = [];
      for (const [i, crash] of first.entries()) {
        const run = { seed: seed * 1000 + i, steps: 8, mark: `b${i}.`, clonesPerPoint: 1, log };
        const all = await crashes(crash.disk.clone(), crash.expected, run);
        assert.is(firstViolation(all), '', crash.at);
        second.push(...all);
      }
      for (let i = 0; i < second.length; i += 23) {
        const crash = second[i] as Crash;
        const run = { seed: seed * 2000 + i, steps: 6, mark: `c${i}.`, clonesPerPoint: 1, log };
        assert.is(firstViolation(await crashes(crash.disk.clone(), crash.expected, run)), '', crash.at);
      }
    }
  });
}

test('a log whose files begin with a preamble is never without one', async () => {
  for (let seed = 201; seed <= 215; seed++) {
    const log = { preamble: () => [Buffer.from('preamble')], ...SETTINGS[seed % 3]?.[1] };
    const all = await crashes(newDisk(), undefined, { seed, steps: 40, mark: 'a', clonesPerPoint: 2, log });
    for (const crash of all) {
      const { recovered } = openLog(crash.disk, crash.log);
      const texts = recovered.filter((text) => text !== 'preamble');
      assert.is(violation(texts, crash.expected), undefined, crash.at);
      if (crash.expected.durable > 0) assert.is(recovered[0], 'preamble', crash.at);
    }
  }
});

test('a disk that only pretends to sync is found out by these tests', async () => {
  for (const kind of ['sync', 'sync-directory']) {
    const fault = (operation: FileOperation): Fault => (operation.kind === kind ? 'ignore' : undefined);
    const all: Crash[] = [];
    for (let seed = 1; seed <= 4; seed++) {
      all.push(
        ...(await crashes(newDisk(), undefined, { seed, steps: 30, mark: 'a', clonesPerPoint: 3, fault })),
      );
    }
    assert.ok(
      all.some((crash) => judge(crash) !== undefined),
      `${kind} ignored`,
    );
  }
});

test.run();
