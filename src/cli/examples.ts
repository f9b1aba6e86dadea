/**
 * The end of what `--help` prints, for commander's `addHelpText('after', …)`. Examples are lines as one types them, and
 * may be pipes. `remark` stands before them.
 */
export function examples(lines: readonly string[], remark = ''): string {
  return `${remark === '' ? '' : `\n${remark}\n`}\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}
