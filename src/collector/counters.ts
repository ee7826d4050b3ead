/** What a collector has done since its start, and what it is doing. Counts are monotonic. */
export interface CollectorStats {
  /** Open streams. */
  readonly streams: number;
  readonly streamsOpened: number;
  /** Streams that the collector ended for the peer's fault. */
  readonly streamsRefused: number;
  /** The same, and TLS handshakes that failed, by reason. */
  readonly refusedBy: Readonly<Record<string, number>>;
  /** Time that streams were not read since their client was over its quota, ms. */
  readonly throttledMs: number;
  readonly batches: number;
  /** Batches refused for good; their peer was told. */
  readonly batchesRejected: number;
  readonly batchesRejectedBy: Readonly<Record<string, number>>;
  /** Rows taken, by kind. */
  readonly events: Readonly<Record<string, number>>;
  /** Events of accepted batches that could not be made a row, by reason. */
  readonly eventsRefused: Readonly<Record<string, number>>;
  /** Messages that are neither Hello nor batch. */
  readonly messagesIgnored: number;
  readonly bytesReceived: number;
  /** Durable. */
  readonly bytesWritten: number;
  readonly commits: number;
  readonly filesOpen: number;
  readonly filesFinished: number;
  readonly diskErrors: number;
  readonly retentionDeletedFiles: number;
  readonly retentionDeletedBytes: number;
  /** The disk's error for which nothing is read or acknowledged at this moment; null: none. */
  readonly blocked: string | null;
}

/** The same, for those who count. */
export class Counters implements CollectorStats {
  streams = 0;
  streamsOpened = 0;
  streamsRefused = 0;
  readonly refusedBy: Record<string, number> = {};
  throttledMs = 0;
  batches = 0;
  batchesRejected = 0;
  readonly batchesRejectedBy: Record<string, number> = {};
  readonly events: Record<string, number> = {};
  readonly eventsRefused: Record<string, number> = {};
  messagesIgnored = 0;
  bytesReceived = 0;
  bytesWritten = 0;
  commits = 0;
  filesOpen = 0;
  filesFinished = 0;
  diskErrors = 0;
  retentionDeletedFiles = 0;
  retentionDeletedBytes = 0;
  blocked: string | null = null;

  event(kind: string): void {
    this.events[kind] = (this.events[kind] ?? 0) + 1;
  }

  /** `reason` comes from a fixed set. */
  refusedEvent(reason: string): void {
    this.eventsRefused[reason] = (this.eventsRefused[reason] ?? 0) + 1;
  }

  /** `reason` comes from a fixed set. */
  refusedPeer(reason: string): void {
    if (reason !== 'tls') this.streamsRefused += 1;
    this.refusedBy[reason] = (this.refusedBy[reason] ?? 0) + 1;
  }

  /** `reason` comes from a fixed set. */
  rejectedBatch(reason: string): void {
    this.batchesRejected += 1;
    this.batchesRejectedBy[reason] = (this.batchesRejectedBy[reason] ?? 0) + 1;
  }

  snapshot(): CollectorStats {
    const { events, eventsRefused, batchesRejectedBy, refusedBy } = this;
    return {
      ...this,
      events: { ...events },
      eventsRefused: { ...eventsRefused },
      batchesRejectedBy: { ...batchesRejectedBy },
      refusedBy: { ...refusedBy },
    };
  }
}
