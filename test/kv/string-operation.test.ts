/** String operations in the state machine: computed at apply, with a result, once per place of a session. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { performWrite } from '../../src/kv/atomic-write.js';
import { BatchKeys } from '../../src/kv/batch-keys.js';
import { type EntryOperation, encodeWrite } from '../../src/kv/command.js';
import { addDecimals } from '../../src/kv/decimal.js';
import { type CommandResult, KvStateMachine } from '../../src/kv/kv-state-machine.js';
import { ReplicatedTime } from '../../src/kv/replicated-time.js';
import type { Life, WriteOperation } from '../../src/kv/requests.js';
import {
  decodeStringOperation,
  decodeStringResult,
  encodeStringOperation,
  furtherKeys,
  type StringOperationName,
} from '../../src/kv/string-operation.js';
import { MAX_VALUE_BYTES, MemoryEngine, openSessionEntry, operation, write } from './kv-lab.js';

function modify(key: string, name: StringOperationName, ...given: (string | Buffer)[]): WriteOperation {
  return raw(key, encodeStringOperation(name, ...given));
}

function raw(key: string, value: Buffer): WriteOperation {
  return { ...operation('modify', key), value };
}

function withLife(of: WriteOperation, ttlMs: number, change: Life['change'] = 'set'): WriteOperation {
  return { ...of, life: { change, ttlMs, when: 'always' } };
}

class Lab {
  readonly engine = new MemoryEngine();
  machine = new KvStateMachine(this.engine, this.engine.reopen);
  nowMs = 1000;
  maxValueBytes = MAX_VALUE_BYTES;

  apply(operations: readonly WriteOperation[], session?: Parameters<typeof write>[1]): CommandResult {
    const body = encodeWrite(this.maxValueBytes, write(operations, session), { nowMs: () => this.nowMs });
    const entry = { term: 1, kind: 'command', body } as const;
    return (
      this.machine.apply(this.machine.appliedIndex + 1, [entry]) as CommandResult[]
    )[0] as CommandResult;
  }

  /** The results as text. */
  do(...operations: WriteOperation[]): string {
    return shown(this.apply(operations));
  }

  get(key: string): string {
    const found = this.machine.get(Buffer.from(key));
    if (!found) return 'absent';
    return `${found.value}${found.remainingMs === undefined ? '' : ` for ${found.remainingMs}`}`;
  }
}

function shown(result: CommandResult): string {
  if (result.type !== 'written') return result.type;
  const texts = result.write.results.map(({ value }) => {
    const found = decodeStringResult(value ?? Buffer.alloc(0));
    if (found.kind === 'number') return String(found.number);
    if (found.kind === 'bytes') return `"${found.bytes.toString('latin1')}"`;
    return found.kind === 'error' ? found.code : found.kind;
  });
  return texts.join(' ');
}

test('each operation sees what those before it in the same write have left', () => {
  const lab = new Lab();
  const all = lab.do(
    modify('a', 'set', 'absent', 'done', '1'),
    modify('a', 'set', 'absent', 'done', '2'),
    modify('a', 'increment', '41'),
    modify('a', 'append', 'x'),
    modify('a', 'increment', '1'),
    modify('a', 'get'),
    modify('a', 'rename', 'b', 'always'),
    modify('a', 'getDelete'),
    modify('b', 'getDelete'),
    modify('b', 'exists'),
  );
  assert.is(all, 'done nothing 42 3 notAnInteger "42x" done nothing "42x" 0');
  assert.is(lab.get('a') + lab.get('b'), 'absentabsent');
});

test('ranges and bits are those of Redis', () => {
  const lab = new Lab();
  assert.is(lab.do(modify('k', 'setRange', '3', 'ab'), modify('k', 'get')), '5 "\0\0\0ab"');
  assert.is(lab.do(modify('k', 'setRange', '0', 'Hello'), modify('k', 'getRange', '-3', '-1')), '5 "llo"');
  assert.is(lab.do(modify('k', 'getRange', '0', '9223372036854775807')), '"Hello"');
  assert.is(lab.do(modify('k', 'getRange', '4', '2'), modify('k', 'getRange', '-9', '0')), '"" "H"');
  assert.is(lab.do(modify('n', 'getRange', '0', '-1'), modify('n', 'getRange', '-1', '-9')), '"" ""');
  assert.is(
    lab.do(modify('bits', 'setBit', '9', '1'), modify('bits', 'getBit', '9'), modify('bits', 'get')),
    '0 1 "\0@"',
  );
  assert.is(lab.do(modify('n', 'setRange', '5', '')), '0');
  assert.is(lab.get('n'), 'absent');
});

