/**
 * Recorded histories as text, one event a line.
 *
 *     jepsen   INFO  jepsen.util - PROCESS  :invoke|:ok|:fail|:info  :read|:write|:cas  VALUE
 *     kv       {:process 0, :type :invoke|:ok, :f :get|:put|:append, :key "0", :value "text"|nil}
 *
 * A `:fail` did not happen. What ends with `:info`, a read that timed out, and a call that never returns are unknown.
 */
import type { Operation } from '../../src/sim/rules/linearizability.js';
import type { RegisterInput, RegisterOutput, TextInput } from './models.js';

interface Event {
  readonly process: string;
  readonly type: string;
  readonly f: string;
  readonly key: string;
  readonly value: string;
}

/** Pairs each call with what the same process said next of it. */
function pairUp<Input, Output>(
  events: readonly Event[],
  inputOf: (event: Event) => Input,
  outputOf: (call: Event, end: Event) => Output | undefined,
): Operation<Input, Output>[] {
  const operations: Operation<Input, Output>[] = [];
  const open = new Map<string, { call: Event; time: number }>();
  events.forEach((event, time) => {
    if (event.type === 'invoke') {
      open.set(event.process, { call: event, time });
      return;
    }
    const started = open.get(event.process);
    if (!started) throw new Error(`line ${time + 1}: process ${event.process} answers without having asked`);
    open.delete(event.process);
    const { call } = started;
    const known = event.type === 'ok';
    if (event.type === 'fail' && call.f !== 'cas' && call.f !== 'read') {
      throw new Error(`line ${time + 1}: a ${call.f} that failed`);
    }
    if (event.type === 'fail') return;
    operations.push({
      key: call.key,
      input: inputOf(call),
      output: known ? outputOf(call, event) : undefined,
      callTime: started.time,
      returnTime: known ? time : Number.POSITIVE_INFINITY,
    });
  });
  for (const { call, time } of open.values()) {
    operations.push({
      key: call.key,
      input: inputOf(call),
      output: undefined,
      callTime: time,
      returnTime: Number.POSITIVE_INFINITY,
    });
  }
  return operations;
}

const JEPSEN_LINE = /^INFO\s+jepsen\.util - (\d+)\s+:(invoke|ok|fail|info)\s+:(read|write|cas)\s+(.*)$/;

export function parseJepsen(text: string): Operation<RegisterInput, RegisterOutput>[] {
  const events: Event[] = [];
  for (const line of text.split('\n')) {
    const match = JEPSEN_LINE.exec(line.trimEnd());
    if (!match) {
      if (line.includes('jepsen.util') && /\t:(invoke|ok|fail|info)\t/.test(line))
        throw new Error(`not understood: ${line}`);
      continue;
    }
    const [, process = '', type = '', f = '', value = ''] = match;
    events.push({ process, type, f, key: '', value });
  }
  return pairUp(
    events,
    (call): RegisterInput => {
      if (call.f === 'read') return { type: 'read' };
      if (call.f === 'write') return { type: 'write', value: call.value };
      const [from = '', to = ''] = call.value.replace(/[[\]]/g, '').split(/\s+/);
      return { type: 'cas', from, to };
    },
    (call, end) => {
      if (call.f === 'read') return end.value === 'nil' ? null : end.value;
      return call.f === 'cas' ? true : undefined;
    },
  );
}

const KV_LINE =
  /^\{:process (\d+), :type :(\w+), :f :(\w+), :key "((?:[^"\\]|\\.)*)", :value (nil|"(?:[^"\\]|\\.)*")\}$/;

export function parseKv(text: string): Operation<TextInput, string>[] {
  const events: Event[] = [];
  for (const line of text.split('\n')) {
    if (line.trim() === '') continue;
    const match = KV_LINE.exec(line.trim());
    if (!match) throw new Error(`not understood: ${line}`);
    const [, process = '', type = '', f = '', key = '', quoted = ''] = match;
    const value = quoted === 'nil' ? '' : (JSON.parse(quoted) as string);
    events.push({ process, type, f, key, value });
  }
  return pairUp(
    events,
    (call): TextInput => {
      if (call.f === 'get') return { type: 'get' };
      if (call.f === 'put' || call.f === 'append') return { type: call.f, value: call.value };
      throw new Error(`not understood: ${call.f}`);
    },
    (call, end) => (call.f === 'get' ? end.value : undefined),
  );
}
