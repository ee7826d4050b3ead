/**
 * Health as the kubelet asks for it. Not alive (the pod is restarted): the drain is stuck, or a probe that was attached
 * is gone. Degraded, yet alive and ready: what a restart would not mend. The body tells all of it.
 */
import type { ConfigReading, OtlpReading, PodsReading, ProbeReading, TlsReadings } from './readings.ts';

/** A drain is due every 15 ms. */
export const DRAIN_STUCK_MS = 10_000;

export interface HealthReadings {
  /** Every probe was tried: events flow. */
  readonly started: boolean;
  readonly stopping: boolean;
  /** Since the last drain of the rings ended. */
  readonly sinceDrainMs: number;
  readonly probes: readonly ProbeReading[];
  /** Probes that were attached and are not any more though nobody turned them off: name -> reason. */
  readonly lostProbes: ReadonlyMap<string, string>;
  /** State of the stream to the collector; undefined: there is none. */
  readonly stream: string | undefined;
  /** Why it is not open; '' where nothing is known. */
  readonly streamProblem: string;
  /** The way to an OTLP receiver; undefined: there is none. */
  readonly otlp?: Pick<OtlpReading, 'state' | 'problem'> | undefined;
  /** Why the spool takes no events; '' : it does, or there is none. */
  readonly spool: string;
  readonly pods: PodsReading | undefined;
  readonly config: ConfigReading | undefined;
  readonly tls: TlsReadings;
}

export interface Finding {
  /** drain, probe, collector, spool, otlp, certificates, kubelet, config, start. */
  readonly part: string;
  readonly name?: string;
  readonly reason: string;
}

/** One answer: 200 where `ok`, else 503, with the rest as JSON. */
export interface HealthAnswer {
  readonly ok: boolean;
  readonly status: 'ok' | 'degraded' | 'failed';
  /** Why it is not ok. */
  readonly failed: readonly Finding[];
  readonly degraded: readonly Finding[];
  /** Where the names of pods come from; absent where nobody is asked. */
  readonly pods?: PodsFrom;
}

export interface PodsFrom {
  /** pods-api, kubelet, none. */
  readonly source: string;
  /** Since the kubelet last told of a pod; null: never. */
  readonly age_s: number | null;
  /** Of the source that is not used, where it is asked. */
  readonly problems: Readonly<Record<string, string>>;
}

function answer(failed: readonly Finding[], degraded: readonly Finding[]): HealthAnswer {
  const ok = failed.length === 0;
  return { ok, status: ok ? (degraded.length === 0 ? 'ok' : 'degraded') : 'failed', failed, degraded };
}

/** /healthz: should it go on, or be started anew? */
export function liveness(now: HealthReadings): HealthAnswer {
  const failed: Finding[] = [];
  if (now.sinceDrainMs >= DRAIN_STUCK_MS) {
    failed.push({ part: 'drain', reason: `the rings were not drained for ${Math.floor(now.sinceDrainMs / 1000)} s` });
  }
  for (const [name, reason] of now.lostProbes) failed.push({ part: 'probe', name, reason: `lost: ${reason}` });
  return answer(failed, degradations(now));
}

/** /readyz: are events taken? Also where some are not. */
export function readiness(now: HealthReadings): HealthAnswer {
  const { failed, degraded } = liveness(now);
  const more: Finding[] = [];
  if (now.stopping) more.push({ part: 'start', reason: 'the agent is stopping' });
  else if (!now.started) more.push({ part: 'start', reason: 'the probes are still being attached' });
  const { pods } = now;
  return { ...answer([...more, ...failed], degraded), ...(pods && { pods: podsFrom(pods) }) };
}

function podsFrom({ source = 'none', lastSuccessMs, sources }: PodsReading): PodsFrom {
  const problems = sources.filter(({ problem }) => problem !== '').map(({ name, problem }) => [name, problem] as const);
  const age_s = lastSuccessMs === undefined ? null : Math.max(0, Math.round((Date.now() - lastSuccessMs) / 1000));
  return { source, age_s, problems: Object.fromEntries(problems) };
}

function degradations(now: HealthReadings): Finding[] {
  const { probes, lostProbes, stream, streamProblem, spool, otlp, pods, config, tls } = now;
  const found: Finding[] = [];
  for (const { name, state, reason } of probes) {
    if (state === 'failed' && !lostProbes.has(name)) found.push({ part: 'probe', name, reason });
  }
  if (stream !== undefined && stream !== 'open' && stream !== 'draining') {
    found.push({ part: 'collector', reason: `no stream to the collector: ${streamProblem || stream}` });
  }
  if (otlp !== undefined && otlp.state !== 'open') {
    found.push({ part: 'otlp', reason: otlp.problem || `no answer from the OTLP receiver yet: ${otlp.state}` });
  }
  if (spool !== '') found.push({ part: 'spool', reason: spool });
  if (pods !== undefined && pods.source === undefined) {
    found.push({ part: 'kubelet', reason: pods.problem || 'no pods were read yet' });
  }
  for (const [name, { lastSuccessful, problem }] of tls) {
    if (!lastSuccessful) found.push({ part: 'certificates', name, reason: problem });
  }
  if (config !== undefined && !config.lastSuccessful) found.push({ part: 'config', reason: config.problem });
  return found;
}
