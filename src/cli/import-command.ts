/** import: writes the records of a file with many concurrent requests. Records with the same key keep their order. */
import type { SingleBar } from 'cli-progress';
import { type Command, Option } from 'commander';
import type { RaftreeClient } from '../client/client.js';
import { errorMessage, RaftreeError } from '../env/errors.js';
import { type CommonOptions, countUpTo, withClient, withClientOptions } from './client-options.js';
import { examples } from './examples.js';
import { EXIT, type ExitCode, UsageError } from './exit-codes.js';
import { openInput } from './input.js';
import { printLine, warnLine } from './output.js';
import {
  checkFirstLine,
  type Format,
  formatOf,
  isBlank,
  type KeyValue,
  lines,
  MAX_LINE_BYTES,
  parseRecord,
} from './records.js';

interface ImportOptions extends CommonOptions {
  readonly format: 'auto' | Format;
  readonly strict?: true;
  readonly window: number;
}

/** Bad lines that are reported one by one. Further ones are only counted. */
const MAX_REPORTED_LINES = 100;
const MAX_WINDOW = 4096;
const FORMATS: readonly ImportOptions['format'][] = ['auto', 'jsonl', 'tsv'];
/** Limit for all concurrent requests together. A single request may be larger. */
const MAX_BYTES_UNDER_WAY = 64 * 1024 * 1024;

/** The cluster never accepts such a record: it counts as a bad line. */
const BAD_RECORD_CODES = new Set(['KEY_TOO_LARGE', 'VALUE_TOO_LARGE', 'REQUEST_TOO_LARGE']);

export function addImportCommand(program: Command, setExitCode: (code: ExitCode) => void): void {
  withClientOptions(
    program
      .command('import [file]')
      .description('write every record of a JSON Lines or TSV file, or of standard input'),
    60_000,
  )
    .addOption(
      new Option('--format <format>', 'of the lines; auto: by the first one')
        .choices(FORMATS)
        .default('auto'),
    )
    .option('--strict', 'stop at the first bad line')
    .option('--window <n>', `concurrent requests, 1 to ${MAX_WINDOW}`, countUpTo(MAX_WINDOW), 256)
    .addHelpText(
      'after',
      examples(
        [
          'raftree import records.jsonl',
          'raftree import --format tsv --strict < records.tsv',
          'raftree export | raftree import --endpoints other:7001',
        ],
        `JSON Lines: {"key":"…","value":"…"} per line; bytes that are not UTF-8 as keyBase64, valueBase64;
with "ttlMs": the key lives for so many milliseconds from the import on.
TSV: key, a tab, value; raw bytes.
Records with the same key are written in the order of the file, one after the other; others in any order.
A line that is bad or too large for the cluster is reported with its number and skipped: exit code 1.
An import may be repeated: it writes the same values again.`,
      ),
    )
    .action(async (file: string | undefined, options: ImportOptions) => {
      const { badLines } = await importFile(file, options);
      if (badLines > 0) setExitCode(EXIT.notMet);
    });
}

export interface ImportResult {
  /** Number of records written. */
  readonly records: number;
  readonly badLines: number;
  readonly bytes: number;
}

interface Listener {
  badLine(number: number, reason: string): void;
  written(records: number, bytes: number): void;
}

