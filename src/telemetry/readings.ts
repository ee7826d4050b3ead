/** What the agent's metrics and health are made of: plain values, read at the moment of the question. */
import type { LedgerSnapshot } from './ledger.ts';

export interface ProbeReading {
  /** Name of the kind. */
  readonly name: string;
  readonly tier: string;
  readonly state: 'on' | 'off' | 'failed';
  /** Why it failed; on: what is missing from it. */
  readonly reason: string;
}

export interface ProgramReading {
  readonly name: string;
  readonly runTimeNs: bigint;
  /** null: the kernel does not tell. */
  readonly recursionMisses: bigint | null;
}

export interface RingReading {
  readonly name: string;
  readonly bytes: number;
  readonly capacityBytes: number;
}

export interface StreamReading {
  /** idle, connecting, open, draining, waiting, closed. */
  readonly state: string;
  readonly ackedEvents: number;
  readonly queueBytes: number;
  /** Wall clock, ms since 1970; 0: never. */
  readonly lastAckMs: number;
}

export interface SpoolReading {
  /** Why it takes no events now; '' : it does. */
  readonly problem: string;
  readonly bytes: number;
  readonly capacityBytes: number;
  readonly writtenBytes: number;
  /** Events that wait there: of this run, and of earlier ones. */
  readonly events: number;
  readonly otherRunsEvents: number;
  /** How long nobody watched before this run; undefined: not known. */
  readonly blindMs: number | undefined;
}

export interface OtlpReading {
  /** idle, connecting, open, waiting, closed. */
  readonly state: string;
  /** Of the last failure; '' where it works. */
  readonly problem: string;
  /** accepted = confirmed + lost + waiting; the agent's own events are among them. */
  readonly acceptedEvents: number;
  readonly confirmedEvents: number;
  readonly waitingEvents: number;
  /** By reason. */
  readonly lost: Readonly<Record<string, number>>;
  readonly queueBytes: number;
  /** Of requests that were taken, before compression. */
  readonly sentBytes: number;
}

/** Where the names of pods come from. */
export interface PodsReading {
  /** Who answers now: pods-api, kubelet; undefined: nobody. */
  readonly source: string | undefined;
  /** How often that changed. */
  readonly changes: number;
  /** Wall clock, ms since 1970; undefined: never. */
  readonly lastSuccessMs: number | undefined;
  /** Why nobody answers. */
  readonly problem: string;
  readonly knownPods: number;
  /** Gone, and remembered for events that come late. */
  readonly gonePods: number;
  /** With a cgroup here, and not named. */
  readonly pendingPods: number;
  readonly sources: readonly PodSourceReading[];
}

export interface PodSourceReading {
  readonly name: string;
  readonly requests: number;
  /** By kind. */
  readonly failures: Readonly<Record<string, number>>;
  readonly skippedPods: number;
  readonly lastSuccessMs: number | undefined;
  /** Of the last request; '' where it succeeded. */
  readonly problem: string;
}

export interface HoldReading {
  readonly bytes: number;
  readonly released: number;
  readonly expired: number;
  readonly overflowed: number;
}

export interface ConfigReading {
  readonly applied: number;
  readonly refused: number;
  readonly lastSuccessful: boolean;
  /** Wall clock, ms since 1970. */
  readonly lastSuccessMs: number;
  /** Of the last refusal; '' where the file is in force. */
  readonly problem: string;
}

/** Times in ms since 1970; undefined: there is none. */
export interface TlsReading {
  readonly ownNotAfterMs: number | undefined;
  readonly authorityNotAfterMs: number | undefined;
  readonly applied: number;
  readonly refused: number;
  readonly lastSuccessful: boolean;
  /** Of the last refusal; '' where the files are in force. */
  readonly problem: string;
}

/** Whom the certificates are shown to; whoever is spoken to without TLS is not there. */
export type TlsReadings = ReadonlyMap<'collector' | 'otlp' | 'agents', TlsReading>;

/** Parts that are not there (no source of pods, no configuration file, no tail) are undefined. */
export interface AgentReadings {
  readonly version: string;
  readonly ledger: LedgerSnapshot;
  readonly namespaces: readonly { readonly namespace: string; readonly events: number }[];
  readonly rings: readonly RingReading[];
  /** Longest time between two drains within the last minute. */
  readonly drainLagMs: number;
  readonly probes: readonly ProbeReading[];
  readonly programs: readonly ProgramReading[];
  /** Events handed over in batches, by kind. */
  readonly events: ReadonlyMap<string, number>;
  readonly stream: StreamReading | undefined;
  readonly otlp: OtlpReading | undefined;
  readonly spool: SpoolReading | undefined;
  readonly pods: PodsReading | undefined;
  readonly hold: HoldReading | undefined;
  readonly config: ConfigReading | undefined;
  readonly tls: TlsReadings;
  /** By reason. */
  readonly tailDropped: Readonly<Record<string, number>> | undefined;
}
