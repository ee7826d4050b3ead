/** Every metric that kerntap serves. docs/metrics.md is made from this table; rules and dashboards are checked by it. */

export interface Metric {
  readonly type: 'counter' | 'gauge';
  readonly help: string;
  readonly labels: readonly string[];
}

/** Of the process itself, whichever it is. */
const PROCESS_METRICS = {
  kerntap_build_info: { type: 'gauge', help: 'Always 1; tells the version.', labels: ['version'] },
  process_start_time_seconds: { type: 'gauge', help: 'When the process started, seconds since 1970.', labels: [] },
  process_cpu_seconds_total: { type: 'counter', help: 'CPU time of the process, user and system.', labels: [] },
  process_resident_memory_bytes: { type: 'gauge', help: 'Resident memory, the rings included.', labels: [] },
} as const satisfies Readonly<Record<string, Metric>>;

/** Of whichever of the two speaks TLS; `peer` is whom it speaks to: collector or otlp, and agents at the collector. */
export const TLS_METRICS = {
  kerntap_certificate_expiry_timestamp_seconds: {
    type: 'gauge',
    help: 'When a certificate ends: own (the process shows it), authority (the first of those that peers are checked by).',
    labels: ['peer', 'certificate'],
  },
  kerntap_certificate_reloads_total: {
    type: 'counter',
    help: 'Changes of the certificates on disk: applied or refused.',
    labels: ['peer', 'result'],
  },
  kerntap_certificate_last_reload_successful: {
    type: 'gauge',
    help: '1 where the certificates on disk are those in force.',
    labels: ['peer'],
  },
} as const satisfies Readonly<Record<string, Metric>>;

