/**
 * `npm run test:interaction -- FILE…`: holds our core to interaction scripts of etcd-io/raft. Exits 1 if any differs.
 */
import { DIFFERENCES, type DifferenceName } from './differences.js';
import { runScript } from './script-run.js';

const files = process.argv.slice(2);
if (files.length === 0) {
  process.stderr.write('usage: npm run test:interaction -- FILE...\n');
  process.exit(2);
}

const used = new Map<DifferenceName, string[]>();
for (const file of files) {
  const { commands, compared, inapplicable, leftOut, mismatches } = runScript(file);
  const verdict = mismatches.length > 0 ? 'DIFFERS' : 'agrees';
  process.stdout.write(`${file} ${verdict}: ${commands} commands, ${compared} compared`);
  if (inapplicable.length > 0) process.stdout.write(`, ${inapplicable.length + leftOut} do not apply`);
  process.stdout.write('\n');
  for (const { line, command, expected, actual } of mismatches) {
    process.stdout.write(`\n${file}:${line}: ${command}\nexpected:\n${expected}actual:\n${actual}\n`);
    process.exitCode = 1;
  }
  inapplicable.forEach(({ line, difference }, i) => {
    const after = i === inapplicable.length - 1 && leftOut > 0 ? ` and the ${leftOut} after it` : '';
    used.set(difference, [...(used.get(difference) ?? []), `${file}:${line}${after}`]);
  });
}
for (const [name, places] of used) {
  process.stdout.write(`\nDoes not apply: ${DIFFERENCES[name].reason}.\n`);
  for (const place of places) process.stdout.write(`  ${place}\n`);
}
