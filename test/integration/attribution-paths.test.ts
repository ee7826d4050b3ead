/** Pod UID and container id of an event are what its control group's path says, in each form that a kubelet gives it. */
import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmdirSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { randomId } from './brief-container.ts';
import { ControlGroup } from './control-group.ts';
import type { Row } from './event-files.ts';
import { KINDS } from './kubelet-node.ts';
import { RunningAgent } from './running-agent.ts';
import { runTruth } from './truth-program.ts';
import { makeWorkDir, removeWorkDir } from './work-dir.ts';

interface Form {
  readonly name: string;
  /** P: the pod's UID, P_: with underscores, C: the container's id, C0 and C2: other ids. */
  readonly path: string;
  readonly podUid?: 'P' | 'S';
  readonly containerId?: 'C' | 'C0';
}

const SLICE = '/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podP_.slice';
const pod = { podUid: 'P', containerId: 'C' } as const;
const FORMS: readonly Form[] = [
  { name: 'cgroupfs, guaranteed', path: '/kubepods/podP/C', ...pod },
  { name: 'cgroupfs, burstable', path: '/kubepods/burstable/podP/C', ...pod },
  { name: 'cgroupfs, best effort', path: '/kubepods/besteffort/podP/C', ...pod },
  { name: 'cgroupfs, CRI-O', path: '/kubepods/burstable/podP/crio-C', ...pod },
  { name: 'cgroupfs, CRI-O, its monitor', path: '/kubepods/burstable/podP/crio-conmon-C' },
  { name: 'systemd, guaranteed', path: '/kubepods.slice/kubepods-podP_.slice/cri-containerd-C.scope', ...pod },
  { name: 'systemd, containerd', path: `${SLICE}/cri-containerd-C.scope`, ...pod },
  { name: 'systemd, CRI-O', path: `${SLICE}/crio-C.scope`, ...pod },
  { name: 'systemd, CRI-O, its monitor', path: `${SLICE}/crio-conmon-C.scope` },
  { name: 'systemd, cri-dockerd', path: `${SLICE}/docker-C.scope`, ...pod },
  { name: 'systemd, nerdctl', path: `${SLICE}/nerdctl-C.scope`, ...pod },
  { name: 'CRI-O with crun', path: `${SLICE}/crio-C.scope/container`, ...pod },
  { name: 'CRI-O with crun, exec', path: `${SLICE}/crio-C.scope/exec`, ...pod },
  {
    name: 'driver mismatch',
    path: '/system.slice/containerd.service/kubepods-burstable-podP_.slice:cri-containerd:C',
    ...pod,
  },
  { name: 'driver mismatch at the root', path: '/kubepods-besteffort-podP_.slice:cri-containerd:C', ...pod },
  {
    name: 'kind from inside',
    path: '/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-podP_.slice/cri-containerd-C.scope',
    ...pod,
  },
  {
    name: 'kind from outside',
    path: '/docker/C0/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podP_.slice/cri-containerd-C.scope',
    ...pod,
  },
  {
    name: 'kind from outside, systemd',
    path: '/system.slice/docker-C0.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podP_.slice/cri-containerd-C.scope',
    ...pod,
  },
  { name: 'a host process of a kind node', path: '/docker/C0/system.slice/kubelet.service', containerId: 'C0' },
  { name: 'systemd in the container', path: `${SLICE}/cri-containerd-C.scope/init.scope`, ...pod },
  { name: 'a service in the container', path: `${SLICE}/cri-containerd-C.scope/system.slice/x.service`, ...pod },
  { name: 'docker in the container', path: `${SLICE}/cri-containerd-C.scope/docker/C2`, ...pod },
  { name: 'a pose as another pod in the container', path: `${SLICE}/cri-containerd-C.scope/podO/C2`, ...pod },
  { name: 'static pod', path: '/kubepods/burstable/podS/C', podUid: 'S', containerId: 'C' },
  {
    name: 'static pod, systemd',
    path: '/kubepods.slice/kubepods-podS.slice/cri-containerd-C.scope',
    podUid: 'S',
    containerId: 'C',
  },
  { name: 'the pod itself', path: '/kubepods/burstable/podP', podUid: 'P' },
  { name: 'the pod itself, systemd', path: SLICE, podUid: 'P' },
  { name: 'docker without Kubernetes', path: '/system.slice/docker-C.scope', containerId: 'C' },
  { name: 'podman', path: '/machine.slice/libpod-C.scope/container', containerId: 'C' },
  { name: 'a unit of the host', path: '/system.slice/x.service' },
];