test('what an operation cannot do is its result, and changes nothing; the others take effect', () => {
  const lab = new Lab();
  lab.apply([operation('put', 'n', '9223372036854775807'), operation('put', 't', 'text')]);
  const tooLarge = 'x'.repeat(MAX_VALUE_BYTES + 1);
  assert.is(lab.do(modify('n', 'increment', '1'), modify('o', 'increment', '2')), 'overflow 2');
  assert.is(
    lab.do(modify('t', 'incrementFloat', '1'), modify('x', 'set', 'always', 'old', tooLarge)),
    'notAFloat tooLarge',
  );
  assert.is(
    lab.do(modify('t', 'setRange', '9223372036854775807', 'x'), modify('t', 'append', tooLarge)),
    'tooLarge tooLarge',
  );
  assert.is(
    lab.do(modify('no', 'rename', 'x', 'always'), modify('no', 'copy', 'x', 'always')),
    'noSuchKey 0',
  );
  assert.is(lab.do(modify('t', 'setAllIfAbsent', 'v', 'n', 'v')), '0');
  assert.is(lab.get('t') + lab.get('x') + lab.get('o'), 'textabsent2');
  lab.maxValueBytes = 1;
  const increments = [modify('o', 'increment', '7'), modify('o', 'increment', '1')];
  assert.is(lab.do(...increments, modify('o', 'incrementFloat', '0.5')), '9 tooLarge tooLarge');
});

test('deadlines stay, go, move with the key, and count from the replicated time', () => {
  const lab = new Lab();
  lab.do(withLife(modify('k', 'set', 'always', 'done', 'v'), 5000));
  assert.is(lab.do(modify('k', 'append', '!'), modify('k', 'remaining')), '2 5000');
  assert.is(lab.do(modify('k', 'rename', 'm', 'always'), modify('m', 'remaining')), 'done 5000');
  assert.is(lab.do(withLife(modify('m', 'getExpire'), 9000), modify('m', 'remaining')), '"v!" 9000');
  assert.is(lab.do(modify('m', 'getPersist'), modify('m', 'expireMortal')), '"v!" 0');
  assert.is(lab.do(withLife(modify('m', 'expire'), 10), modify('m', 'exists')), '1 1');
  lab.nowMs += 10;
  assert.is(lab.do(modify('m', 'exists'), modify('m', 'remaining')), '0 -2');
  lab.do(withLife(modify('k', 'set', 'always', 'done', 'v'), 100));
  assert.is(lab.do(modify('k', 'set', 'always', 'done', 'w'), modify('k', 'remaining')), 'done -1');
  assert.is(lab.do(withLife(modify('k', 'expire'), 0), modify('k', 'exists')), '1 0');
});

test('a change of the deadline alone is a new version: WATCH sees it', () => {
  const lab = new Lab();
  lab.do(modify('k', 'set', 'always', 'done', 'v'));
  const before = lab.machine.get(Buffer.from('k'))?.version ?? 0;
  lab.do(withLife(modify('k', 'expire'), 5000));
  assert.ok((lab.machine.get(Buffer.from('k'))?.version ?? 0) > before);
});

test('a repeated operation has the first result, also after a restart, and is applied once', async () => {
  const lab = new Lab();
  const opened = (lab.machine.apply(1, [openSessionEntry(4)]) as CommandResult[])[0];
  assert.is(opened?.type, 'sessionOpened');
  const place = { id: 1, sequence: 1, acknowledgedThrough: 0, after: 0 };
  assert.is(shown(lab.apply([modify('k', 'increment', '5')], place)), '5');
  assert.is(shown(lab.apply([modify('k', 'increment', '5')], place)), '5');
  lab.machine = new KvStateMachine(lab.engine, lab.engine.reopen);
  assert.is(shown(lab.apply([modify('k', 'increment', '5')], place)), '5');
  assert.is(lab.get('k'), '5');
});