/** Served by the agent. Counters begin at 0 with each start. */
export const AGENT_METRICS = {
  kerntap_seen_total: {
    type: 'counter',
    help: 'Acts that reached a hook. seen = suppressed + lost (but for the stage otlp) + acked + what is on its way.',
    labels: ['kind'],
  },
  kerntap_events_total: { type: 'counter', help: 'Events handed to the stream, in batches.', labels: ['kind'] },
  kerntap_suppressed_total: {
    type: 'counter',
    help: 'Acts that are no event because nobody asked for them: filtered, sampled, or of the agent itself.',
    labels: ['kind', 'reason'],
  },
  kerntap_lost_total: {
    type: 'counter',
    help: 'Events lost, by where and why; kind is empty where it is not known or mixed.',
    labels: ['stage', 'reason', 'kind'],
  },
  kerntap_namespace_events_total: {
    type: 'counter',
    help: 'Events by namespace; empty: of the host, or no pod known yet. The first 100 namespaces, then other.',
    labels: ['namespace'],
  },
  kerntap_ring_bytes: { type: 'gauge', help: 'Bytes that wait in a ring.', labels: ['ring'] },
  kerntap_ring_capacity_bytes: { type: 'gauge', help: 'Size of a ring.', labels: ['ring'] },
  kerntap_drain_lag_seconds: {
    type: 'gauge',
    help: 'Longest time between two drains of the rings within the last minute.',
    labels: [],
  },
  kerntap_probe_state: {
    type: 'gauge',
    help: '1 for the state that a probe is in: on, off, failed; tier is empty where it has none.',
    labels: ['kind', 'tier', 'state'],
  },
  kerntap_probe_run_seconds_total: {
    type: 'counter',
    help: 'Time in a BPF program; 0 unless sysctl kernel.bpf_stats_enabled is 1.',
    labels: ['program'],
  },
  kerntap_probe_misses_total: {
    type: 'counter',
    help: 'Times that the kernel skipped a program because it was running already on that CPU.',
    labels: ['program'],
  },
  kerntap_stream_connected: { type: 'gauge', help: '1 while the stream to the collector is open.', labels: [] },
  kerntap_stream_acked_events_total: {
    type: 'counter',
    help: 'Events that the collector confirmed as durable.',
    labels: [],
  },
  kerntap_stream_queue_bytes: { type: 'gauge', help: 'Memory of batches that are not confirmed.', labels: [] },
  kerntap_stream_last_ack_timestamp_seconds: {
    type: 'gauge',
    help: 'When the collector last confirmed anything; 0: never.',
    labels: [],
  },
  kerntap_spool_up: { type: 'gauge', help: '1 while the spool takes events, or would.', labels: [] },
  kerntap_spool_bytes: { type: 'gauge', help: 'Bytes of the spool on disk.', labels: [] },
  kerntap_spool_capacity_bytes: { type: 'gauge', help: 'Most bytes of it.', labels: [] },
  kerntap_spool_written_bytes_total: { type: 'counter', help: 'Bytes written to it.', labels: [] },
  kerntap_spool_events: {
    type: 'gauge',
    help: 'Events that wait in the spool: of this run (own) or of earlier ones (earlier).',
    labels: ['run'],
  },
  kerntap_earlier_runs_acked_events_total: {
    type: 'counter',
    help: 'Events of earlier runs, from the spool, that the collector confirmed.',
    labels: [],
  },
  kerntap_earlier_runs_lost_events: {
    type: 'gauge',
    help: 'Events of earlier runs that are known to be lost; in kerntap_lost_total are those of this run.',
    labels: ['stage', 'reason', 'kind'],
  },
  kerntap_blind_seconds: {
    type: 'gauge',
    help: 'How long nobody watched this node before this agent started; absent: not known.',
    labels: [],
  },
  kerntap_otlp_connected: {
    type: 'gauge',
    help: '1 while the OTLP receiver answers what it is sent.',
    labels: [],
  },
  kerntap_otlp_accepted_events_total: {
    type: 'counter',
    help: "Events handed to OTLP, the agent's own among them: confirmed + lost + waiting.",
    labels: [],
  },
  kerntap_otlp_confirmed_events_total: {
    type: 'counter',
    help: 'Events that the OTLP receiver took.',
    labels: [],
  },
  kerntap_otlp_lost_events_total: {
    type: 'counter',
    help: 'Events that it did not get: overflow, rejected, unwritable, undeliverable, closed, or the status that refused them.',
    labels: ['reason'],
  },
  kerntap_otlp_waiting_events: { type: 'gauge', help: 'Events that it has not confirmed yet.', labels: [] },
  kerntap_otlp_queue_bytes: { type: 'gauge', help: 'Memory of batches that it has not confirmed.', labels: [] },
  kerntap_otlp_sent_bytes_total: {
    type: 'counter',
    help: 'Bytes of requests that it took, before compression.',
    labels: [],
  },
  kerntap_kubelet_up: { type: 'gauge', help: '1 where the kubelet answers, by either of its APIs.', labels: [] },
  kerntap_kubelet_last_success_timestamp_seconds: {
    type: 'gauge',
    help: 'When the kubelet last told of pods; 0: never.',
    labels: [],
  },
  kerntap_known_pods: { type: 'gauge', help: 'Pods of this node, as the kubelet tells them.', labels: [] },
  kerntap_gone_pods: {
    type: 'gauge',
    help: 'Pods that are gone and remembered for events that come late.',
    labels: [],
  },
  kerntap_pending_pods: { type: 'gauge', help: 'Pods with a cgroup here that the kubelet has not named.', labels: [] },
  kerntap_pod_source_active: {
    type: 'gauge',
    help: '1 for the source that names pods now: pods-api (the unix socket), kubelet (HTTPS /pods).',
    labels: ['source'],
  },
  kerntap_pod_source_changes_total: {
    type: 'counter',
    help: 'Times that another source took over, or none was left.',
    labels: [],
  },
  kerntap_pod_source_last_success_timestamp_seconds: {
    type: 'gauge',
    help: 'When a source last answered or told of a change; 0: never.',
    labels: ['source'],
  },
  kerntap_pod_source_requests_total: { type: 'counter', help: 'Requests, and watches begun.', labels: ['source'] },
  kerntap_pod_source_failures_total: {
    type: 'counter',
    help: 'Requests and watches that failed, by why: unreachable, not-ready, exhausted, timeout, reply, ...',
    labels: ['source', 'reason'],
  },
  kerntap_pod_source_skipped_pods_total: {
    type: 'counter',
    help: 'Pods that could not be read: left out, the others taken.',
    labels: ['source'],
  },
  kerntap_hold_bytes: { type: 'gauge', help: 'Memory of events that wait for the name of their pod.', labels: [] },
  kerntap_hold_released_total: {
    type: 'counter',
    help: 'Events that waited: released (the name came), expired (in time it did not), overflowed (memory).',
    labels: ['outcome'],
  },
  kerntap_config_reloads_total: {
    type: 'counter',
    help: 'Changes of the configuration file: applied or refused.',
    labels: ['result'],
  },
  kerntap_config_last_reload_successful: {
    type: 'gauge',
    help: '1 where the configuration file as it is now is in force.',
    labels: [],
  },
  kerntap_config_last_reload_success_timestamp_seconds: {
    type: 'gauge',
    help: 'When the configuration that is in force was taken.',
    labels: [],
  },
  kerntap_tail_dropped_total: {
    type: 'counter',
    help: 'Events that stdout did not show, as over its rate or bytes, or beyond its reader or queue; the collector has them.',
    labels: ['reason'],
  },
  ...TLS_METRICS,
  ...PROCESS_METRICS,
} as const satisfies Readonly<Record<string, Metric>>;

