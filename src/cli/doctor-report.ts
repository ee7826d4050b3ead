import type { Check, Verdict } from '../kernel/requirements.ts';

/** One probe as a trial load found it, or a running agent has it: the words of kerntap.v1.Probe. */
export interface ProbeFinding {
  readonly kind: string;
  /** trampoline, syscall, raw, tracker; empty: none loads. */
  readonly tier: string;
  /** off: by the settings of the agent that runs. */
  readonly state: 'on' | 'off' | 'failed';
  /** Why it failed, or why not a better tier; empty otherwise. */
  readonly reason: string;
}

/** A fact of the node, as it is stamped on events, and where it came from. */
export interface FactFinding {
  readonly name: string;
  readonly value: string;
  readonly source: string;
}

export interface Report {
  readonly checks: readonly Check[];
  readonly facts: readonly FactFinding[];
  /** Empty where a problem makes a trial pointless. */
  readonly probes: readonly ProbeFinding[];
}

/** A problem, or only probes that fail: the tap cannot run. */
export function canRun({ checks, probes }: Report): boolean {
  return !checks.some(({ verdict }) => verdict === 'problem') && probes.some(({ state }) => state !== 'failed');
}

/** It runs, with less than a better equipped node offers. */
const isDegraded = (report: Report) =>
  canRun(report) &&
  (report.checks.some(({ verdict }) => verdict === 'warning') || report.probes.some(({ state }) => state === 'failed'));

/** One line of JSON. `verdict` is ok, warning, problem or unknown; ids and field names are stable. */
export function reportAsJson(report: Report): string {
  const { checks, facts, probes } = report;
  return JSON.stringify({ schema: 1, can_run: canRun(report), degraded: isDegraded(report), checks, facts, probes });
}

const marks: Readonly<Record<Verdict, string>> = { ok: '✓', warning: '!', problem: '✗', unknown: '-' };

const PROBE_MARKS: Readonly<Record<ProbeFinding['state'], string>> = { on: '✓', off: '-', failed: '✗' };

/** A table: one line a check, a remedy below what needs one, the node's facts, the probes, and the sum of it. */
export function reportAsTable(report: Report): string {
  const { checks, facts, probes } = report;
  const names = [
    ...checks.map(({ title }) => title),
    ...facts.map(({ name }) => name),
    ...probes.map(({ kind }) => kind),
  ];
  const width = Math.max(...names.map((name) => name.length)) + 2;
  const lines: string[] = [];
  for (const { title, verdict, value, remedy } of checks) {
    lines.push(`${marks[verdict]} ${title.padEnd(width)}${value}`);
    if (remedy !== '') lines.push(`    ${remedy}`);
  }
  if (facts.length > 0) lines.push('', 'Facts of the node');
  for (const { name, value, source } of facts) lines.push(`  ${name.padEnd(width)}${value} (${source})`);
  if (probes.length > 0) lines.push('', 'Probes');
  for (const { kind, tier, state, reason } of probes) {
    lines.push(`${PROBE_MARKS[state]} ${kind.padEnd(width)}${state === 'off' ? 'off' : tier || 'none'}`);
    if (reason !== '') lines.push(`    ${reason}`);
  }
  lines.push('', summary(report));
  return `${lines.map(printable).join('\n')}\n`;
}

function summary(report: Report): string {
  if (!canRun(report)) return 'kerntap cannot run here: see ✗ above.';
  return isDegraded(report)
    ? 'kerntap runs here, with less than it could: see the lines below !, ✗ and probes.'
    : 'kerntap runs here.';
}

// messages of libbpf and of peers reach a terminal
const printable = (line: string) => line.replace(/\p{Cc}/gu, ' ');
