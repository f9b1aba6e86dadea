/** node --import …/plant.js: patches the mutation that the environment variable MUTATION names into what is loaded. */
import { register, syncBuiltinESMExports } from 'node:module';
import threads from 'node:worker_threads';
import { mutationOf } from './mutations.js';

const { patches } = mutationOf(process.env.MUTATION ?? '');
register('./hook.js', { parentURL: import.meta.url, data: patches });

/** The house starts its threads clean: here they are to have the mutation too. */
class PlantedWorker extends threads.Worker {
  constructor(entry: string | URL, options: threads.WorkerOptions = {}) {
    super(entry, { ...options, execArgv: process.execArgv });
  }
}

Object.assign(threads, { Worker: PlantedWorker });
syncBuiltinESMExports();