/** Served by the collector. Counters begin at 0 with each start. */
export const COLLECTOR_METRICS = {
  kerntap_collector_streams: { type: 'gauge', help: 'Open streams of agents.', labels: [] },
  kerntap_collector_refused_streams_total: {
    type: 'counter',
    help:
      'Streams refused: client_name (its certificate may not publish for that node), client_streams, streams, schema, ' +
      'protocol; and tls, handshakes that failed.',
    labels: ['reason'],
  },
  kerntap_collector_throttled_seconds_total: {
    type: 'counter',
    help: 'Time that streams were not read since their client was over its quota; nothing is lost by it.',
    labels: [],
  },
  kerntap_collector_events_total: { type: 'counter', help: 'Rows taken.', labels: ['kind'] },
  kerntap_collector_refused_events_total: {
    type: 'counter',
    help: 'Events of accepted batches that could not be made a row.',
    labels: ['reason'],
  },
  kerntap_collector_bytes_written_total: { type: 'counter', help: 'Bytes that are durable.', labels: [] },
  kerntap_collector_rejected_batches_total: {
    type: 'counter',
    help: 'Batches refused for good: undecodable, run_id, sequence, node_facts.',
    labels: ['reason'],
  },
  kerntap_collector_disk_errors_total: { type: 'counter', help: 'Errors of the disk.', labels: [] },
  kerntap_collector_blocked: {
    type: 'gauge',
    help: '1 while the disk refuses and nothing is acknowledged.',
    labels: [],
  },
  kerntap_collector_retention_deleted_files_total: {
    type: 'counter',
    help: 'Files deleted to keep within the size and the age.',
    labels: [],
  },
  kerntap_collector_retention_deleted_bytes_total: { type: 'counter', help: 'Their bytes.', labels: [] },
  kerntap_collector_open_files: { type: 'gauge', help: 'Files that are written.', labels: [] },
  ...TLS_METRICS,
  ...PROCESS_METRICS,
} as const satisfies Readonly<Record<string, Metric>>;

/** All of them, by name. */
export const METRICS: Readonly<Record<string, Metric>> = { ...AGENT_METRICS, ...COLLECTOR_METRICS };
