/** Standard output and standard error. */

/** Writes to standard output and waits until the bytes are taken. */
export function print(bytes: string | Uint8Array): Promise<void> {
  return new Promise((resolve, reject) => {
    process.stdout.write(bytes, (error) => (error ? reject(error) : resolve()));
  });
}

export function printLine(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Writes a line to standard error. */
export function warnLine(text: string): void {
  process.stderr.write(`${text}\n`);
}

/** Prints a table with a title row. A row with fewer cells than titles is a remark and does not widen columns. */
export function printTable(titles: readonly string[], rows: readonly (readonly string[])[]): void {
  const whole = rows.filter((row) => row.length === titles.length);
  const widths = titles.map((title, i) => Math.max(title.length, ...whole.map((row) => row[i]?.length ?? 0)));
  for (const row of [titles, ...rows]) {
    const cells = row.map((cell, i) => cell.padEnd(widths[i] ?? 0));
    printLine(cells.join('  ').trimEnd());
  }
}
