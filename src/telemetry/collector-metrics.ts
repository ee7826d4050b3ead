import type { CollectorStats } from '../collector/counters.ts';
import { Exposition } from './exposition.ts';
import type { HealthAnswer } from './health.ts';
import { COLLECTOR_METRICS } from './metrics.ts';
import { readProcess } from './process-metrics.ts';
import type { TlsReading, TlsReadings } from './readings.ts';
import { addTls } from './tls-metrics.ts';

/** The collector's metrics as the text of one scrape. */
export function collectorMetrics(now: CollectorStats, version: string, tls?: TlsReading): string {
  const out = new Exposition(COLLECTOR_METRICS);
  out.add('kerntap_collector_streams', now.streams);
  for (const [reason, count] of Object.entries(now.refusedBy)) {
    out.add('kerntap_collector_refused_streams_total', count, reason);
  }
  out.add('kerntap_collector_throttled_seconds_total', now.throttledMs / 1000);
  for (const [kind, count] of Object.entries(now.events)) out.add('kerntap_collector_events_total', count, kind);
  for (const [reason, count] of Object.entries(now.eventsRefused)) {
    out.add('kerntap_collector_refused_events_total', count, reason);
  }
  out.add('kerntap_collector_bytes_written_total', now.bytesWritten);
  for (const [reason, count] of Object.entries(now.batchesRejectedBy)) {
    out.add('kerntap_collector_rejected_batches_total', count, reason);
  }
  out.add('kerntap_collector_disk_errors_total', now.diskErrors);
  out.add('kerntap_collector_blocked', now.blocked === null ? 0 : 1);
  out.add('kerntap_collector_retention_deleted_files_total', now.retentionDeletedFiles);
  out.add('kerntap_collector_retention_deleted_bytes_total', now.retentionDeletedBytes);
  out.add('kerntap_collector_open_files', now.filesOpen);
  const certificates: TlsReadings = tls === undefined ? new Map() : new Map([['agents', tls]]);
  addTls(out, certificates);
  const { cpuSeconds, residentBytes, startSeconds } = readProcess(version);
  out.add('kerntap_build_info', 1, version);
  out.add('process_start_time_seconds', startSeconds);
  out.add('process_cpu_seconds_total', cpuSeconds);
  out.add('process_resident_memory_bytes', residentBytes);
  return out.text();
}

/** /healthz: a collector that answers is alive; a disk that refuses is not mended by a restart. */
export function collectorLiveness({ blocked }: Pick<CollectorStats, 'blocked'>): HealthAnswer {
  const degraded = blocked === null ? [] : [{ part: 'disk', reason: blocked }];
  return { ok: true, status: degraded.length === 0 ? 'ok' : 'degraded', failed: [], degraded };
}

/** /readyz: while nothing can be acknowledged, agents do better elsewhere. */
export function collectorReadiness(now: Pick<CollectorStats, 'blocked'>, stopping: boolean): HealthAnswer {
  const failed = [...collectorLiveness(now).degraded];
  if (stopping) failed.push({ part: 'start', reason: 'the collector is stopping' });
  return { ok: failed.length === 0, status: failed.length === 0 ? 'ok' : 'failed', failed, degraded: [] };
}
