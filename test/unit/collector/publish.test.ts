import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Collector, type CollectorOptions, startCollector } from '../../../src/collector/server.ts';
import { filesUnder, rowsUnder } from './event-files.ts';
import { NODE, openBatch, Publisher, RUN } from './publisher.ts';

let out: string;
let collector: Collector;
const publishers: Publisher[] = [];

async function start(options: Partial<CollectorOptions> = {}): Promise<void> {
  collector = await startCollector({ listen: '127.0.0.1:0', out, log: pino({ level: 'silent' }), ...options });
}

function publisher(): Publisher {
  const made = new Publisher(collector.address);
  publishers.push(made);
  return made;
}

beforeEach(() => {
  out = mkdtempSync(join(tmpdir(), 'kerntap-collector-'));
});

afterEach(async () => {
  for (const each of publishers.splice(0)) each.close();
  await collector.close();
  rmSync(out, { recursive: true, force: true });
});

describe('an acknowledged batch', () => {
  test('is on disk as rows, in the partition of its time, before the ack', async () => {
    await start();
    const agent = publisher()
      .hello()
      .batch(openBatch(1n, 1n, 3));
    await agent.untilAcked(1n);
    const [path] = filesUnder(out);
    expect(path).toBe(`kind=file.open/cluster=prod/dt=2026-11-22/hour=07/node-1-${RUN.toString('hex')}-1.ndjson.tmp`);
    expect(rowsUnder(out, true).map((row) => row['file_path'])).toEqual(['/data/1', '/data/2', '/data/3']);
    await collector.close();
    expect(filesUnder(out)).toEqual([path?.replace('.tmp', '')]);
    expect(rowsUnder(out)).toHaveLength(3);
  });
});
