import { checkSchedules } from './check-schedules.js';
import { WINDOWS } from './schedules.js';

checkSchedules(WINDOWS.slice(0, WINDOWS.length / 2));
