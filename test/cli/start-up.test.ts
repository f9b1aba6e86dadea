/** What a command loads before it runs: most of them are short, and loading takes longer than their work. */
import * as fs from 'node:fs';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'uvu';
import * as assert from 'uvu/assert';

const SRC = fileURLToPath(new URL('../../src/', import.meta.url));
const STATIC_IMPORT = /^(?:import|export)\b(?:[^'"();=]*\bfrom)?\s*'([^']+)';$/gm;

/** The compiled files below src/ that a file imports at once, with all that they import, and the packages. */
function closureOf(entry: string): { readonly files: Set<string>; readonly packages: Set<string> } {
  const files = new Set<string>([entry]);
  const packages = new Set<string>();
  for (const file of files) {
    const source = fs.readFileSync(path.join(SRC, file), 'utf8');
    for (const [, name = ''] of source.matchAll(STATIC_IMPORT)) {
      if (name.startsWith('.')) files.add(path.join(path.dirname(file), name));
      else if (!name.startsWith('node:')) packages.add(name);
    }
  }
  return { files, packages };
}

test('the command line loads the client; server, doors, storage engine and their packages come with their commands', () => {
  const { files, packages } = closureOf('cli/main.js');
  const rooms = [...new Set([...files].map((file) => file.split(path.sep)[0]))].sort();
  assert.ok(files.has(path.join('client', 'client.js')), 'it sees imports');
  for (const room of ['lsm', 'doors', 'replica', 'store', 'raft-log', 'embed', 'metrics'])
    assert.not(rooms.includes(room), room);
  assert.equal(
    [...files].filter((file) => file.startsWith('server')),
    [path.join('server', 'version.js')],
  );
  assert.equal([...packages].sort(), ['commander', 'crc-32']);
});

test('a node loads what makes its log pretty, and the doors for HTTP and RESP, only if it has them', () => {
  const { files, packages } = closureOf('cli/run-node.js');
  assert.ok(files.has(path.join('doors', 'native', 'listener.js')));
  for (const door of ['http', 'resp']) assert.not(files.has(path.join('doors', door, 'listener.js')), door);
  assert.ok(packages.has('pino'));
  assert.not(packages.has('pino-pretty'));
});

test.run();
