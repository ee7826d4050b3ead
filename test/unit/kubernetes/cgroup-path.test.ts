import { describe, expect, it } from 'vitest';
import { cgroupSegments, parseCgroupPath } from '../../../src/kubernetes/cgroup-path.ts';

const C = '1f2e3d4c5b6a79880123456789abcdef1f2e3d4c5b6a79880123456789abcdef';
const C2 = 'ab'.repeat(32);
const P = 'd9321e08-0be0-434b-9574-46d696b27453';
const P_ = P.replaceAll('-', '_');
const STATIC = 'd1343e897f04e3b4778fa3b3468cf9ff';
const UNITED = `kubepods-burstable-pod${P_}.slice`;
const SYSTEMD = `/kubepods.slice/kubepods-burstable.slice/${UNITED}`;

// name, path, pod UID, container id, depth of the container's own cgroup
const table: [string, string, string, string, number][] = [
  ['cgroupfs, guaranteed', `/kubepods/pod${P}/${C}`, P, C, 3],
  ['cgroupfs, burstable', `/kubepods/burstable/pod${P}/${C}`, P, C, 4],
  ['cgroupfs, best effort', `/kubepods/besteffort/pod${P}/${C}`, P, C, 4],
  ['cgroupfs, CRI-O', `/kubepods/besteffort/pod${P}/crio-${C}`, P, C, 4],
  ['cgroupfs, CRI-O monitor', `/kubepods/besteffort/pod${P}/crio-conmon-${C}`, '', '', 0],
  ['systemd, guaranteed', `/kubepods.slice/kubepods-pod${P_}.slice/cri-containerd-${C}.scope`, P, C, 3],
  ['systemd, containerd', `${SYSTEMD}/cri-containerd-${C}.scope`, P, C, 4],
  ['systemd, CRI-O', `${SYSTEMD}/crio-${C}.scope`, P, C, 4],
  ['systemd, CRI-O monitor', `${SYSTEMD}/crio-conmon-${C}.scope`, '', '', 0],
  ['systemd, cri-dockerd', `${SYSTEMD}/docker-${C}.scope`, P, C, 4],
  ['systemd, nerdctl', `${SYSTEMD}/nerdctl-${C}.scope`, P, C, 4],
  ['crun', `${SYSTEMD}/crio-${C}.scope/container`, P, C, 4],
  ['crun, exec', `${SYSTEMD}/crio-${C}.scope/exec`, P, C, 4],
  ['driver mismatch', `/system.slice/containerd.service/${UNITED}:cri-containerd:${C}`, P, C, 3],
  ['driver mismatch at the root', `/${UNITED}:cri-containerd:${C}`, P, C, 1],
  ['driver mismatch, CRI-O', `/${UNITED}:crio:${C}`, P, C, 1],
  ['driver mismatch, sub-group', `/${UNITED}:cri-containerd:${C}/init.scope`, P, C, 1],
  [
    'kind from inside',
    `/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-burstable.slice/kubelet-kubepods-burstable-pod${P_}.slice/cri-containerd-${C}.scope`,
    P,
    C,
    5,
  ],
  [
    'kind from outside, cgroupfs docker',
    `/docker/${C2}/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${P_}.slice/cri-containerd-${C}.scope`,
    P,
    C,
    6,
  ],
  [
    'kind from outside, systemd docker',
    `/system.slice/docker-${C2}.scope/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-pod${P_}.slice/cri-containerd-${C}.scope`,
    P,
    C,
    6,
  ],
  ['a host process of a kind node', `/docker/${C2}/system.slice/kubelet.service`, '', C2, 2],
  ['systemd in the container', `${SYSTEMD}/cri-containerd-${C}.scope/init.scope`, P, C, 4],
  ['a service in the container', `${SYSTEMD}/cri-containerd-${C}.scope/system.slice/x.service`, P, C, 4],
  ['docker in the pod', `${SYSTEMD}/cri-containerd-${C}.scope/docker/${C2}`, P, C, 4],
  ['from another cgroup namespace', `/../../${UNITED}/cri-containerd-${C}.scope`, P, C, 4],
  ['from a sibling cgroup namespace: pod lost', `/../cri-containerd-${C}.scope`, '', C, 2],
  ['static pod', `/kubepods/burstable/pod${STATIC}/${C}`, STATIC, C, 4],
  [
    'static pod, systemd',
    `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod${STATIC}.slice/cri-containerd-${C}.scope`,
    STATIC,
    C,
    4,
  ],
  ['the pod itself', `/kubepods/besteffort/pod${P}`, P, '', 0],
  ['the pod itself, systemd', SYSTEMD, P, '', 0],
  ['a group in the pod that is no container', `/kubepods/besteffort/pod${P}/helper`, P, '', 0],
  ['docker, cgroupfs', `/docker/${C}`, '', C, 2],
  ['docker, systemd', `/system.slice/docker-${C}.scope`, '', C, 2],
  ['podman', `/machine.slice/libpod-${C}.scope/container`, '', C, 2],
  ['podman monitor', `/machine.slice/libpod-conmon-${C}.scope`, '', '', 0],
  ['plain runc', `/${C}`, '', C, 1],
  ['docker in docker', `/docker/${C}/docker/${C2}`, '', C, 2],
  ['root', '/', '', '', 0],
  ['empty', '', '', '', 0],
  ['host unit', '/system.slice/sshd.service', '', '', 0],
  ['kubepods levels', '/kubepods.slice/kubepods-burstable.slice', '', '', 0],
  ['63 digits', `/docker/${C.slice(1)}`, '', '', 0],
  ['upper case', `/docker/${C.toUpperCase()}`, '', '', 0],
  ['a pod UID with a digit too many', `/kubepods/pod${P}0/x`, '', '', 0],
  ['a name that only ends like a pod', `/tripod${P}/x`, '', '', 0],
  [
    'a name inside the container that poses as another pod',
    `${SYSTEMD}/cri-containerd-${C}.scope/pod${STATIC}/${C2}`,
    P,
    C,
    4,
  ],
  ['a mismatch form without a pod', `/system.slice:cri-containerd:${C}`, '', C, 1],
  ['a monitor made inside the container', `${SYSTEMD}/cri-containerd-${C}.scope/crio-conmon-${C2}`, P, C, 4],
];

describe('parseCgroupPath', () => {
  it.each(table)('%s', (_name, path, podUid, containerId, containerRootDepth) => {
    expect(parseCgroupPath(path)).toEqual({ podUid, containerId, containerRootDepth });
    if (containerRootDepth > 0) expect(cgroupSegments(path)[containerRootDepth - 1]).toContain(containerId);
  });

  it('does not slow down on long hostile names', () => {
    const started = performance.now();
    parseCgroupPath(`/${'pod-'.repeat(5000)}/${'a'.repeat(20_000)}/${':cri-containerd:'.repeat(2000)}`);
    expect(performance.now() - started).toBeLessThan(200);
  });
});
