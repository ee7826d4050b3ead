import { Exposition } from './exposition.ts';
import { AGENT_METRICS } from './metrics.ts';
import { readProcess } from './process-metrics.ts';
import type { AgentReadings, OtlpReading, PodsReading, StreamReading } from './readings.ts';
import { addTls } from './tls-metrics.ts';

type AgentExposition = Exposition<typeof AGENT_METRICS>;

/** The agent's metrics as the text of one scrape. */
export function agentMetrics(now: AgentReadings): string {
  const out = new Exposition(AGENT_METRICS);
  addLedger(out, now);
  addTap(out, now);
  addPeers(out, now);
  addTls(out, now.tls);
  addSpool(out, now);
  const { version, cpuSeconds, residentBytes, startSeconds } = readProcess(now.version);
  out.add('kerntap_build_info', 1, version);
  out.add('process_start_time_seconds', startSeconds);
  out.add('process_cpu_seconds_total', cpuSeconds);
  out.add('process_resident_memory_bytes', residentBytes);
  return out.text();
}

function addLedger(out: AgentExposition, { ledger, events, namespaces }: AgentReadings): void {
  for (const [kind, line] of Object.entries(ledger.kinds)) {
    out.add('kerntap_seen_total', line.seen, kind);
    for (const [reason, count] of Object.entries(line.suppressed)) {
      out.add('kerntap_suppressed_total', count, kind, reason);
    }
  }
  for (const [kind, count] of events) out.add('kerntap_events_total', count, kind);
  for (const { stage, reason, kind, total } of ledger.lost) out.add('kerntap_lost_total', total, stage, reason, kind);
  for (const { namespace, events: count } of namespaces) out.add('kerntap_namespace_events_total', count, namespace);
}

function addTap(out: AgentExposition, { rings, drainLagMs, probes, programs }: AgentReadings): void {
  for (const { name, bytes, capacityBytes } of rings) {
    out.add('kerntap_ring_bytes', bytes, name);
    out.add('kerntap_ring_capacity_bytes', capacityBytes, name);
  }
  out.add('kerntap_drain_lag_seconds', drainLagMs / 1000);
  for (const { name, tier, state } of probes) out.add('kerntap_probe_state', 1, name, tier, state);
  for (const { name, runTimeNs, recursionMisses } of programs) {
    out.add('kerntap_probe_run_seconds_total', Number(runTimeNs) / 1e9, name);
    if (recursionMisses !== null) out.add('kerntap_probe_misses_total', Number(recursionMisses), name);
  }
}

function addSpool(out: AgentExposition, { spool, ledger }: AgentReadings): void {
  if (spool === undefined) return;
  out.add('kerntap_spool_up', spool.problem === '' ? 1 : 0);
  out.add('kerntap_spool_bytes', spool.bytes);
  out.add('kerntap_spool_capacity_bytes', spool.capacityBytes);
  out.add('kerntap_spool_written_bytes_total', spool.writtenBytes);
  out.add('kerntap_spool_events', spool.events, 'own');
  out.add('kerntap_spool_events', spool.otherRunsEvents, 'earlier');
  out.add('kerntap_earlier_runs_acked_events_total', ledger.earlierRuns?.acked ?? 0);
  // Of all runs together: each would be a series of its own for ever.
  const lost = new Map<string, number>();
  for (const { stage, reason, kind, total } of ledger.earlierRuns?.lost ?? []) {
    const key = JSON.stringify([stage, reason, kind]);
    lost.set(key, (lost.get(key) ?? 0) + total);
  }
  for (const [key, total] of lost) {
    const [stage, reason, kind] = JSON.parse(key) as [string, string, string];
    out.add('kerntap_earlier_runs_lost_events', total, stage, reason, kind);
  }
  if (spool.blindMs !== undefined) out.add('kerntap_blind_seconds', spool.blindMs / 1000);
}

function addPeers(out: AgentExposition, { stream, otlp, pods, hold, config, tailDropped }: AgentReadings): void {
  if (stream !== undefined) addStream(out, stream);
  if (otlp !== undefined) addOtlp(out, otlp);
  if (pods !== undefined) addPods(out, pods);
  if (hold !== undefined) {
    out.add('kerntap_hold_bytes', hold.bytes);
    for (const outcome of ['released', 'expired', 'overflowed'] as const) {
      out.add('kerntap_hold_released_total', hold[outcome], outcome);
    }
  }
  if (config !== undefined) {
    out.add('kerntap_config_reloads_total', config.applied, 'applied');
    out.add('kerntap_config_reloads_total', config.refused, 'refused');
    out.add('kerntap_config_last_reload_successful', config.lastSuccessful ? 1 : 0);
    out.add('kerntap_config_last_reload_success_timestamp_seconds', config.lastSuccessMs / 1000);
  }
  for (const [reason, count] of Object.entries(tailDropped ?? {})) out.add('kerntap_tail_dropped_total', count, reason);
}

function addStream(out: AgentExposition, { state, ackedEvents, queueBytes, lastAckMs }: StreamReading): void {
  out.add('kerntap_stream_connected', state === 'open' || state === 'draining' ? 1 : 0);
  out.add('kerntap_stream_acked_events_total', ackedEvents);
  out.add('kerntap_stream_queue_bytes', queueBytes);
  out.add('kerntap_stream_last_ack_timestamp_seconds', lastAckMs / 1000);
}

function addOtlp(out: AgentExposition, now: OtlpReading): void {
  out.add('kerntap_otlp_connected', now.state === 'open' ? 1 : 0);
  out.add('kerntap_otlp_accepted_events_total', now.acceptedEvents);
  out.add('kerntap_otlp_confirmed_events_total', now.confirmedEvents);
  for (const [reason, count] of Object.entries(now.lost)) out.add('kerntap_otlp_lost_events_total', count, reason);
  out.add('kerntap_otlp_waiting_events', now.waitingEvents);
  out.add('kerntap_otlp_queue_bytes', now.queueBytes);
  out.add('kerntap_otlp_sent_bytes_total', now.sentBytes);
}

function addPods(out: AgentExposition, pods: PodsReading): void {
  out.add('kerntap_kubelet_up', pods.source === undefined ? 0 : 1);
  out.add('kerntap_kubelet_last_success_timestamp_seconds', (pods.lastSuccessMs ?? 0) / 1000);
  out.add('kerntap_known_pods', pods.knownPods);
  out.add('kerntap_gone_pods', pods.gonePods);
  out.add('kerntap_pending_pods', pods.pendingPods);
  out.add('kerntap_pod_source_changes_total', pods.changes);
  for (const { name, requests, failures, skippedPods, lastSuccessMs } of pods.sources) {
    out.add('kerntap_pod_source_active', pods.source === name ? 1 : 0, name);
    out.add('kerntap_pod_source_last_success_timestamp_seconds', (lastSuccessMs ?? 0) / 1000, name);
    out.add('kerntap_pod_source_requests_total', requests, name);
    for (const [reason, count] of Object.entries(failures)) {
      if (count > 0) out.add('kerntap_pod_source_failures_total', count, name, reason);
    }
    out.add('kerntap_pod_source_skipped_pods_total', skippedPods, name);
  }
}