/** Throws `UsageError` for the first bad line if `strict`, and a RaftreeError if a record may not have been written. */
export async function importLines(
  client: Pick<RaftreeClient, 'put'>,
  stream: AsyncIterable<Uint8Array>,
  options: Pick<ImportOptions, 'format' | 'strict' | 'window'>,
  listener: Listener,
): Promise<ImportResult> {
  let { format } = options;
  let number = 0;
  let badLines = 0;
  let records = 0;
  let bytes = 0;
  let failure: Error | undefined;
  const bad = (line: number, reason: string) => {
    badLines++;
    listener.badLine(line, reason);
    if (options.strict) failure ??= new UsageError(`stopped at line ${line}: ${reason}`);
  };
  const put = async (line: number, lineBytes: number, { key, value, ttlMs }: KeyValue) => {
    try {
      await client.put(key, value, ttlMs === undefined ? {} : { ttlMs });
      records++;
      bytes += lineBytes + 1;
      listener.written(records, bytes);
    } catch (error) {
      const { code, outcome } = error instanceof RaftreeError ? outcomeOf(error) : { code: '', outcome: '' };
      if (outcome === 'notCommitted' && BAD_RECORD_CODES.has(code)) bad(line, errorMessage(error));
      else failure ??= stoppedAt(line, error);
    }
  };
  const underWay = new Set<Promise<void>>();
  let bytesUnderWay = 0;
  let oneIsOver: () => void = () => {};
  const readLines = async () => {
    for await (const line of lines(stream)) {
      number++;
      if (line && isBlank(line, format)) continue;
      try {
        if (!line) throw new Error(`it is longer than ${MAX_LINE_BYTES} bytes`);
        if (format === 'auto') format = formatOf(line);
        if (number === 1) checkFirstLine(line);
        const record = parseRecord(line, format);
        while (
          underWay.size >= options.window ||
          (underWay.size > 0 && bytesUnderWay + line.length > MAX_BYTES_UNDER_WAY)
        )
          await new Promise<void>((resolve) => {
            oneIsOver = resolve;
          });
        bytesUnderWay += line.length;
        const written = put(number, line.length, record).finally(() => {
          underWay.delete(written);
          bytesUnderWay -= line.length;
          oneIsOver();
        });
        underWay.add(written);
      } catch (error) {
        bad(number, errorMessage(error));
      }
      if (failure) break;
    }
  };
  try {
    await readLines();
  } finally {
    await Promise.all(underWay);
  }
  if (failure) throw failure;
  return { records, badLines, bytes };
}

function outcomeOf(error: RaftreeError): { code: string; outcome: unknown } {
  return { code: error.code, outcome: 'outcome' in error ? error.outcome : error.info.outcome };
}

/** The same error with the line number added. */
function stoppedAt(line: number, error: unknown): Error {
  if (!(error instanceof RaftreeError)) return error instanceof Error ? error : new Error(String(error));
  const { code, outcome } = outcomeOf(error);
  return new RaftreeError(code, `stopped at line ${line}: ${error.message}`, {
    cause: error,
    info: { outcome },
  });
}

async function importFile(file: string | undefined, options: ImportOptions): Promise<ImportResult> {
  const Bar = process.stderr.isTTY ? (await import('cli-progress')).SingleBar : undefined;
  const input = openInput(file === '-' ? undefined : file, options);
  const progress = new Progress(Bar, input.sizeBytes);
  const startedMs = performance.now();
  let result: ImportResult;
  try {
    result = await withClient(options, (client) => importLines(client, input.stream, options, progress), {
      window: options.window,
    });
  } catch (error) {
    warnLine(`${progress.records} records were written`);
    throw error;
  } finally {
    progress.stop();
  }
  const { records, badLines, bytes } = result;
  const seconds = (performance.now() - startedMs) / 1000;
  if (options.json)
    printLine(JSON.stringify({ records, badLines, bytes, seconds: Number(seconds.toFixed(2)) }));
  else {
    const rate = Math.round(records / seconds);
    warnLine(
      `imported ${records} records (${(bytes / 1e6).toFixed(1)} MB) in ${seconds.toFixed(1)} s, ${rate}/s; bad lines: ${badLines}`,
    );
  }
  return result;
}

/** Shows a progress bar if it is given one, and reports bad lines. */
class Progress implements Listener {
  readonly #bar: SingleBar | undefined;
  readonly #startedMs = performance.now();
  #badLines = 0;
  records = 0;

  constructor(Bar: typeof SingleBar | undefined, totalBytes: number) {
    if (!Bar || totalBytes === 0) return;
    this.#bar = new Bar({
      format: '{bar} {percentage}% | {records} records | {rate} records/s | {eta_formatted} left',
      stream: process.stderr,
      hideCursor: true,
      etaBuffer: 100,
    });
    this.#bar.start(totalBytes, 0, { records: 0, rate: 0 });
  }

  written(records: number, bytes: number): void {
    this.records = records;
    if (!this.#bar || records % 100 !== 0) return;
    const seconds = (performance.now() - this.#startedMs) / 1000;
    this.#bar.update(bytes, { records, rate: Math.round(records / seconds) });
  }

  badLine(number: number, reason: string): void {
    this.#badLines++;
    if (this.#badLines <= MAX_REPORTED_LINES) warnLine(`line ${number}: ${reason}`);
    else if (this.#badLines === MAX_REPORTED_LINES + 1)
      warnLine('more bad lines follow and are only counted');
  }

  stop(): void {
    this.#bar?.stop();
  }
}
