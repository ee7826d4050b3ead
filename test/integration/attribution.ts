/** Compares what containers said they did with what left the agent, and with what a reader can make of it later. */
import { wholeRow } from '../rows.ts';
import type { BriefTruth } from './brief-container.ts';
import type { Row } from './event-files.ts';
import type { Act } from './truth-program.ts';

/** What is known of a pod and its container by the tests' own books. */
export interface Identity {
  readonly podName: string;
  readonly namespace: string;
  /** null: the sandbox, which has none. */
  readonly containerName: string | null;
}

export interface Figures {
  /** Events of the containers' processes: those that they told of, their exits and whatever else they did. */
  readonly events: number;
  /** With the right pod UID and container id. */
  readonly placed: number;
  /** With the right pod's name and namespace when they left the agent. */
  readonly named: number;
  /** The same, once later kerntap.pod rows are joined by cluster and pod UID. */
  readonly completed: number;
  /** With the right container's name after that; where the kubelet never told the container's id it cannot be known. */
  readonly containerNamed: number;
  readonly problems: readonly string[];
  /** Why events left without their pod's name, and how many. */
  readonly reasons: Readonly<Record<string, number>>;
}

const MAX_PROBLEMS = 20;

/** Whether the row is what the act must come out as. Only marks and ports decide: no name of a pod or a container. */
function isOf(row: Row, truth: BriefTruth, act: Act): boolean {
  if (row['kind'] !== act.kind) return false;
  if (act.kind === 'process.exec') {
    const args = row['process_command_args'];
    if (!Array.isArray(args) || !args.includes(truth.mark)) return false;
    return (args[0] === 'brief') === (act.act === 'exec');
  }
  if (act.kind === 'socket.listen') return row['network_local_port'] === act['local_port'] && isAt(row, act);
  if (act.kind === 'file.open') return row['file_path'] === `/work/${truth.mark}`;
  return (
    row['network_local_port'] === act['local_port'] &&
    (act.kind === 'socket.accept'
      ? row['network_peer_port'] === act['remote_port']
      : row['network_asked_port'] === act['asked_port']) &&
    isAt(row, act)
  );
}

/** A port may be used again later. */
function isAt(row: Row, { t0, t1, wall_offset }: Act): boolean {
  const at = BigInt(String(row['time_ns'])) - wall_offset;
  return at >= t0 - CLOCK_SLACK_NS && at <= t1 + CLOCK_SLACK_NS;
}

/** The offset of the wall clock is measured by both sides, each once in a while. */
const CLOCK_SLACK_NS = 50_000_000n;

const processOf = (row: Row) => `${row['process_pid']} ${row['process_start_time_ns']}`;

/** Later kerntap.pod rows by cluster and pod UID: what the lake's view does. */
export class PodRecords {
  readonly #pods = new Map<string, { pod: Row; containers: Map<string, Row> }>();

  constructor(rows: readonly Row[]) {
    for (const row of rows) {
      if (row['kind'] !== 'kerntap.pod') continue;
      const key = `${row['k8s_cluster_name']} ${row['k8s_pod_uid']}`;
      const known = this.#pods.get(key) ?? { pod: row, containers: new Map<string, Row>() };
      this.#pods.set(key, known);
      known.pod = row;
      for (const container of row['k8s_pod_containers'] as Row[]) {
        const ids = [container['container_id'], ...(container['previous_container_ids'] as string[])];
        for (const id of ids) if (typeof id === 'string') known.containers.set(id, container);
      }
    }
  }

  /** The row as it reads once its pod is known. What the event carried itself stands. */
  complete(row: Row): Row {
    const known = this.#pods.get(`${row['k8s_cluster_name']} ${row['k8s_pod_uid']}`);
    if (known === undefined) return row;
    const container = known.containers.get(String(row['container_id']));
    return wholeRow({
      ...row,
      k8s_pod_name: row['k8s_pod_name'] ?? known.pod['k8s_pod_name'],
      k8s_namespace_name: row['k8s_namespace_name'] ?? known.pod['k8s_namespace_name'],
      k8s_container_name: row['k8s_container_name'] ?? container?.['k8s_container_name'] ?? null,
    });
  }
}

