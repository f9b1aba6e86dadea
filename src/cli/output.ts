/** Standard streams. */

/** Writes to standard output and waits while whoever reads it is behind. */
export function print(bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** To standard error. */
export function warnLine(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Cells below their titles. A row of fewer cells than there are titles is a remark: it makes no column wider. */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const whole = rows.filter((row) => row.length === titles.length);
  const widths = titles.map((title, i) => Math.max(title.length, ...whole.map((row) => row[i]?.length ?? 0)));
  for (const row of [titles, ...rows]) {
    const cells = row.map((cell, i) => cell.padEnd(widths[i] ?? 0));
    printLine(cells.join('  ').trimEnd());
  }
}
