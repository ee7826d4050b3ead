import { expect, test } from 'vitest';
import { Counters } from '../../../src/collector/counters.ts';
import { activity, summaryLine } from '../../../src/collector/summary.ts';

test('the summary tells rates by kind, the most frequent first, and totals', () => {
  const counters = new Counters();
  for (let i = 0; i < 10; i++) counters.event('process.exec');
  const before = counters.snapshot();
  counters.streams = 3;
  for (let i = 0; i < 5; i++) counters.event('process.exit');
  for (let i = 0; i < 5000; i++) counters.event('file.open');
  counters.bytesWritten = 3 * 1024 * 1024;
  const seen = activity(before, counters.snapshot(), 5);
  expect(summaryLine(seen)).toBe('3 agents  1,001 events/s  file.open 1,000  process.exit 1.0  3.0 MiB written');
});

test('the summary tells what went wrong', () => {
  const counters = new Counters();
  const before = counters.snapshot();
  counters.streams = 1;
  counters.batchesRejected = 2;
  counters.refusedEvent('no body that this reader knows');
  counters.blocked = 'ENOSPC: no space left on device';
  expect(summaryLine(activity(before, counters.snapshot(), 5))).toBe(
    '1 agent  0.0 events/s  0 B written  2 batches rejected  1 events refused  WAITING FOR THE DISK: ENOSPC: no space left on device',
  );
});
