/** Random histories with power cuts, kills and failing operations against the model; `npm run test:crash` runs many. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { generateHistory } from './crash-generator.js';
import { formatHistory, type History } from './crash-history.js';
import { runHistory } from './crash-run.js';
import { shorten } from './crash-shorten.js';

const SEEDS = 80;

test(`${SEEDS} random histories: what is recovered is a prefix, reads are right, snapshots frozen`, async () => {
  const counts = new Map<string, number>();
  const happened = (what: string) => counts.set(what, (counts.get(what) ?? 0) + 1);
  for (let seed = 1; seed <= SEEDS; seed++) {
    const history = generateHistory(seed);
    const wrong = await runHistory(history, { happened });
    if (wrong === undefined) continue;
    const short = await shorten(history, async (candidate) => (await runHistory(candidate)) !== undefined);
    assert.unreachable(`${wrong}\nshortened: ${await runHistory(short)}\n${formatHistory(short)}`);
  }
  for (const [what, least] of [
    ['power cut', 60],
    ['kill', 15],
    ['cut of a recovery', 15],
    ['fault', 60],
    ['checkpoint', 20],
    ['write at once', 20],
    ['write refused', 20],
    ['work behind', 60],
    ['closing in a hurry', 20],
    ['tables removed', 12],
  ] as const) {
    assert.ok((counts.get(what) ?? 0) >= least, `${what}: ${counts.get(what)} times`);
  }
});

test('a history runs the same way twice', async () => {
  const trace = async () => {
    const operations: string[] = [];
    const plant = ({ kind, path }: { kind: string; path: string }) => {
      operations.push(`${kind} ${path}`);
      return undefined;
    };
    assert.is(await runHistory(generateHistory(7), { plant }), undefined);
    return operations.join('\n');
  };
  const first = await trace();
  assert.ok(first.length > 5000);
  assert.is(await trace(), first);
});

test('a failing history is shortened to the steps that make it fail', async () => {
  const history = generateHistory(3, { steps: 60 });
  const writesOf = ({ steps }: History) =>
    steps.flatMap((step) => (step.kind === 'write' ? step.changes : []));
  const [, , culprit] = writesOf(history);
  let attempts = 0;
  const short = await shorten(history, async (candidate) => {
    attempts++;
    return writesOf(candidate).some((change) => change === culprit);
  });
  assert.is(short.steps.length, 1);
  assert.equal(writesOf(short), [culprit]);
  assert.ok(attempts < 200, `${attempts} attempts`);
  assert.match(formatHistory(short), /^seed 3, .*\noptions 0 .*\n(options.*\n)* {3}1 {2}write/);
});

test.run();
