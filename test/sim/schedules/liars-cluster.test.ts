import { checkSchedules } from './check-schedules.js';
import { LIARS } from './liars.js';

checkSchedules(LIARS);
