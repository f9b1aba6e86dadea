/**
 * Preloaded (`node --require`) into a node under test, whatever its build: it tells the benchmark which thread is which,
 * and measures the delay of the node's event loop, and its CPU profile, between two messages. It costs a timer and a
 * channel.
 */
import fs = require('node:fs');
import inspector = require('node:inspector');
import perfHooks = require('node:perf_hooks');

/** A finer one would wake an idle node more often than its own work does. */
const RESOLUTION_MS = 10;

const threads = (): string[] => fs.readdirSync('/proc/self/task');
const runtime = threads();
// The first call of the pool starts all of its threads.
fs.readlink('/proc/thread-self', () => {
  const known = new Set(runtime);
  const pool = threads().filter((thread) => !known.has(thread));
  process.send?.({ probe: 'threads', runtime, pool });
});

const histogram = perfHooks.monitorEventLoopDelay({ resolution: RESOLUTION_MS });
let session: inspector.Session | undefined;

function begin(profile: boolean): void {
  histogram.reset();
  histogram.enable();
  if (!profile) return;
  session = new inspector.Session();
  session.connect();
  session.post('Profiler.enable');
  session.post('Profiler.start');
}

function end(profileFile: string | undefined): void {
  histogram.disable();
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e6 - RESOLUTION_MS);
  const loopDelayMs = { p99: late(histogram.percentile(99)), max: late(histogram.max) };
  if (session && profileFile !== undefined) {
    session.post('Profiler.stop', (error, result) => {
      if (!error) fs.writeFileSync(profileFile, JSON.stringify(result.profile));
    });
    session.disconnect();
    session = undefined;
  }
  process.send?.({ probe: 'window', loopDelayMs });
}

process.on('message', (message: { probe?: string; profile?: boolean; profileFile?: string }) => {
  if (message.probe === 'begin') begin(message.profile === true);
  if (message.probe === 'end') end(message.profileFile);
});
// Only the benchmark's messages: they do not keep a node alive that has nothing else to do.
process.channel?.unref();
