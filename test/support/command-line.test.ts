import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { flag, oneOf, readCommandLine, someOf, text, UsageError, wholeNumber } from './command-line.js';

const OPTIONS = {
  seeds: wholeNumber(7),
  first: wholeNumber(),
  trace: text('FILE'),
  profile: oneOf(['all', 'calm'], 'all'),
  faults: someOf(['kill', 'pause']),
  json: flag(),
};

test('options that are given, and those that are not', () => {
  assert.equal(readCommandLine([], OPTIONS).values, {
    ...{ seeds: 7, first: undefined, trace: undefined, profile: 'all', faults: [], json: false },
  });
  const args = [
    '--seeds',
    '3',
    '--first=0',
    '--trace',
    'f',
    '--profile',
    'calm',
    '--faults',
    'kill,pause',
    '--json',
  ];
  assert.equal(readCommandLine(args, OPTIONS).values, {
    ...{ seeds: 3, first: 0, trace: 'f', profile: 'calm', faults: ['kill', 'pause'], json: true },
  });
  assert.equal(readCommandLine(['a', '--json', 'b'], OPTIONS, true).names, ['a', 'b']);
});

test('what is not allowed is refused, and the reason names it', () => {
  const refused = (args: readonly string[]) => {
    try {
      readCommandLine(args, OPTIONS);
    } catch (error) {
      assert.instance(error, UsageError);
      return (error as UsageError).message;
    }
    return undefined;
  };
  assert.is(refused(['--sedd', '3']), 'there is no option --sedd');
  assert.is(refused(['-s']), 'there is no option -s');
  assert.is(refused(['word']), "'word' is no option");
  assert.is(refused(['--seeds']), '--seeds needs a value');
  assert.is(refused(['--seeds', 'many']), "--seeds: 'many' is no whole number");
  assert.is(refused(['--seeds', '-1']), "--seeds: '-1' is no whole number");
  assert.is(refused(['--seeds', '1.5']), "--seeds: '1.5' is no whole number");
  assert.is(refused(['--json=yes']), '--json takes no value');
  assert.is(refused(['--profile', 'al']), "--profile: 'al' is none of all, calm");
  assert.is(refused(['--faults', 'kill,paus']), "--faults: 'paus' is none of kill, pause");
});

for (const main of [
  'sim/main',
  'mutate/main',
  'explore/main',
  'run',
  'lsm/crash-main',
  'linearizability/lincheck',
]) {
  test(`${main}: an unknown option gets one line, and exit code 2`, () => {
    const file = fileURLToPath(new URL(`../${main}.js`, import.meta.url));
    const { status, stdout, stderr } = spawnSync(process.execPath, [file, '--nonsense'], {
      encoding: 'utf8',
    });
    assert.is(status, 2);
    assert.is(stdout, '');
    assert.match(stderr, /^there is no option --nonsense; allowed: .*--\w+.*\n$/);
  });
}

test.run();
