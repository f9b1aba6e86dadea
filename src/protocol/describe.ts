/** The message table as Markdown: the part of PROTOCOL.md that is generated. */
import { ERROR_CODES } from './error-codes.js';
import type { Layout } from './field-kinds.js';
import { MESSAGES } from './messages.js';

/** One section for each message: its number, what it is for, and its fields in the order of their bytes. */
export function describeMessages(): string {
  return Object.entries(MESSAGES)
    .map(([name, { number, about, fields }]) => {
      const rows = Object.entries(fields).flatMap(([field, kind]) => describeField(field, kind.layout, 0));
      return [`### ${number} ${name}`, about, table(['field', 'bytes', 'content'], rows)].join('\n\n');
    })
    .join('\n\n');
}

/** The codes of `error` messages. */
export function describeErrors(): string {
  const rows = Object.entries(ERROR_CODES).map(([code, { outcome, about, meaning }]) => [
    `\`${code}\``,
    outcome,
    about,
    meaning,
  ]);
  return table(['code', 'outcome', 'about', 'meaning'], rows);
}

function describeField(name: string, layout: Layout, depth: number): string[][] {
  const shown = `${'&nbsp;&nbsp;'.repeat(depth)}${name}`;
  switch (layout.kind) {
    case 'plain':
      return [[shown, ...PLAIN[layout.name]]];
    case 'enumeration': {
      const codes = Object.entries(layout.codes).map(([value, code]) => `${code} ${value}`);
      return [[shown, '1', codes.join(', ')]];
    }
    case 'optional':
      return [
        [shown, '1', 'bool: whether there is one; if not, the next row is left out'],
        ...describeField(name, layout.value, depth + 1),
      ];
    case 'list':
      return [[shown, '4', 'count u32; then so many times:'], ...describeElement(layout.element, depth + 1)];
    case 'struct':
      return [[shown, '', 'its fields:'], ...describeElement(layout, depth + 1)];
  }
}

function describeElement(layout: Layout, depth: number): string[][] {
  if (layout.kind !== 'struct') return describeField('element', layout, depth);
  return Object.entries(layout.fields).flatMap(([name, field]) => describeField(name, field, depth));
}

const PLAIN: Readonly<Record<Extract<Layout, { kind: 'plain' }>['name'], readonly [string, string]>> = {
  u8: ['1', 'u8'],
  bool: ['1', 'bool: 0 or 1'],
  u32: ['4', 'u32'],
  u53: ['8', 'u53'],
  bytes: ['4 + n', 'bytes: length n u32, then n bytes'],
  string: ['4 + n', 'string: length n u32, then n bytes of UTF-8'],
};

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}
