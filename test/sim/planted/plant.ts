/** node --import …/plant.js: plants the bug that the environment variable SIM_PLANTED_BUG names. */
import { register } from 'node:module';
import { PLANTED_BUGS } from './bugs.js';

const name = process.env.SIM_PLANTED_BUG;
const planted = PLANTED_BUGS.find((bug) => bug.name === name);
if (!planted) throw new Error(`there is no planted bug "${name}"`);
register('./hook.js', { parentURL: import.meta.url, data: planted.patches });
