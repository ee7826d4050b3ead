import { KT_KIND_COUNT, KT_PROCESS_FORK } from '../kernel/layout.gen.ts';
import { KIND_NAMES } from '../stream/event-kinds.ts';

/** Kinds that the kernel side makes: public name -> number of record.h. */
export const KERNEL_KINDS: ReadonlyMap<string, number> = new Map(
  [...KIND_NAMES].filter(([number]) => number < KT_KIND_COUNT).map(([number, name]) => [name, number]),
);

/** Kinds that the agent makes itself. */
export const OWN_KINDS: readonly string[] = [...KIND_NAMES.values()].filter((name) => !KERNEL_KINDS.has(name));

/** Counters' kind dimension -> name. 0 counts the cgroup tracker; forks are tracked, but no event. */
export const COUNTER_NAMES: ReadonlyMap<number, string> = new Map<number, string>([
  [0, 'cgroup'],
  [KT_PROCESS_FORK, 'process.fork'],
  ...KIND_NAMES,
]);
