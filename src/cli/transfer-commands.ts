/** import and export: whole files of keys and values, many requests in flight. */
import * as fs from 'node:fs';
import { SingleBar } from 'cli-progress';
import type { Command } from 'commander';
import { RaftreeClient } from '../client/client.js';
import { errorMessage } from '../env/errors.js';
import {
  type CommonOptions,
  clusterSecretOf,
  parseCount,
  withClient,
  withClientOptions,
} from './client-options.js';
import { EXIT, type ExitCode, UsageError } from './exit-codes.js';
import { print, printLine } from './output.js';
import { type ReadCommandOptions, readOptions, withReadOptions } from './read-options.js';
import { type Format, formatRecord, lines, parseRecord } from './records.js';

interface ImportOptions extends CommonOptions {
  readonly format: 'auto' | Format;
  readonly strict?: true;
  readonly inFlight: number;
}

interface ExportOptions extends ReadCommandOptions {
  readonly prefix?: string;
  readonly output?: string;
}

/** Bad lines that are reported one by one; the rest are only counted. */
const MAX_REPORTED_LINES = 100;
const PAGE_ENTRIES = 1000;

export function addTransferCommands(program: Command, setExitCode: (code: ExitCode) => void): void {
  withClientOptions(
    program
      .command('import [file]')
      .description('put every record of a JSON Lines or TSV file, or of standard input'),
    60_000,
  )
    .option('--format <format>', 'jsonl, tsv, or auto: by the first line', parseFormat, 'auto')
    .option('--strict', 'stop at the first bad line')
    .option('--in-flight <n>', 'requests under way at once', parseCount, 256)
    .action(async (file: string | undefined, options: ImportOptions) => {
      const { badLines } = await importRecords(file, options);
      if (badLines > 0) setExitCode(EXIT.notMet);
    });

  withReadOptions(
    program.command('export').description('print every record as JSON Lines, ordered by key'),
    60_000,
  )
    .option('--prefix <text>', 'only keys that begin with it')
    .option('--output <file>', 'write to a file')
    .action((options: ExportOptions) => exportRecords(options));
}

function parseFormat(text: string): 'auto' | Format {
  if (text === 'auto' || text === 'jsonl' || text === 'tsv') return text;
  throw new UsageError(`--format: expected jsonl, tsv or auto, not "${text}"`);
}

async function importRecords(
  file: string | undefined,
  options: ImportOptions,
): Promise<{ badLines: number }> {
  const fromFile = file !== undefined && file !== '-';
  const totalBytes = fromFile ? sizeOf(file) : 0;
  const stream: AsyncIterable<Uint8Array> = fromFile ? fs.createReadStream(file) : process.stdin;
  const progress = new Progress(totalBytes);
  const startedMs = performance.now();
  let format = options.format;
  let lineNumber = 0;
  let badLines = 0;
  let records = 0;
  let bytes = 0;
  let failure: { line: number; error: unknown } | undefined;
  const client = new RaftreeClient({
    endpoints: options.endpoints,
    timeoutMs: options.timeout,
    window: Math.min(4096, options.inFlight),
    ...clusterSecretOf(options),
  });
  const underWay = new Set<Promise<void>>();
  try {
    for await (const line of lines(stream)) {
      lineNumber++;
      if (line.length === 0) continue;
      if (format === 'auto') format = line[0] === 0x7b ? 'jsonl' : 'tsv';
      let record: ReturnType<typeof parseRecord>;
      try {
        record = parseRecord(line, format);
        if (record.key.length === 0) throw new Error('the key is empty');
      } catch (error) {
        badLines++;
        progress.message(`line ${lineNumber}: ${errorMessage(error)}`, badLines);
        if (options.strict) throw new UsageError(`stopped at line ${lineNumber}: ${errorMessage(error)}`);
        continue;
      }
      const number = lineNumber;
      const put = client
        .put(record.key, record.value)
        .then(() => {
          records++;
          bytes += line.length + 1;
          progress.update(records, bytes);
        })
        .catch((error: unknown) => {
          failure ??= { line: number, error };
        })
        .finally(() => underWay.delete(put));
      underWay.add(put);
      if (underWay.size >= options.inFlight) await Promise.race(underWay);
      if (failure) break;
    }
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT')
      throw new UsageError(`there is no file ${file}`);
    throw error;
  } finally {
    await Promise.all(underWay);
    await client.close();
    progress.stop();
  }
  if (failure) {
    process.stderr.write(`line ${failure.line} could not be written; ${records} records were\n`);
    throw failure.error;
  }
  const seconds = (performance.now() - startedMs) / 1000;
  const summary = { records, badLines, bytes, seconds: Number(seconds.toFixed(2)) };
  if (options.json) printLine(JSON.stringify(summary));
  else {
    const rate = Math.round(records / seconds);
    process.stderr.write(
      `imported ${records} records (${(bytes / 1e6).toFixed(1)} MB) in ${seconds.toFixed(1)} s, ${rate}/s; bad lines: ${badLines}\n`,
    );
  }
  return { badLines };
}

async function exportRecords(options: ExportOptions): Promise<void> {
  const output = options.output === undefined ? undefined : fs.createWriteStream(options.output);
  // An error while opening would otherwise come before anybody writes.
  const failed = new Promise<never>((_, reject) => output?.once('error', reject));
  const write = (text: string): Promise<void> =>
    output
      ? Promise.race([failed, new Promise<void>((resolve) => output.write(text, () => resolve()))])
      : print(text);
  let records = 0;
  await withClient(options, async (client) => {
    const prefix = options.prefix === undefined ? {} : { prefix: options.prefix };
    let page: string[] = [];
    for await (const entry of client.scan({ ...readOptions(options), ...prefix })) {
      page.push(formatRecord(entry));
      records++;
      if (page.length < PAGE_ENTRIES) continue;
      await write(page.join(''));
      page = [];
    }
    await write(page.join(''));
  });
  if (output) {
    await Promise.race([failed, new Promise<void>((resolve) => output.end(resolve))]);
    process.stderr.write(`exported ${records} records to ${options.output}\n`);
  }
}

function sizeOf(file: string): number {
  try {
    return fs.statSync(file).size;
  } catch {
    throw new UsageError(`there is no file ${file}`);
  }
}

/** A bar on a terminal, nothing elsewhere. */
class Progress {
  readonly #bar: SingleBar | undefined;

  constructor(totalBytes: number) {
    if (!process.stderr.isTTY || totalBytes === 0) return;
    this.#bar = new SingleBar({
      format: '{bar} {percentage}% | {records} records | {rate} records/s | {eta_formatted} left',
      stream: process.stderr,
      hideCursor: true,
      etaBuffer: 100,
    });
    this.#bar.start(totalBytes, 0, { records: 0, rate: 0 });
    this.#startedMs = performance.now();
  }

  #startedMs = 0;

  update(records: number, bytes: number): void {
    if (!this.#bar || records % 100 !== 0) return;
    const seconds = (performance.now() - this.#startedMs) / 1000;
    this.#bar.update(bytes, { records, rate: Math.round(records / seconds) });
  }

  message(text: string, count: number): void {
    if (count <= MAX_REPORTED_LINES) process.stderr.write(`${text}\n`);
    else if (count === MAX_REPORTED_LINES + 1)
      process.stderr.write('more bad lines follow and are only counted\n');
  }

  stop(): void {
    this.#bar?.stop();
  }
}
