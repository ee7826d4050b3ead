import { describe, expect, it } from 'vitest';
import { Counters } from '../../../src/collector/counters.ts';
import { collectorLiveness, collectorMetrics, collectorReadiness } from '../../../src/telemetry/collector-metrics.ts';
import { COLLECTOR_METRICS, METRICS } from '../../../src/telemetry/metrics.ts';
import { parseExposition } from './exposition-parser.ts';

const TLS = {
  ownNotAfterMs: 1_700_000_000_000,
  authorityNotAfterMs: undefined,
  applied: 2,
  refused: 0,
  lastSuccessful: true,
  problem: '',
};

function busy(): Counters {
  const counters = new Counters();
  counters.streams = 2;
  counters.event('file.open');
  counters.event('file.open');
  counters.refusedEvent('row above 1 MiB');
  counters.rejectedBatch('run_id');
  counters.bytesWritten = 4096;
  counters.retentionDeletedFiles = 3;
  counters.refusedPeer('tls');
  counters.refusedPeer('client_name');
  counters.throttledMs = 1500;
  return counters;
}

describe("the collector's metrics", () => {
  it('are those of the table, whole, and tell what was counted', () => {
    const families = parseExposition(collectorMetrics(busy().snapshot(), '1.2.3', TLS));
    expect([...families.keys()]).toEqual(Object.keys(COLLECTOR_METRICS));
    for (const [name, { type, samples }] of families) {
      expect(type).toBe(METRICS[name]?.type);
      for (const { labels } of samples) expect(Object.keys(labels)).toEqual(METRICS[name]?.labels);
    }
    const value = (name: keyof typeof COLLECTOR_METRICS) =>
      families.get(name)?.samples.map((sample) => [...Object.values(sample.labels), sample.value]);
    expect(value('kerntap_collector_events_total')).toEqual([['file.open', 2]]);
    expect(value('kerntap_collector_refused_events_total')).toEqual([['row above 1 MiB', 1]]);
    expect(value('kerntap_collector_rejected_batches_total')).toEqual([['run_id', 1]]);
    expect(value('kerntap_collector_refused_streams_total')).toEqual([
      ['tls', 1],
      ['client_name', 1],
    ]);
    expect(value('kerntap_collector_throttled_seconds_total')).toEqual([[1.5]]);
    expect(value('kerntap_certificate_expiry_timestamp_seconds')).toEqual([['agents', 'own', 1_700_000_000]]);
    expect(value('kerntap_certificate_last_reload_successful')).toEqual([['agents', 1]]);
    expect(value('kerntap_collector_bytes_written_total')).toEqual([[4096]]);
    expect(value('kerntap_collector_retention_deleted_files_total')).toEqual([[3]]);
    expect(value('kerntap_collector_blocked')).toEqual([[0]]);
  });
});

describe("the collector's health", () => {
  it('is alive and not ready while the disk refuses', () => {
    const now = { blocked: 'ENOSPC: no space left on device' };
    const degraded = [{ part: 'disk', reason: now.blocked }];
    expect(collectorLiveness(now)).toEqual({ ok: true, status: 'degraded', failed: [], degraded });
    expect(collectorReadiness(now, false)).toEqual({ ok: false, status: 'failed', failed: degraded, degraded: [] });
  });

  it('is ready until it stops', () => {
    expect(collectorReadiness({ blocked: null }, false)).toMatchObject({ ok: true, status: 'ok' });
    expect(collectorReadiness({ blocked: null }, true)).toMatchObject({ ok: false, failed: [{ part: 'start' }] });
  });
});