interface Made {
  readonly form: Form;
  readonly group: ControlGroup;
  readonly mark: string;
}

const all: ControlGroup[] = [];

/** The form's control group, and what its path must say, by the tests' own books. */
function make(form: Form): Made {
  const uuid = randomUUID();
  const [other, hash] = [randomUUID(), randomBytes(16).toString('hex')];
  const [C, C0, C2] = [randomId(), randomId(), randomId()];
  const words: Record<string, string> = { P: uuid, P_: uuid.replaceAll('-', '_'), S: hash, O: other, C, C0, C2 };
  const path = form.path.replace(/(?<=pod)(?:P_|P|S|O)(?=[/.]|$)|(?<![A-Za-z])C[02]?(?=[/.]|$)/g, (word) => {
    return words[word] ?? word;
  });
  const { podUid, containerId } = form;
  const group = ControlGroup.at(path, (podUid && words[podUid]) ?? null, (containerId && words[containerId]) ?? null);
  all.push(group);
  return { form, group, mark: `path-${randomBytes(8).toString('hex')}` };
}

let dir: string;
let agent: RunningAgent;
let before: Made[];

beforeAll(async () => {
  dir = makeWorkDir();
  before = FORMS.map(make);
  agent = await RunningAgent.start({ flags: KINDS });
});

afterAll(async () => {
  await agent?.stop();
  agent?.clean();
  for (const group of all) removeWithParents(group);
  if (dir !== undefined) removeWorkDir(dir);
});

function removeWithParents({ dir: path }: ControlGroup): void {
  for (let at = path; !at.endsWith('/kerntap-test'); at = join(at, '..')) {
    try {
      rmdirSync(at);
    } catch {
      return; // another form's is there
    }
  }
}

/** The three acts of each, by the marks that they bear: nothing listens at the port, which an event tells as well. */
async function actIn(made: readonly Made[]): Promise<void> {
  for (const { group, mark } of made) await runTruth(group, 'brief', { args: [mark, '127.0.0.1', '9'], cwd: dir });
}

/** All rows of the process that executed itself with the mark. */
function rowsOf(rows: readonly Row[], mark: string): Row[] {
  const exec = rows.find((row) => {
    const args = row['process_command_args'];
    return Array.isArray(args) && args[0] === 'brief' && args[1] === mark;
  });
  const same = ['process_pid', 'process_start_time_ns'] as const;
  return rows.filter((row) => same.every((name) => row[name] === exec?.[name]));
}

/** What the rows of each say, beside what they must say. */
async function expectPlaced(made: readonly Made[]): Promise<void> {
  const rows = await agent.settle();
  for (const { form, group, mark } of made) {
    const own = rowsOf(rows, mark);
    expect([form.name, new Set(own.map((row) => row['kind']))]).toEqual([
      form.name,
      new Set(['process.exec', 'file.open', 'socket.connect', 'process.exit']),
    ]);
    const said = own.map((row) => [row['k8s_pod_uid'], row['container_id'], row['process_linux_cgroup']]);
    expect([form.name, ...new Set(said.map((each) => each.join(' ')))]).toEqual([
      form.name,
      [group.podUid, group.containerId, group.path].join(' '),
    ]);
  }
}

describe('an event in a control group of each form', () => {
  it('made while the agent runs', async () => {
    const made = FORMS.map(make);
    await actIn(made);
    await expectPlaced(made);
  });

  it('made before the agent came', async () => {
    await actIn(before);
    await expectPlaced(before);
  });

  it('made by the container itself, below its own, whatever it calls it', async () => {
    const { group, form } = make({ name: 'container', path: '/kubepods/burstable/podP/C', ...pod });
    const names = ['deep/er', `pod${randomUUID()}/${randomId()}`, `${'x'.repeat(200)}/`.repeat(6).slice(0, -1)];
    const made = names.map((name): Made => {
      const child = ControlGroup.at(
        `${group.path.replace('/kerntap-test', '')}/${name}`,
        group.podUid,
        group.containerId,
      );
      all.unshift(child);
      return { form: { ...form, name }, group: child, mark: `path-${randomBytes(8).toString('hex')}` };
    });
    await actIn(made);
    const rows = await agent.settle();
    for (const { group: child, mark } of made) {
      const own = rowsOf(rows, mark);
      expect(own.length).toBeGreaterThan(3);
      for (const row of own) {
        expect(row).toMatchObject({ k8s_pod_uid: child.podUid, container_id: child.containerId, cgroup_id: child.id });
      }
    }
  });
});

