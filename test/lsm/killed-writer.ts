/**
 * A process that writes until it is killed, for `kill-process.test.ts`: says on standard output what is acknowledged.
 */
import { LsmTree } from '../../src/lsm/index.js';

const [directory = '', from = '0'] = process.argv.slice(2);
const tree = await LsmTree.open(directory, {
  writeBufferBytes: 16 * 1024,
  level0Trigger: 2,
  maxFileBytes: 16 * 1024,
  levelBaseBytes: 32 * 1024,
});
const write = async (number: number): Promise<void> => {
  const key = Buffer.from(`key${number % 50}`);
  const value = Buffer.from(`${number}:`.padEnd(200, 'x'));
  await tree.write(
    [
      { type: 'put', key, value },
      { type: 'put', key: Buffer.from('last'), value: Buffer.from(String(number)) },
    ],
    { durability: number % 7 === 0 ? 'sync' : 'buffered' },
  );
  process.stdout.write(`${number}\n`);
};
for (let number = Number(from) + 1; ; number += 8) {
  await Promise.all(Array.from({ length: 8 }, (_, i) => write(number + i)));
}