/** Compares. Every act must have exactly one row, and every row of a container's processes must be placed right. */
export function attribution(
  rows: readonly Row[],
  truths: readonly BriefTruth[],
  identityOf: (truth: BriefTruth) => Identity,
): Figures {
  const problems: string[] = [];
  const reasons: Record<string, number> = {};
  const problem = (text: string) => problems.length < MAX_PROBLEMS && problems.push(text);
  const byProcess = new Map<string, Row[]>();
  const byMark = new Map<string, Row[]>();
  const byPort = new Map<unknown, Row[]>();
  const put = <Key>(map: Map<Key, Row[]>, key: Key, row: Row) => map.get(key)?.push(row) ?? map.set(key, [row]);
  for (const row of rows) {
    put(byProcess, processOf(row), row);
    const args = row['kind'] === 'process.exec' ? (row['process_command_args'] as unknown[]) : [];
    for (const arg of args) if (typeof arg === 'string' && arg.startsWith('brief-')) put(byMark, arg, row);
    if (row['kind'] === 'file.open') put(byMark, String(row['file_path']).replace('/work/', ''), row);
    if (/^socket\.(connect|listen|accept)$/.test(String(row['kind']))) put(byPort, row['network_local_port'], row);
  }
  const pods = new PodRecords(rows);
  let [events, placed, named, completed, containerNamed] = [0, 0, 0, 0, 0];
  for (const truth of truths) {
    const identity = identityOf(truth);
    const isNamed = (row: Row) =>
      row['k8s_pod_name'] === identity.podName && row['k8s_namespace_name'] === identity.namespace;
    const own = new Set<Row>();
    for (const act of truth.acts) {
      const candidates = act.kind.startsWith('socket.') ? byPort.get(act['local_port']) : byMark.get(truth.mark);
      const found = (candidates ?? []).filter((row) => isOf(row, truth, act));
      if (found.length !== 1) problem(`${truth.mark} ${act.act}: ${found.length} rows`);
      for (const row of found) for (const each of byProcess.get(processOf(row)) ?? []) own.add(each);
    }
    for (const row of own) {
      // What runc's process did before it became the container's is not the container's.
      if (isBeforeEntry(row, own, truth)) continue;
      events++;
      if (row['k8s_pod_uid'] === truth.podUid && row['container_id'] === truth.containerId) placed++;
      else problem(`${truth.mark} ${row['kind']}: pod ${row['k8s_pod_uid']}, container ${row['container_id']}`);
      if (isNamed(row)) named++;
      else reasons[String(row['metadata_reason'])] = (reasons[String(row['metadata_reason'])] ?? 0) + 1;
      if (!isNamed(row) && row['k8s_pod_name'] !== null)
        problem(`${truth.mark} ${row['kind']}: named ${row['k8s_pod_name']}`);
      const whole = pods.complete(row);
      if (isNamed(whole)) completed++;
      else problem(`${truth.mark} ${row['kind']}: completed to ${whole['k8s_pod_name']} (${row['metadata_reason']})`);
      if (whole['k8s_container_name'] === identity.containerName) containerNamed++;
      else if (whole['k8s_container_name'] !== null) problem(`${truth.mark}: container ${whole['k8s_container_name']}`);
    }
  }
  return { events, placed, named, completed, containerNamed, problems, reasons };
}

/** Was the row made before the container's first program was executed? */
function isBeforeEntry(row: Row, own: ReadonlySet<Row>, truth: BriefTruth): boolean {
  for (const each of own) {
    const args = each['process_command_args'];
    if (each['kind'] === 'process.exec' && Array.isArray(args) && args[0] === '/brief' && args.includes(truth.mark))
      return BigInt(String(row['time_ns'])) < BigInt(String(each['time_ns']));
  }
  return false;
}

/** Lifetimes by the containers' own clocks, from their first word to their last: min, median and max in ms. */
export function lifetimes(truths: readonly BriefTruth[]): { min: number; median: number; max: number } {
  const ms = truths
    .map(({ acts }) => Number((acts.at(-1)?.t1 ?? 0n) - (acts[0]?.t0 ?? 0n)) / 1e6)
    .sort((a, b) => a - b);
  const at = (share: number) =>
    Math.round((ms[Math.min(ms.length - 1, Math.floor(ms.length * share))] ?? 0) * 100) / 100;
  return { min: at(0), median: at(0.5), max: at(1) };
}
