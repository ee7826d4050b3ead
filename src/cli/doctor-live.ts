import type { Check } from '../kernel/requirements.ts';
import type { PodsFrom } from '../telemetry/health.ts';
import type { FactFinding, ProbeFinding } from './doctor-report.ts';
import { askAgent, LocalError } from './local-client.ts';

/** What a running agent answers to {ask: status}, as far as it is needed here. */
interface Status {
  readonly version: string;
  readonly uptime_s: number;
  readonly health: {
    readonly status: 'ok' | 'degraded' | 'failed';
    readonly failed: readonly Finding[];
    readonly degraded: readonly Finding[];
    readonly pods?: PodsFrom;
  };
  /** Absent: an agent older than this. */
  readonly facts?: readonly FactFinding[];
  readonly fact_problems?: readonly string[];
  readonly probes: readonly { name: string; tier: string; state: ProbeFinding['state']; reason: string }[];
}

interface Finding {
  readonly part: string;
  readonly name?: string;
  readonly reason: string;
}

const ANSWER_MS = 3000;

interface Reading {
  readonly checks: Check[];
  readonly facts: readonly FactFinding[];
  readonly probes: ProbeFinding[];
}

/** What the agent on this socket says of itself, of its node and of its probes; undefined: none answers. */
export async function askRunning(socketPath: string): Promise<Reading | undefined> {
  try {
    for await (const line of askAgent(socketPath, { ask: 'status' }, AbortSignal.timeout(ANSWER_MS))) {
      return reading(JSON.parse(line) as Status);
    }
  } catch (error) {
    if (!(error instanceof LocalError)) throw error;
  }
  return undefined;
}

function reading({ version, uptime_s, health, facts = [], fact_problems = [], probes }: Status): Reading {
  const findings = [...health.failed, ...health.degraded];
  const told = findings.map(({ part, name, reason }) => `${part}${name === undefined ? '' : ` ${name}`}: ${reason}`);
  const check: Check = {
    id: 'agent',
    title: 'Running agent',
    verdict: health.status === 'ok' ? 'ok' : 'warning',
    value: [`${version}, up ${uptime_s} s, ${health.status}`, ...told].join('; '),
    remedy: health.status === 'ok' ? '' : 'its log says more',
  };
  const asked: Check = {
    id: 'node_facts',
    title: 'Facts of the node',
    verdict: 'warning',
    value: fact_problems.join('; '),
    remedy: 'grant what is missing, give the facts under `node` in the configuration, or do not ask there',
  };
  return {
    checks: [check, ...podChecks(health.pods), ...(fact_problems.length === 0 ? [] : [asked])],
    facts,
    probes: probes.map(({ name, tier, state, reason }) => ({ kind: name, tier, state, reason })),
  };
}

/** Where the agent has the names of pods from; none where it asks nobody. */
function podChecks(pods: PodsFrom | undefined): Check[] {
  if (pods === undefined) return [];
  const { source, age_s, problems } = pods;
  const told = Object.entries(problems).map(([name, problem]) => `${name}: ${problem}`);
  const age = age_s === null ? 'never heard of one' : `last heard ${age_s} s ago`;
  return [
    {
      id: 'pod_names',
      title: 'Names of pods',
      verdict: source === 'none' ? 'warning' : 'ok',
      value: [`by ${source}, ${age}`, ...told].join('; '),
      remedy: source === 'none' ? 'events of new pods leave as pending until the kubelet answers' : '',
    },
  ];
}
