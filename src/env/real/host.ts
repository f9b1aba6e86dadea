/** This process and others, read from Linux's /proc. On other systems a process is known only by its pid. */
import * as fs from 'node:fs';
import { type Host, type ProcessIdentity, USUAL_MAX_DESCRIPTORS } from '../env.js';

function readText(path: string): string | undefined {
  try {
    return fs.readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

/** State letter and start time (clock ticks since boot) from /proc/PID/stat; see proc(5). */
function readStat(pid: number): { state: string; startTime: string } | undefined {
  const text = readText(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  // The command name is in parentheses and may itself contain spaces and parentheses.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
  return { state: fields[0] ?? '', startTime: fields[19] ?? '' };
}

function exists(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // EPERM: the process exists but belongs to another user.
    return (error as NodeJS.ErrnoException).code === 'EPERM';
  }
}

function readLink(path: string): string {
  try {
    return fs.readlinkSync(path);
  } catch {
    return '';
  }
}

const pidNamespace = readLink('/proc/self/ns/pid');
const bootId = (readText('/proc/sys/kernel/random/boot_id') ?? '').trim();

export const realHost: Host = {
  self(): ProcessIdentity {
    return { pid: process.pid, bootId, startTime: readStat(process.pid)?.startTime ?? '', pidNamespace };
  },

  isAlive(other: ProcessIdentity): boolean {
    if (other.bootId !== bootId) return false;
    if (other.pidNamespace !== '' && pidNamespace !== '' && other.pidNamespace !== pidNamespace) return true;
    if (!exists(other.pid)) return false;
    const stat = readStat(other.pid);
    // Either it has just ended, or its /proc entry is hidden from us (mount option hidepid).
    if (!stat) return exists(other.pid);
    // A zombie holds no files. Another start time means that the pid was reused.
    return stat.state !== 'Z' && stat.state !== 'X' && stat.startTime === other.startTime;
  },

  maxDescriptors(): number {
    const text = readText('/proc/self/limits');
    return text === undefined ? USUAL_MAX_DESCRIPTORS : descriptorsIn(text);
  },
};

/** The soft limit in the text of /proc/PID/limits; see proc(5). */
export function descriptorsIn(limits: string): number {
  const soft = /^Max open files +(\d+|unlimited)/m.exec(limits)?.[1];
  if (soft === undefined) return USUAL_MAX_DESCRIPTORS;
  return soft === 'unlimited' ? Number.MAX_SAFE_INTEGER : Number(soft);
}
