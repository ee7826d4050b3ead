import type { EncodedBatch } from './batch.ts';
import type { DeliveryLoss } from './delivery-losses.ts';
import type { RunLosses } from './run-losses.ts';
import type { QueueDepth } from './send-queue.ts';
import type { SpoolReading } from './spool/spool.ts';

/** A way of batches to someone who confirms them: the stream to the collector, or OTLP. Each has books of its own. */
export interface Delivery {
  /** Events given to `send`, and those confirmed, by kind (event-kinds.ts). */
  readonly accepted: Float64Array;
  readonly confirmed: Float64Array;
  /** What is in memory alone, neither confirmed nor lost. */
  readonly depth: QueueDepth;
  /** What is on disk; undefined: no spool. */
  readonly stored: SpoolReading | undefined;
  /** Of it the events of this run, by kind. */
  readonly storedKinds?: Float64Array;
  /** When anything was last confirmed, ms since 1970; 0: never. */
  readonly lastAckMs?: number;
  /** Share of the memory for that which is taken, 0 to 1. */
  readonly fill: number;
  /** What did not arrive, of this run and of earlier ones. */
  readonly lost: RunLosses;
  /** Events of earlier runs that were confirmed. */
  readonly confirmedOfOthers: number;
  /** open: what was last tried worked. */
  readonly state: string;
  /** Why it is not open; '' where nothing is known. */
  readonly problem: string;
  start(): void;
  send(batch: EncodedBatch): void;
  /** Totals of what did not arrive, by stage, reason and kind. */
  losses(): DeliveryLoss[];
  /** Waits until everything is settled, at most `timeoutMs`, and closes. Resolves to what is left. */
  shutdown(timeoutMs: number): Promise<QueueDepth>;
}
