import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { Cluster, type KubeObject } from './cluster.ts';
import { CHART, helm, imageValues, RELEASE } from './helm.ts';

let cluster: Cluster;
let namespace: string;
let agentPod: KubeObject;

beforeAll(async () => {
  cluster = await Cluster.open();
  namespace = await cluster.namespace('kerntap-privileges');
  await cluster.kubectl('create', 'serviceaccount', RELEASE, '-n', namespace);
  const rendered = await helm('template', RELEASE, CHART, '-n', namespace, ...imageValues());
  const objects: KubeObject[] = parseAllDocuments(rendered).map((document) => document.toJSON());
  agentPod = objects.find((object) => object?.kind === 'DaemonSet').spec.template;
  await cluster.apply(...objects.filter((object) => ['ConfigMap', 'Secret'].includes(object?.kind)));
});

afterAll(async () => {
  await cluster?.close();
});

interface Ending {
  readonly code: number;
  readonly output: string;
}

/** Runs the chart's agent pod, changed, with another command to its end. */
async function runChanged(name: string, args: readonly string[], alter: (spec: KubeObject) => void): Promise<Ending> {
  const spec = structuredClone(agentPod.spec);
  const [container] = spec.containers;
  container.args = args;
  for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) delete container[probe];
  spec.restartPolicy = 'Never';
  alter(spec);
  await cluster.apply({ apiVersion: 'v1', kind: 'Pod', metadata: { name, namespace }, spec });
  const ended = await cluster.waitFor(`the end of ${name}`, async () => {
    const pod = await cluster.get('pod', name, namespace);
    return pod.status.containerStatuses?.[0].state.terminated;
  });
  return { code: ended.exitCode, output: await cluster.kubectl('logs', name, '-n', namespace) };
}

const doctor = ['doctor', '--json'];
const agent = ['agent', '--config=/etc/kerntap/kerntap.yaml'];

function withoutCapability(name: string): (spec: KubeObject) => void {
  return ({ containers: [container] }) => {
    const { capabilities } = container.securityContext;
    expect(capabilities.add).toContain(name);
    capabilities.add = capabilities.add.filter((each: string) => each !== name);
  };
}

function withoutHostPath(path: string): (spec: KubeObject) => void {
  return (spec) => {
    const { name } = spec.volumes.find((volume: KubeObject) => volume.hostPath?.path === path);
    const [container] = spec.containers;
    container.volumeMounts = container.volumeMounts.filter((mount: KubeObject) => mount.name !== name);
    spec.volumes = spec.volumes.filter((volume: KubeObject) => volume.name !== name);
  };
}

/** What the doctor finds in the changed pod: its verdict on one check, and the tier of each system-call probe. */
async function found(name: string, alter: (spec: KubeObject) => void): Promise<KubeObject> {
  const { output } = await runChanged(name, doctor, alter);
  const { checks, probes } = JSON.parse(output);
  return {
    verdicts: Object.fromEntries(checks.map(({ id, verdict }: KubeObject) => [id, verdict])),
    tiers: Object.fromEntries(probes.map(({ kind, tier }: KubeObject) => [kind, tier])),
  };
}

describe('what the agent may do and see', () => {
  it('is enough as the chart has it', async () => {
    const { verdicts, tiers } = await found('as-it-is', () => {});
    expect(verdicts).toMatchObject({ capabilities: 'ok', process_view: 'ok', tracefs: 'ok' });
    expect(Object.values(tiers)).not.toContain('');
    expect(Object.keys(tiers)).toContain('socket.close');
  });

  it.each(['BPF', 'PERFMON'])('is not without %s: the agent ends at its start and names it', async (capability) => {
    const name = `without-${capability.toLowerCase()}`;
    const { code, output } = await runChanged(name, agent, withoutCapability(capability));
    expect(code).toBe(1);
    expect(JSON.parse(output)).toMatchObject({
      msg: expect.stringContaining(`${capability} missing`),
      remedy: expect.stringContaining(`add ${capability}`),
    });
  });

  it('is less without tracefs: system calls are taken at their raw entry', async () => {
    const { verdicts, tiers } = await found('without-tracefs', withoutHostPath('/sys/kernel/tracing'));
    expect(verdicts.tracefs).toBe('warning');
    expect(tiers['file.unlink']).toBe('raw_syscall');
  });

  it('is less without the cgroups of the host: containers that run already stay unknown', async () => {
    const { verdicts } = await found('without-cgroups', withoutHostPath('/sys/fs/cgroup'));
    expect(verdicts.cgroup).not.toBe('ok');
  });

  it('is less without hostPID, even with a view of /proc of the host: processes that run already stay unlisted', async () => {
    const existing = async (name: string, hostPID: boolean) => {
      const spec = (pod: KubeObject) => {
        pod.hostPID = hostPID;
        pod.volumes.push({ name: 'proc', hostPath: { path: '/proc' } });
        pod.containers[0].volumeMounts.push({ name: 'proc', mountPath: '/host/proc', readOnly: true });
        // Ends by itself: the snapshot is told at once.
        pod.containers[0].command = ['node', '-e', WATCH_BRIEFLY];
      };
      const { output } = await runChanged(name, [], spec);
      return Number(/existing=(\d+)/.exec(output)?.[1]);
    };
    const seen = await existing('with-hostpid', true);
    expect(seen).toBeGreaterThan(10);
    expect(await existing('without-hostpid', false)).toBeLessThan(seen / 2);
  });
});

/** Runs the agent until the processes that it found are told, and counts them. */
const WATCH_BRIEFLY = `
const { spawn } = require('node:child_process');
const flags = ['--standalone', '--out', '/run/kerntap/events', '--proc', '/host/proc', '--kinds', 'process', '--tail-rate', '0', '--tail-bytes', '0'];
const agent = spawn('kerntap', ['agent', '--json', ...flags], { stdio: ['ignore', 'pipe', 'inherit'] });
let existing = 0;
require('node:readline').createInterface({ input: agent.stdout }).on('line', (line) => {
  const row = JSON.parse(line);
  if (row.kind === 'process.exec' && row.existing) existing++;
  // The trackers are on before the list is made, the probes after it.
  if (row.kind === 'kerntap.probe') agent.kill('SIGTERM');
});
agent.on('exit', () => console.log('existing=' + existing));`;
