/**
 * Structured logs by pino: lines for people on a terminal, JSON for everything else. Logs go to standard error. Logging
 * never waits: see `LineOutput`.
 */
import { pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { Logger } from '../env/env.js';
import { isTerminal, LineOutput } from '../env/real/line-output.js';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly format: 'auto' | 'pretty' | 'json';
  readonly nodeId: number;
}

const STANDARD_ERROR = 2;

export function createLogger({ level, format, nodeId }: LoggerOptions): Logger {
  const toTerminal = isTerminal(STANDARD_ERROR);
  const output = new LineOutput(STANDARD_ERROR, {
    resumed: (dropped) => logger.warn({ dropped }, `${dropped} log lines were dropped: nobody took them`),
  });
  const pretty = prettyFactory({
    colorize: toTerminal,
    ignore: 'pid,hostname,node',
    translateTime: 'SYS:HH:MM:ss.l',
  });
  const forPeople = format === 'pretty' || (format === 'auto' && toTerminal);
  const logger = pino(
    { level, base: { pid: process.pid, node: nodeId } },
    { write: (line: string) => output.write(forPeople ? pretty(line) : line) },
  );
  return logger;
}
