/** Those who watch live over the local socket: each has a tail of its own, with its own filter, queue and drops. */
import type { NodeFacts } from '../../proto/contract.ts';
import { matchesGlob } from '../config/glob.ts';
import { HEAD } from '../kernel/layout.gen.ts';
import type { Workload } from '../kubernetes/workload.ts';
import type { ProcessTable } from '../stream/processes.ts';
import { JSON_LINES } from '../tail/render.ts';
import { type EncodeOne, Tail, type TailRules } from '../tail/tail.ts';
import { BoundedWriter, type Sink } from '../tail/writer.ts';
import { LocalRequestError, type TailFilter } from '../telemetry/local-request.ts';
import { KERNEL_KINDS, OWN_KINDS } from './kinds.ts';
import type { Viewer } from './local-socket.ts';

export interface ViewersOptions {
  readonly node: () => NodeFacts;
  readonly encodeOne: EncodeOne;
  readonly processes: Pick<ProcessTable, 'get'>;
  readonly wallOffsetNs: () => bigint;
  /** Begins and ends to offer events to a tail. */
  readonly watch: (tail: Tail) => void;
  readonly unwatch: (tail: Tail) => void;
  /** Monotonic clock, ms. */
  readonly now?: () => number;
}

/**
 * Lines a second of all viewers together. A row costs some 20 us: this is 2 % of a core, so that nobody drives the agent to
 * its CPU ceiling by watching.
 */
export const VIEWERS_RATE = 1000;
const QUEUE_BYTES = 256 * 1024;
const WRITER_BYTES = 256 * 1024;
const COMM_BYTES = 16;

export class Viewers {
  readonly #options: ViewersOptions;
  readonly #open = new Map<Tail, TailRules>();

  constructor(options: ViewersOptions) {
    this.#options = options;
  }

  /** Throws LocalRequestError for a kind that is none. */
  open(filter: TailFilter, sink: Sink, refuse: () => void): Viewer {
    const { node, encodeOne, wallOffsetNs, watch, unwatch, now = performance.now.bind(performance) } = this.#options;
    const rules = { ...rulesOf(filter, this.#options.processes), eventsPerSecond: 0, bytesPerSecond: 0 };
    const writer = new BoundedWriter(sink, { capacityBytes: WRITER_BYTES, onClosed: refuse });
    const tail = new Tail({
      writer,
      encodeOne,
      node,
      ...JSON_LINES,
      ...rules,
      wallOffsetNs,
      queueBytes: QUEUE_BYTES,
      now,
    });
    this.#open.set(tail, rules);
    this.#share();
    watch(tail);
    return {
      close: () => {
        unwatch(tail);
        tail.close();
        this.#open.delete(tail);
        this.#share();
      },
    };
  }

  /** How many watch. */
  get count(): number {
    return this.#open.size;
  }

  #share(): void {
    const eventsPerSecond = Math.floor(VIEWERS_RATE / Math.max(1, this.#open.size));
    for (const [tail, rules] of this.#open) tail.configure({ ...rules, eventsPerSecond });
  }
}

type Rules = Pick<TailRules, 'kinds' | 'wanted' | 'wantedRecord'>;

function rulesOf(filter: TailFilter, processes: Pick<ProcessTable, 'get'>): Rules {
  return {
    kinds: kindsOf(filter),
    wanted: workloadsOf(filter),
    wantedRecord: filter.processes.length === 0 ? undefined : processFilter(filter.processes, processes),
  };
}

/** Of the agent's own kinds, losses and probes are told to everyone, pods to those who watch all of them. */
function kindsOf({ kinds, namespaces, pods, processes, host }: TailFilter): TailRules['kinds'] {
  const some = namespaces.length > 0 || pods.length > 0 || processes.length > 0 || host;
  if (kinds.length === 0) {
    return {
      numbers: new Set(KERNEL_KINDS.values()),
      own: new Set(OWN_KINDS.filter((name) => !some || name !== 'kerntap.pod')),
    };
  }
  const named = (word: string, name: string) => name === word || name.startsWith(`${word}.`);
  const all = [...KERNEL_KINDS.keys(), ...OWN_KINDS];
  for (const word of kinds) {
    if (!all.some((name) => named(word, name)))
      throw new LocalRequestError(`'${word}' is not a kind: ${all.join(', ')}`);
  }
  const chosen = all.filter((name) => kinds.some((word) => named(word, name)));
  return {
    numbers: new Set(chosen.flatMap((name) => KERNEL_KINDS.get(name) ?? [])),
    own: new Set(chosen.filter((name) => OWN_KINDS.includes(name))),
  };
}

function workloadsOf({ namespaces, pods, host }: TailFilter): TailRules['wanted'] {
  const ofPods = namespaces.length > 0 || pods.length > 0;
  if (!ofPods && !host) return undefined;
  const one = (patterns: readonly string[], text: string) =>
    patterns.length === 0 || patterns.some((pattern) => matchesGlob(text, pattern));
  return (workload: Workload) => {
    if (workload.state === 'host') return host;
    return ofPods && one(namespaces, workload.namespace) && one(pods, workload.podName);
  };
}

/** By the name that the kernel has of the process, or the path of what it runs: whole, or its last part. */
function processFilter(patterns: readonly string[], processes: Pick<ProcessTable, 'get'>): TailRules['wantedRecord'] {
  // Paths are interned: each is judged once.
  const judged = new WeakMap<Uint8Array, boolean>();
  const matches = (text: string) => patterns.some((pattern) => matchesGlob(text, pattern));
  return (buf, offset) => {
    const view = new DataView(buf.buffer, buf.byteOffset + offset);
    const exe = processes.get(
      view.getInt32(HEAD.image_tgid, true),
      view.getInt32(HEAD.image_start_time, true),
      view.getInt32(HEAD.image_start_time + 4, true),
      view.getInt32(HEAD.exec_id, true),
      view.getInt32(HEAD.exec_id + 4, true),
    );
    if (exe !== undefined) {
      let wanted = judged.get(exe);
      if (wanted === undefined) {
        const path = Buffer.from(exe.buffer, exe.byteOffset, exe.length).toString('utf8');
        wanted = matches(path) || matches(path.slice(path.lastIndexOf('/') + 1));
        judged.set(exe, wanted);
      }
      if (wanted) return true;
    }
    const comm = Buffer.from(buf.buffer, buf.byteOffset + offset + HEAD.comm, COMM_BYTES);
    const end = comm.indexOf(0);
    return matches(comm.toString('utf8', 0, end < 0 ? COMM_BYTES : end));
  };
}
