/** Lays the acts of one run beside the rows of its cgroup: each act exactly once, every column, nothing else. */
import type { ControlGroup } from './control-group.ts';
import type { Row } from './event-files.ts';
import { bodyOf, columnBytes, type Expected, isMatcher, matcher } from './expectation.ts';
import type { Act } from './truth-program.ts';

export interface Difference {
  readonly act: string;
  readonly column: string;
  readonly expected: string;
  readonly got: unknown;
}

export interface Comparison {
  /** Acts without a row. */
  readonly missing: readonly string[];
  /** Rows without an act. */
  readonly extra: readonly string[];
  readonly differing: readonly Difference[];
  /** Acts that have a row although the tier is said not to see them. */
  readonly unexpected: readonly string[];
  /** The row of each act, by its name. */
  readonly rowOf: ReadonlyMap<string, Row>;
}

export interface ComparisonContext {
  readonly group: ControlGroup;
  /** Resolved path of the program that ran. */
  readonly exe: string;
  /** Acts that the tier cannot see. */
  readonly unseen?: ReadonlySet<string>;
  /** Of every process of the run. */
  readonly entry: string;
}

/** Clock readings in between: what a difference of two clocks may be off, ns. */
const CLOCK_SLACK = 2_000_000n;
const MOST_DIFFERENCES = 4;
/** Kinds that come out when the kernel is through with it, perhaps after the call that caused it. */
const LATER = new Set(['socket.close', 'process.exec', 'process.exit']);

function wall(row: Row): bigint {
  return BigInt(String(row['time_ns']));
}

function duringAct(act: Act, row: Row): boolean {
  const time = wall(row);
  if (time < act.t0 + act.wall_offset - CLOCK_SLACK) return false;
  return LATER.has(act.kind) || act['later'] === true || time <= act.t1 + act.wall_offset + CLOCK_SLACK;
}

/** How far behind the middle of its act, ns. */
function behind(act: Act, row: Row): number {
  return Number(wall(row) - act.wall_offset - (act.t0 + act.t1) / 2n);
}

interface Pair {
  readonly act: Act;
  readonly row: Row;
  readonly wrong: readonly Difference[];
}

/** What the agent's clock is ahead of the program's, ns: the median of the pairs that nothing else could be. */
function clockError(pairs: readonly Pair[]): number {
  const exact = pairs.filter(({ wrong }) => wrong.length === 0);
  const only = exact.filter((pair) =>
    exact.every((one) => one === pair || (one.act !== pair.act && one.row !== pair.row)),
  );
  const errors = only.map(({ act, row }) => behind(act, row)).toSorted((a, b) => a - b);
  return errors[errors.length >> 1] ?? 0;
}

function subject(act: Act): number {
  return act.kind === 'process.exit' ? Number(act['child']) : act.pid;
}

/** The columns that every kind has. */
function headOf(act: Act, context: ComparisonContext): Expected {
  const { group } = context;
  const exit = act.kind === 'process.exit';
  const exec = act.kind === 'process.exec';
  const close = act.kind === 'socket.close';
  const columns: Record<string, unknown> = {
    kind: act.kind,
    process_pid: subject(act),
    process_vpid: subject(act),
    process_parent_pid: exit ? act.pid : act.ppid,
    cgroup_id: group.id,
    process_linux_cgroup: group.path,
    container_id: group.containerId,
    k8s_pod_uid: group.podUid,
    metadata_state: matcher(
      group.podUid === null ? 'host' : 'pending or complete',
      group.podUid === null ? (v) => v === 'host' : (v) => v === 'pending' || v === 'complete',
    ),
    entry: context.entry,
    existing: false,
    sample_weight: 1,
    actor: matcher('current, or owner where the kernel ends it', (v) => v === 'current' || (v === 'owner' && !exec)),
  };
  if (exit) return columns; // told by its parent, whose users and namespaces may be others
  if (act.mnt_ns !== 0) columns['process_mount_namespace'] = act.mnt_ns;
  if (act.net_ns !== 0) columns['process_network_namespace'] = act.net_ns;
  columns['process_real_user_id'] = act.uid;
  columns['process_real_group_id'] = act.gid;
  columns['process_user_id'] = act['exec_euid'] ?? act.euid;
  if (exec) {
    columns['thread_id'] = act.pid;
    const comm = String(act['exec_comm'] ?? String(act['filename']).split('/').at(-1)).slice(0, 15);
    columns['process_command'] = comm;
    return columns;
  }
  if (!close) columns['thread_id'] = act.tid;
  columns['process_command'] = matcher(
    `bytes of ${String(act['process_comm'] ?? act.comm)}`,
    (_, row) => columnBytes(row, 'process_command') === String(act['process_comm'] ?? act.comm),
  );
  columns['process_executable_path'] = act['process_exe'] ?? context.exe;
  columns['process_executable_unknown'] = false;
  return columns;
}

function differences(act: Act, expected: Expected, row: Row): Difference[] {
  const found: Difference[] = [];
  for (const [column, value] of Object.entries(expected)) {
    const got = row[column] ?? null;
    const same = isMatcher(value) ? value.matches(got, row) : got === (value ?? null);
    if (same) continue;
    const says = isMatcher(value) ? value.says : JSON.stringify(value ?? null);
    found.push({ act: act.act, column, expected: says, got: typeof got === 'string' ? got.slice(0, 300) : got });
  }
  return found;
}

