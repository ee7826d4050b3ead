import type { CollectorStats } from './counters.ts';

const UNITS = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];

function size(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < UNITS.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

function sum(counts: Readonly<Record<string, number>>): number {
  return Object.values(counts).reduce((total, count) => total + count, 0);
}

/** What happened between two snapshots. */
export interface Activity {
  readonly streams: number;
  readonly eventsPerSecond: number;
  /** Events per second by kind, the most frequent first; kinds without any are left out. */
  readonly kinds: readonly (readonly [kind: string, perSecond: number])[];
  readonly bytesWritten: number;
  readonly rejectedBatches: number;
  readonly refusedEvents: number;
  readonly blocked: string | null;
}

/** The activity of the `seconds` from `before` to `now`; bytes and refusals are totals of `now`. */
export function activity(before: CollectorStats, now: CollectorStats, seconds: number): Activity {
  const kinds = Object.entries(now.events)
    .map(([kind, count]) => [kind, (count - (before.events[kind] ?? 0)) / seconds] as const)
    .filter(([, perSecond]) => perSecond > 0)
    .sort((a, b) => b[1] - a[1]);
  return {
    streams: now.streams,
    eventsPerSecond: (sum(now.events) - sum(before.events)) / seconds,
    kinds,
    bytesWritten: now.bytesWritten,
    rejectedBatches: now.batchesRejected,
    refusedEvents: sum(now.eventsRefused),
    blocked: now.blocked,
  };
}

function rate(perSecond: number): string {
  return perSecond >= 10 ? Math.round(perSecond).toLocaleString('en-US') : perSecond.toFixed(1);
}

/** An activity as one line for people. */
export function summaryLine(now: Activity): string {
  const parts = [
    `${now.streams} ${now.streams === 1 ? 'agent' : 'agents'}`,
    `${rate(now.eventsPerSecond)} events/s`,
    ...now.kinds.map(([kind, perSecond]) => `${kind} ${rate(perSecond)}`),
    `${size(now.bytesWritten)} written`,
  ];
  if (now.rejectedBatches > 0) parts.push(`${now.rejectedBatches} batches rejected`);
  if (now.refusedEvents > 0) parts.push(`${now.refusedEvents} events refused`);
  if (now.blocked !== null) parts.push(`WAITING FOR THE DISK: ${now.blocked}`);
  return parts.join('  ');
}
