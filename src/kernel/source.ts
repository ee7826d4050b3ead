/** Where kernel records come from: the kernel itself (KernelTap) or a recording (FakeEventSource). */
export interface EventSource {
  /**
   * Copies whole records into `into`, each at a multiple of 8 bytes and in cross-ring order: a record never comes
   * before the cgroup and process records that it depends on. Bounded work; returns bytes used, 0 = nothing now.
   */
  drain(into: Uint8Array): number;
  /**
   * Sums the kernel's counters over CPUs; index = kind * KT_REASON_COUNT + reason (record.h).
   *
   * @param into KT_KIND_COUNT * KT_REASON_COUNT entries
   */
  counters(into: BigUint64Array): void;
  /** Takes everything out of the kernel. Harmless when repeated; the other methods throw afterwards. */
  close(): void;
}
