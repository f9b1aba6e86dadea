/**
 * Structured logs by pino: lines for people on a terminal, JSON for everything else. Logs go to standard error. Logging
 * never waits: see `LineOutput`.
 */
import { pino } from 'pino';
import type { Logger } from '../env/env.js';
import { isTerminal, LineOutput } from '../env/real/line-output.js';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly format: 'auto' | 'pretty' | 'json';
  readonly nodeId: number;
}

const STANDARD_ERROR = 2;

export async function createLogger({ level, format, nodeId }: LoggerOptions): Promise<Logger> {
  const toTerminal = isTerminal(STANDARD_ERROR);
  const output = new LineOutput(STANDARD_ERROR, {
    resumed: (dropped) => logger.warn({ dropped }, `${dropped} log lines were dropped: nobody took them`),
  });
  const forPeople = format === 'pretty' || (format === 'auto' && toTerminal);
  const pretty = forPeople ? await prettyLines(toTerminal) : (line: string) => line;
  const logger = pino(
    { level, base: { pid: process.pid, node: nodeId } },
    { write: (line: string) => output.write(pretty(line)) },
  );
  return logger;
}

/** The package is loaded only where people read the lines. */
async function prettyLines(colorize: boolean): Promise<(line: string) => string> {
  const { prettyFactory } = await import('pino-pretty');
  return prettyFactory({ colorize, ignore: 'pid,hostname,node', translateTime: 'SYS:HH:MM:ss.l' });
}