function describe(row: Row): string {
  const what =
    row['file_path'] ??
    row['process_executable_path'] ??
    `${String(row['network_local_port'])}>${String(row['network_peer_address'])}:${String(row['network_peer_port'])}`;
  const list = ['kind', 'process_pid', 'actor', 'result', 'time'].map((column) => String(row[column] ?? '-'));
  return `${list.join(' ')} ${String(what).slice(0, 120)}`;
}

/** A connection's connect or accept and its close carry the same start, and no other does. */
function connectionDifferences(acts: readonly Act[], rowOf: ReadonlyMap<string, Row>): Difference[] {
  const starts = new Map<string, unknown>();
  const found: Difference[] = [];
  for (const act of acts) {
    const connection = act['connection'];
    const row = rowOf.get(act.act);
    if (typeof connection !== 'string' || row === undefined) continue;
    const start = row['network_connection_start_ns'] ?? null;
    const first = starts.get(connection);
    if (first === undefined) {
      if (start === null || [...starts.values()].includes(start)) {
        found.push({ act: act.act, column: 'network_connection_start_ns', expected: 'a start of its own', got: start });
      }
      starts.set(connection, start);
    } else if (first !== start) {
      found.push({ act: act.act, column: 'network_connection_start_ns', expected: String(first), got: start });
    }
  }
  return found;
}

/** One start a process; a parent's start as its children tell it; durations that fit; execs that count up. */
function processDifferences(acts: readonly Act[], rows: readonly Row[]): Difference[] {
  const found: Difference[] = [];
  const say = (row: Row, column: string, expected: string, got: unknown) =>
    found.push({ act: describe(row), column, expected, got });
  const startOf = new Map<unknown, unknown>();
  for (const row of rows) {
    const pid = row['process_pid'];
    const start = row['process_start_time_ns'] ?? null;
    if (!startOf.has(pid)) startOf.set(pid, start);
    if (startOf.get(pid) !== start || start === null)
      say(row, 'process_start_time_ns', String(startOf.get(pid)), start);
  }
  for (const row of rows) {
    const told = startOf.get(row['process_parent_pid']);
    if (told !== undefined && row['process_parent_start_time_ns'] !== told) {
      say(row, 'process_parent_start_time_ns', String(told), row['process_parent_start_time_ns']);
    }
  }
  const offset = acts[0]?.wall_offset ?? 0n;
  for (const row of rows.filter((one) => one['kind'] === 'process.exit')) {
    const duration = wall(row) - offset - BigInt(String(row['process_start_time_ns']));
    const off = duration - BigInt(String(row['process_duration_ns'] ?? 0));
    if (off > CLOCK_SLACK || off < -CLOCK_SLACK) {
      say(row, 'process_duration_ns', String(duration), row['process_duration_ns']);
    }
  }
  for (const act of acts) {
    if (typeof act['born0'] !== 'string' || typeof act['born1'] !== 'string') continue;
    const start = startOf.get(act.pid);
    if (start === undefined) continue;
    const told = BigInt(String(start));
    if (told < BigInt(act['born0']) || told > BigInt(act['born1'])) {
      found.push({
        act: act.act,
        column: 'process_start_time_ns',
        expected: `${act['born0']}..${act['born1']}`,
        got: start,
      });
    }
  }
  return found;
}

/** Compares a run with the rows of its cgroup (all of them, and no others). */
export function compare(acts: readonly Act[], rows: readonly Row[], context: ComparisonContext): Comparison {
  const unseen = context.unseen ?? new Set<string>();
  const left = new Set(rows);
  const rowOf = new Map<string, Row>();
  const unexpected: string[] = [];
  const differing: Difference[] = [];
  // Best pairs first: a pair that differs in much is two other things.
  const pairs = acts
    .flatMap((act) => {
      const expected = { ...headOf(act, context), ...bodyOf(act) };
      return rows
        .filter((row) => row['kind'] === act.kind && row['process_pid'] === subject(act) && duringAct(act, row))
        .map((row) => ({ act, row, wrong: differences(act, expected, row) }));
    })
    .filter(({ wrong }) => wrong.length <= MOST_DIFFERENCES);
  const error = clockError(pairs);
  const distance = ({ act, row }: Pair): number => Math.abs(behind(act, row) - error);
  // What is not to be seen comes last: it may be like something that is.
  pairs.sort(
    (a, b) =>
      Number(unseen.has(a.act.act)) - Number(unseen.has(b.act.act)) ||
      a.wrong.length - b.wrong.length ||
      distance(a) - distance(b),
  );
  for (const { act, row, wrong } of pairs) {
    if (!left.has(row) || rowOf.has(act.act)) continue;
    if (unseen.has(act.act) && wrong.length > 0) continue;
    left.delete(row);
    rowOf.set(act.act, row);
    differing.push(...wrong);
    if (unseen.has(act.act)) unexpected.push(act.act);
  }
  const missing = acts
    .filter((act) => !unseen.has(act.act) && !rowOf.has(act.act))
    .map((act) => `${act.act} (${act.kind})`);
  differing.push(...connectionDifferences(acts, rowOf), ...processDifferences(acts, rows));
  return { missing, extra: [...left].map(describe), differing, unexpected, rowOf };
}

/** One line a fault; none where all is as it should be. */
export function faults({ missing, extra, differing, unexpected }: Comparison): string[] {
  return [
    ...missing.map((act) => `missing: ${act}`),
    ...extra.map((row) => `extra: ${row}`),
    ...unexpected.map((act) => `seen, but listed as unseen: ${act}`),
    ...differing.map(
      ({ act, column, expected, got }) => `${act}: ${column} is ${JSON.stringify(got)}, not ${expected}`,
    ),
  ];
}