test('bytes that are no operation change nothing', () => {
  const lab = new Lab();
  const good = encodeStringOperation('set', 'always', 'done', 'v');
  const bad = [
    Buffer.alloc(0),
    Buffer.of(0),
    Buffer.of(99),
    good.subarray(0, good.length - 1),
    Buffer.concat([good, Buffer.of(1)]),
  ];
  const noKey = encodeStringOperation('rename', '', 'always');
  for (const value of [...bad, noKey, encodeStringOperation('setAllIfAbsent', 'v', 'k')]) {
    assert.is(decodeStringOperation(value), undefined);
    assert.is(lab.do(raw('k', value)), 'malformed');
  }
  assert.is(lab.get('k'), 'absent');
  assert.equal(furtherKeys(encodeStringOperation('setAllIfAbsent', 'v', 'k2', 'w')).map(String), ['k2']);
});

test('what many entries answer is not in memory at once: a call of apply ends when its results are large', async () => {
  const lab = new Lab();
  const value = Buffer.alloc(8 * 1024 * 1024, 'v');
  const entryOf = (operations: readonly WriteOperation[]) => {
    const body = encodeWrite(2 * value.length, write(operations), { nowMs: () => 0 });
    return { term: 1, kind: 'command', body } as const;
  };
  await lab.machine.apply(1, [entryOf([{ ...operation('put', 'k'), value }])]);
  const entries = Array.from({ length: 50 }, (_none, i) =>
    entryOf([modify('k', 'get'), modify('count', 'increment', String(i))]),
  );
  let calls = 0;
  for (let at = 0; at < entries.length; calls++) {
    const results = await lab.machine.apply(2 + at, entries.slice(at));
    at += results.length;
    assert.is(lab.machine.appliedIndex, 1 + at);
    assert.ok(results.length > 0 && results.length <= 9, `${results.length} results of 8 MiB`);
    for (const result of results) assert.ok(shown(result).startsWith('"vvv'));
  }
  assert.ok(calls >= 5);
  assert.is(lab.get('count'), '1225');
});

test('a write that may leave no more large values makes none: it would stop every replica for seconds', () => {
  const MAX = 64 * 1024 * 1024;
  const names = [
    ['setBit', String(MAX * 8 - 1), '1'],
    ['setRange', String(MAX - 1), 'x'],
    ['append', 'x'],
  ] as const;
  for (const [name, ...given] of names) {
    const stored = { version: 1, value: Buffer.alloc(name === 'append' ? MAX - 8 : 0) };
    const keys = new BatchKeys(() => stored, new ReplicatedTime());
    const operations = Array.from({ length: 500 }, () => modify('k', name, ...given) as EntryOperation);
    let made = 0;
    const { alloc, concat } = Buffer;
    const counted = <Made extends (...given: never[]) => Buffer>(make: Made) =>
      ((...of: Parameters<Made>) => {
        const buffer = make(...of);
        made += buffer.length;
        return buffer;
      }) as unknown as Made;
    Buffer.alloc = counted(alloc);
    Buffer.concat = counted(concat);
    try {
      performWrite(operations, { index: 2, maxValueBytes: MAX }, keys);
    } finally {
      Buffer.alloc = alloc;
      Buffer.concat = concat;
    }
    assert.ok(made < 4 * MAX, `${name} made ${made} bytes`);
  }
});

test('decimal sums are exact, shown with 17 digits, and the same wherever they are computed', () => {
  const sum = (left: string, right: string) => addDecimals(Buffer.from(left), Buffer.from(right));
  assert.is(sum('1', '-1.1'), '-0.1');
  assert.is(sum('0.1', '0.2'), '0.3');
  assert.is(sum('5.0e3', '2.0e2'), '5200');
  assert.is(sum('17179869184', '1.5'), '17179869185.5');
  assert.is(sum('0.02439024390243902', '-0.024390243902439025'), '0');
  assert.is(sum('0', '-0.000000000000000015'), '-0.00000000000000002');
  assert.is(sum('1e-4932', '1'), '1');
  assert.is(sum('9e4932', '9e4932'), 'overflow');
  assert.is(sum('inf', '1'), 'overflow');
  for (const bad of ['', ' 1', '1 ', '.', 'e5', '1e', '0x10', 'nan', '1\0', `${'1'.repeat(256)}`])
    assert.is(sum(bad, '1'), 'notANumber', bad);
});

test.run();
