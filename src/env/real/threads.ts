/** Node.js worker threads. */
import { Worker, type WorkerOptions } from 'node:worker_threads';
import type { Thread, ThreadHandler, Threads } from '../env.js';
import { realFileSystem } from './file-system.js';

/** Threads do not inherit how the process was started: a preload (of a tracing agent, for example) is not repeated. */
function cleanStart(): WorkerOptions {
  const { NODE_OPTIONS: _left, ...env } = process.env;
  return { execArgv: [], env };
}

export const realThreads: Threads = {
  fs: realFileSystem,
  start(entry: URL, data: unknown, handler: ThreadHandler): Thread {
    const worker = new Worker(entry, { workerData: data, ...cleanStart() });
    let failure: Error | undefined;
    worker.on('message', (message: unknown) => handler.message(message));
    worker.on('messageerror', (error) => {
      failure ??= error;
      void worker.terminate();
    });
    worker.on('error', (error) => {
      failure ??= error;
    });
    worker.once('exit', (code) => {
      handler.ended(failure ?? new Error(`the thread ended with code ${code}`));
    });
    // Must come last: adding a listener refs the worker again.
    worker.unref();
    return {
      post: (message) => worker.postMessage(message),
      hold: () => worker.ref(),
      release: () => worker.unref(),
      terminate: async () => {
        await worker.terminate();
      },
    };
  },
};
