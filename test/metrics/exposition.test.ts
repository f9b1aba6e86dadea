/** Prometheus' text format, and histograms. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Exposition } from '../../src/metrics/exposition.js';
import { Histogram } from '../../src/metrics/histogram.js';

test('samples are written with their help, type and labels', () => {
  const to = new Exposition();
  to.counter('a_total', 'How many.', 3);
  to.gauge('b', 'How much.', [
    [{ level: 0 }, 1.5],
    [{ level: 1, name: 'x "y" \\ \n' }, 0],
  ]);
  to.gauge('c', 'Of nothing.', []);
  assert.is(
    to.toString(),
    '# HELP a_total How many.\n# TYPE a_total counter\na_total 3\n' +
      '# HELP b How much.\n# TYPE b gauge\nb{level="0"} 1.5\nb{level="1",name="x \\"y\\" \\\\ \\n"} 0\n',
  );
});

test('a histogram counts what is at most as large as each bound', () => {
  const histogram = new Histogram([1, 10]);
  for (const value of [0, 1, 1.1, 10, 11, 100]) histogram.observe(value);
  assert.equal(histogram.cumulative, [2, 4, 6]);
  const to = new Exposition();
  to.histogram('h_seconds', 'Times.', histogram);
  assert.is(
    to.toString(),
    '# HELP h_seconds Times.\n# TYPE h_seconds histogram\nh_seconds_bucket{le="1"} 2\n' +
      'h_seconds_bucket{le="10"} 4\nh_seconds_bucket{le="+Inf"} 6\nh_seconds_sum 123.1\nh_seconds_count 6\n',
  );
});

test.run();
