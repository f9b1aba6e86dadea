/**
 * Loaded before each test file. uvu swallows what `test.before` throws: its tests count as failed and nothing says
 * why. Here the reason is printed.
 */
import { test } from 'uvu';

const register = test.before;
const reporting = (handler: Parameters<typeof register>[0]) =>
  register(async (context) => {
    try {
      await handler(context);
    } catch (error) {
      console.error('test.before failed:', error);
      throw error;
    }
  });
test.before = Object.assign(reporting, { each: register.each });
