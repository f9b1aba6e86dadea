import { checkSchedules } from './check-schedules.js';
import { MISTAKES } from './mistakes.js';

checkSchedules(MISTAKES);
