import { checkSchedules } from './check-schedules.js';
import { WINDOWS } from './schedules.js';

checkSchedules(WINDOWS.slice(WINDOWS.length / 2));
