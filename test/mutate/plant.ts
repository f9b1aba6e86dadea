/** node --import …/plant.js: patches the mutation that the environment variable MUTATION names into what is loaded. */
import { register } from 'node:module';
import { mutationOf } from './mutations.js';

const { patches } = mutationOf(process.env.MUTATION ?? '');
register('./hook.js', { parentURL: import.meta.url, data: patches });
