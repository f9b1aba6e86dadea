import { checkSchedules } from './check-schedules.js';
import { MERGE_WINDOWS } from './merge-windows.js';

checkSchedules(MERGE_WINDOWS);
