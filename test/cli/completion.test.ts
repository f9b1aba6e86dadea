/** The completion scripts, run by the shells that are there, against the tree of commands. */
import { spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import * as path from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fishScript } from '../../src/cli/completion/fish.js';
import { type Place, placesOf } from '../../src/cli/completion/places.js';
import { bashScript, zshScript } from '../../src/cli/completion/posix.js';
import { expectedAt } from '../../src/cli/expected.js';
import { buildProgram } from '../../src/cli/program.js';
import { raftree, temporaryDirectory } from '../support/process-cluster.js';
import { hasTerminals, Terminal } from '../support/terminal.js';

const program = buildProgram(false, () => {});
const places = placesOf(program);
const isThere = (shell: string) => spawnSync(shell, ['-c', 'exit 0']).status === 0;
let directory: string;

test.before(() => {
  directory = temporaryDirectory();
  fs.mkdirSync(path.join(directory, 'sub'));
  for (const name of ['a b.json', 'c.json']) fs.writeFileSync(path.join(directory, name), '');
  for (const [name, script] of Object.entries({ bash: bashScript, zsh: zshScript, fish: fishScript }))
    fs.writeFileSync(path.join(directory, `_${name}`), script(places));
});

test.after(() => fs.rmSync(directory, { recursive: true }));

/** What bash offers for each of these lists of words; the last word of a list is the one to complete. */
function offered(lists: readonly (readonly string[])[]): string[][] {
  const quoted = (word: string) => `'${word}'`;
  const script = `cd '${directory}'; source ./_bash
    t() { COMP_WORDS=(raftree "$@"); COMP_CWORD=$#; _raftree; printf '%s\\t' "\${COMPREPLY[@]}"; printf '\\n'; }
    ${lists.map((words) => `t ${words.map(quoted).join(' ')}`).join('\n')}`;
  const { stdout, stderr } = spawnSync('bash', ['-c', script], { encoding: 'utf8' });
  assert.is(stderr, '');
  return stdout
    .trimEnd()
    .split('\n')
    .map((line) => line.split('\t').filter((word) => word !== ''));
}

test('bash offers what the tree of commands has, at every place', () => {
  const wordsOf = ({ path: at }: Place) => at.split('/').filter((word) => word !== '');
  const lists = places.flatMap((place) => [
    [...wordsOf(place), ''],
    [...wordsOf(place), '-'],
    [...wordsOf(place), '--', '-'],
    ...place.valued.flatMap(({ names }) => names.map((name) => [...wordsOf(place), name, ''])),
    [...wordsOf(place), 'value', ''],
  ]);
  assert.ok(lists.length > 250, `${lists.length} lists`);
  const all = offered(lists);
  for (const [i, words] of lists.entries()) {
    const partial = words.at(-1) ?? '';
    const { words: allowed, value } = expectedAt(program, words.slice(0, -1), partial);
    const files = value === 'file' ? fs.readdirSync(directory) : value === 'folder' ? ['sub'] : [];
    const expected = [...allowed, ...files].filter((word) => word.startsWith(partial));
    assert.equal([...(all[i] ?? [])].sort(), expected.sort(), words.join(' '));
  }
});

test('bash: parts of words, --name=value, aliases, values that look like commands', () => {
  const lists: [words: string[], expected: string[]][] = [
    [['ge'], ['get']],
    [['member', 'pro'], ['promote']],
    [
      ['get', 'a', '--level', '=', 'l'],
      ['linearizable', 'lease'],
    ],
    [
      ['get', 'a', '--level', '='],
      ['linearizable', 'lease', 'follower', 'stale'],
    ],
    [['set', 'a', '--value-f'], ['--value-file']],
    [['put', 'get', '--ke'], ['--key-base64', '--keep-ttl'].filter((name) => name.startsWith('--ke'))],
    [['--version', 'tra'], ['transfer']],
    [['start', 'c'], ['c.json']],
    [
      ['completion', ''],
      ['bash', 'zsh', 'fish'],
    ],
    [['nothing', ''], []],
  ];
  const all = offered(lists.map(([words]) => words));
  for (const [i, [words, expected]] of lists.entries())
    assert.equal([...(all[i] ?? [])].sort(), [...expected].sort(), words.join(' '));
});

test('the command prints the scripts; it needs the name of a shell that it knows', async () => {
  const printed = await raftree(['completion', 'bash']);
  assert.equal([printed.code, printed.stdout.toString()], [0, bashScript(places)]);
  const wrong = await raftree(['completion', 'csh']);
  assert.is(wrong.code, 2);
  assert.match(wrong.stderr, /Allowed choices are bash, zsh, fish/);
});

/** Types each line and a tab into an interactive shell. */
async function typed(
  command: string[],
  begin: string,
  tries: readonly [line: string, shown: RegExp][],
): Promise<void> {
  const terminal = new Terminal(command, { PS1: '> ', HOME: directory, INPUTRC: '/dev/null' });
  try {
    terminal.type(`${begin}; echo be''gun\r`);
    await terminal.shows(/begun\r\n/);
    for (const [line, shown] of tries) {
      terminal.type(line);
      await terminal.shows(new RegExp(line.slice(-4)));
      terminal.type('\t');
      await terminal.shows(shown);
      terminal.type('\x15');
    }
    terminal.type('exit\r');
    await terminal.ended();
  } finally {
    terminal.kill();
  }
}

const TRIES: readonly [string, RegExp][] = [
  ['raftree stat', /us/],
  ['raftree get a --level lin', /earizable/],
  ['raftree start c.', /json/],
];

test('bash: the tab key', async () => {
  if (!hasTerminals) console.log('note: skipped: without Python there is no terminal');
  else await typed(['bash', '--norc', '-i'], `cd '${directory}'; source ./_bash`, TRIES);
});

test('zsh: the tab key', async () => {
  if (!hasTerminals || !isThere('zsh')) console.log('note: skipped: zsh, or a terminal, is not there');
  else {
    const begin = `cd '${directory}'; PS1='> '; autoload -U compinit; compinit -D -u; source ./_zsh`;
    await typed(['zsh', '-f', '-i'], begin, TRIES);
  }
});

test('fish: what it would offer', () => {
  if (!isThere('fish')) {
    console.log('note: skipped: fish is not there');
    return;
  }
  for (const [line, expected] of [
    ['raftree stat', ['status']],
    ['raftree member pro', ['promote']],
    ['raftree get a --level l', ['lease', 'linearizable']],
    ['raftree put a --value-f', ['--value-file']],
    ['raftree start c.', ['c.json']],
  ] as const) {
    const script = `cd '${directory}'; source ./_fish; complete -C '${line}'`;
    const { stdout } = spawnSync('fish', ['-c', script], {
      encoding: 'utf8',
      env: { ...process.env, HOME: directory },
    });
    const words = stdout
      .trimEnd()
      .split('\n')
      .map((each) => each.split('\t')[0]);
    assert.equal(words.sort(), [...expected], line);
  }
});

test.run();
