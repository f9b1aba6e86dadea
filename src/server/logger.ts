/** Structured logs by pino: lines for people on a terminal, JSON for everything else. Logs go to standard error. */
import { type DestinationStream, pino } from 'pino';
import pretty from 'pino-pretty';
import type { Logger } from '../env/env.js';

export interface LoggerOptions {
  readonly level: 'debug' | 'info' | 'warn' | 'error' | 'silent';
  readonly format: 'auto' | 'pretty' | 'json';
  readonly nodeId: number;
}

export function createLogger({ level, format, nodeId }: LoggerOptions): Logger {
  const forPeople = format === 'pretty' || (format === 'auto' && process.stderr.isTTY === true);
  const destination: DestinationStream = forPeople
    ? pretty({
        destination: 2,
        sync: true,
        colorize: process.stderr.isTTY === true,
        ignore: 'pid,hostname,node',
        translateTime: 'SYS:HH:MM:ss.l',
      })
    : pino.destination({ dest: 2, sync: true });
  return pino({ level, base: { pid: process.pid, node: nodeId } }, destination);
}