describe('only the default hierarchy counts', () => {
  let mount: string;

  beforeAll(() => {
    // A named hierarchy of cgroup v1 of its own: its ids start from 1, as every hierarchy's do.
    mount = mkdtempSync(join(tmpdir(), 'kt-cgroup-v1-'));
    execFileSync('mount', ['-t', 'cgroup', '-o', `none,name=kerntap-test-${process.pid}`, 'cgroup', mount]);
  });

  afterAll(() => {
    if (mount === undefined) return;
    const paths = existsSync(mount) ? readdirSync(mount, { recursive: true, withFileTypes: true }) : [];
    const dirs = paths.filter((entry) => entry.isDirectory()).map((entry) => join(entry.parentPath, entry.name));
    for (const path of dirs.sort((a, b) => b.length - a.length)) rmdirSync(path);
    execFileSync('umount', [mount]);
    rmdirSync(mount);
  });

  it('a container of cgroup v1 is none: its processes stay where cgroup v2 has them', async () => {
    const group = ControlGroup.host('v1');
    all.push(group);
    const posed = join(mount, `kubepods/pod${randomUUID()}/${randomId()}`);
    mkdirSync(posed, { recursive: true });
    const mark = `path-${randomBytes(8).toString('hex')}`;
    // The shell moves itself there, and then becomes the program.
    const command = `echo $$ >${join(posed, 'cgroup.procs')} && exec "$0" "$@"`;
    const args = ['-c', command, join(agent.sentinel, '../brief'), mark, '127.0.0.1', '9'];
    await runTruth(group, '/bin/sh', { args, cwd: dir });
    const own = rowsOf(await agent.settle(), mark);
    expect(own.length).toBeGreaterThan(3);
    for (const row of own) {
      expect(row).toMatchObject({ metadata_state: 'host', k8s_pod_uid: null, container_id: null, cgroup_id: group.id });
    }
  });

  it('a control group of cgroup v1 with the id of a container neither becomes it nor ends it', async () => {
    const v1Id = (path: string) => statSync(path).ino;
    const passing = join(mount, 'passing');
    const next = (): number => {
      mkdirSync(passing);
      const id = v1Id(passing);
      rmdirSync(passing);
      return id;
    };
    const [first, second] = [next(), next()];
    const step = second - first;
    // Ids go up by a constant step: one of a few containers is met exactly.
    const candidates = Array.from({ length: step }, () =>
      make({ name: '', path: '/kubepods/burstable/podP/C', ...pod }),
    );
    const made = candidates.find(({ group }) => group.id > second && (group.id - second) % step === 0);
    if (made === undefined)
      throw new Error(`no id of ${candidates.map(({ group }) => group.id)} is met from ${second}`);
    for (let id = second; id < made.group.id - step; ) id = next();
    const posed = join(mount, `pod${randomUUID()}`);
    mkdirSync(posed);
    expect(v1Id(posed)).toBe(made.group.id);
    rmdirSync(posed);
    await actIn([made]);
    await expectPlaced([made]);
  });
});

describe('an id', () => {
  it('of a control group that is gone says nothing of a later one at the same path', async () => {
    const path = '/kubepods/burstable/podP/C';
    const first = make({ name: 'first', path, ...pod });
    await actIn([first]);
    first.group.remove();
    // The same names again, as a container that is started again under its id.
    const again = ControlGroup.at(
      first.group.path.replace('/kerntap-test', ''),
      first.group.podUid,
      first.group.containerId,
    );
    all.push(again);
    const second: Made = { form: first.form, group: again, mark: `path-${randomBytes(8).toString('hex')}` };
    expect(again.id).not.toBe(first.group.id);
    await actIn([second]);
    await expectPlaced([first, second]);
    const rows = await agent.settle();
    expect(new Set(rowsOf(rows, first.mark).map((row) => row['cgroup_id']))).toEqual(new Set([first.group.id]));
    expect(new Set(rowsOf(rows, second.mark).map((row) => row['cgroup_id']))).toEqual(new Set([again.id]));
  });
});
