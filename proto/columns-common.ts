import { bytes, type Column, column, enumName, orNull } from './column.ts';
import type { Event, NodeFacts, Process, Workload } from './messages.ts';

/** What is fixed by an event's place in its batch. */
export interface Head {
  /** Wall clock, ns since 1970. */
  readonly timeNs: bigint;
  /** RFC 3339 of timeNs. */
  readonly time: string;
  readonly kind: string;
  readonly seq: bigint;
  /** Run id in hex. */
  readonly run: string;
}

/** Of the batch: whose it is and when it came. */
export interface Origin {
  readonly node: NodeFacts;
  readonly run: string;
  readonly ingestTime: string | null;
}

/** A process with its workload. */
export interface Actor {
  readonly process: Process | null;
  readonly workload: Workload | null;
}

/** First columns of every kind. */
export const HEAD: readonly Column<Head>[] = [
  column('time', 'string', 'wall clock of the node, RFC 3339, UTC, nine digits', (head) => head.time),
  column('time_ns', 'integer', 'the same, ns since 1970', (head) => head.timeNs),
  column('kind', 'string', 'what happened', (head) => head.kind),
  column(
    'event_id',
    'string',
    '<agent_run_id>-<seq>: the same when an event was sent again',
    (head) => `${head.run}-${head.seq}`,
  ),
  column('seq', 'integer', "position in the agent's run, from 1, without holes", (head) => head.seq),
];

/** Then, of every kind: the node and the agent's run. */
export const ORIGIN: readonly Column<Origin>[] = [
  column(
    'ingest_time',
    'string',
    'wall clock of the collector at arrival, RFC 3339; null in the local tail',
    (origin) => origin.ingestTime,
  ),
  column('agent_run_id', 'string', '128 random bits in hex, one start of the agent', (origin) => origin.run),
  column(
    'host_boot_id',
    'string',
    "the kernel's boot id; with process_pid and process_start_time_ns: the process key",
    ({ node }) => orNull(node.bootId),
  ),
  column('k8s_cluster_name', 'string', 'as told to the agent', ({ node }) => orNull(node.clusterName)),
  column('k8s_cluster_uid', 'string', 'UID of the namespace kube-system', ({ node }) => orNull(node.clusterUid)),
  column('k8s_node_name', 'string', 'Kubernetes node name; the host name where there is none', ({ node }) =>
    orNull(node.nodeName),
  ),
  column('host_name', 'string', 'uname nodename; of an agent in a pod the node name', ({ node }) =>
    orNull(node.hostName),
  ),
  column(
    'host_id',
    'string',
    "the cloud's instance id; else /etc/machine-id, else the firmware's product UUID",
    ({ node }) => orNull(node.hostId === '' ? node.machineId : node.hostId),
  ),
  column('host_arch', 'string', 'uname machine: whose numbers file_open_flags are', ({ node }) =>
    orNull(node.architecture),
  ),
  column('cloud_provider', 'string', 'aws, azure, gcp, ...', ({ node }) => orNull(node.cloudProvider)),
  column('cloud_account_id', 'string', 'account, subscription, project', ({ node }) => orNull(node.cloudAccountId)),
  column('cloud_region', 'string', '', ({ node }) => orNull(node.cloudRegion)),
  column('cloud_availability_zone', 'string', '', ({ node }) => orNull(node.cloudAvailabilityZone)),
];

const METADATA_STATES = ['unspecified', 'complete', 'pending', 'unknown', 'host'];
const ENTRIES = ['unknown', 'init', 'exec', 'host'];

/** Of every kind but kerntap.*: whose container it is, and the process. */
export const ACTOR: readonly Column<Actor>[] = [
  column('k8s_namespace_name', 'string', '', ({ workload }) => orNull(workload?.namespaceName ?? '')),
  column('k8s_pod_name', 'string', '', ({ workload }) => orNull(workload?.podName ?? '')),
  column('k8s_pod_uid', 'string', "from the cgroup's path; of a static pod 32 hex digits", ({ workload }) =>
    orNull(workload?.podUid ?? ''),
  ),
  column('k8s_pod_labels', 'map', 'label to value; null where the pod is not known', ({ workload }) =>
    workload === null || (workload.podName === '' && Object.keys(workload.podLabels).length === 0)
      ? null
      : workload.podLabels,
  ),
  column('k8s_service_account_name', 'string', '', ({ workload }) => orNull(workload?.serviceAccount ?? '')),
  column('k8s_owner_kind', 'string', "the pod's controller", ({ workload }) => orNull(workload?.ownerKind ?? '')),
  column('k8s_owner_name', 'string', '', ({ workload }) => orNull(workload?.ownerName ?? '')),
  column('k8s_owner_derived', 'boolean', 'computed from names, not read; null without an owner', ({ workload }) =>
    workload === null || workload.ownerName === '' ? null : workload.ownerDerived,
  ),
  column('k8s_container_name', 'string', '', ({ workload }) => orNull(workload?.containerName ?? '')),
  column('container_id', 'string', '64 hex digits', ({ workload }) => orNull(workload?.containerId ?? '')),
  column('container_runtime_name', 'string', 'containerd, cri-o, docker', ({ workload }) =>
    orNull(workload?.containerRuntime ?? ''),
  ),
  column('container_image_name', 'string', "as the pod's spec names it", ({ workload }) =>
    orNull(workload?.imageName ?? ''),
  ),
  column('container_image_digest', 'string', 'sha256:...', ({ workload }) => orNull(workload?.imageDigest ?? '')),
  column(
    'metadata_state',
    'string',
    'complete; pending: pod UID known, a kerntap.pod row completes it; unknown; host',
    ({ workload }) => (workload === null ? 'unknown' : enumName(METADATA_STATES, workload.state)),
  ),
  column('metadata_reason', 'string', 'why pending or unknown', ({ workload }) =>
    workload === null ? 'the event names no workload' : orNull(workload.metadataReason),
  ),
  column('cgroup_id', 'unsigned', 'cgroup v2 id', ({ workload }) => orNull(workload?.cgroupId ?? 0n)),
  ...bytes<Actor>(
    'process_linux_cgroup',
    'path from the root of the v2 hierarchy',
    ({ workload }) => workload?.cgroupPath ?? NO_BYTES,
  ),
  process('process_pid', 'tgid in the initial pid namespace; null where only the cgroup is known', (p) => p.tgid),
  process('process_start_time_ns', 'ns of the boot clock', (p) => orNull(p.startTimeNs)),
  process('process_exec_id', "the kernel's count of the process's execs", (p) => p.execId),
  process('process_parent_pid', '', (p) => orNull(p.parentTgid)),
  process('process_parent_start_time_ns', '', (p) => orNull(p.parentStartTimeNs)),
  process('process_parent_exec_id', '', (p) => (p.parentTgid === 0 ? null : p.parentExecId)),
  process('process_vpid', "pid in the process's own pid namespace", (p) => orNull(p.nsTgid)),
  process('process_user_id', 'effective uid, initial user namespace', (p) => p.euid),
  process('process_real_user_id', 'real uid', (p) => p.uid),
  process('process_real_group_id', 'real gid', (p) => p.gid),
  process('process_mount_namespace', 'inode number', (p) => orNull(p.mntNs)),
  process('process_network_namespace', 'inode number', (p) => orNull(p.netNs)),
  process(
    'process_image_pid',
    'who executed the image: another process after a fork without exec',
    (p) => orNull(p.imageTgid) ?? p.tgid,
  ),
  process('process_image_start_time_ns', 'its start; with process_exec_id: the image key', (p) =>
    orNull(p.imageTgid === 0 ? p.startTimeNs : p.imageStartTimeNs),
  ),
  ...bytes<Actor>('process_command', "the thread's name, up to 15 bytes", ({ process }) => process?.comm ?? NO_BYTES),
  column(
    'entry',
    'string',
    "init: in the tree of the container's first process; exec: injected; host; unknown",
    ({ process }) => enumName(ENTRIES, process?.entry ?? 0),
  ),
];

/** The image; process.exec has its own, in full. */
export const IMAGE: readonly Column<Actor>[] = [
  ...bytes<Actor>(
    'process_executable_path',
    "the image's path in its mount namespace; null where its start was not seen",
    ({ process }) => process?.exe ?? NO_BYTES,
  ),
  column(
    'process_executable_unknown',
    'boolean',
    'the start of the image was not seen; false and no path: it has none',
    ({ process }) => (process === null || process.tgid === 0 ? null : process.exeUnknown),
  ),
];

const ACTORS = ['current', 'owner', 'cgroup_only'];
const TIERS = ['tracker', 'trampoline', 'syscall', 'raw_syscall', 'iterator'];

/** An event with its process. */
export interface Captured {
  readonly event: Event;
  readonly process: Process | null;
}

/** How the event was taken: every kind but kerntap.*. */
export const CAPTURE: readonly Column<Captured>[] = [
  column('thread_id', 'integer', '', ({ event, process }) => orNull(event.tid) ?? orNull(process?.tgid ?? 0)),
  column(
    'actor',
    'string',
    "current; owner: the socket's remembered one; cgroup_only: no process is known",
    ({ event }) => enumName(ACTORS, event.actor),
  ),
  column('tier', 'string', 'tracker, trampoline, syscall, raw_syscall, iterator', ({ event }) =>
    enumName(TIERS, event.tier),
  ),
  column(
    'existing',
    'boolean',
    'it was so when the agent started, it did not just happen',
    ({ event }) => event.existing,
  ),
  column('sample_weight', 'integer', 'the event stands for so many; 0 for existing ones', ({ event }) =>
    event.existing ? 0 : (orNull(event.sampleWeight) ?? 1),
  ),
];

const NO_BYTES = new Uint8Array(0);

// A number of the process; null where none is known (actor cgroup_only).
function process(name: string, doc: string, read: (process: Process) => number | bigint | null): Column<Actor> {
  return column(name, 'integer', doc, (actor) =>
    actor.process === null || actor.process.tgid === 0 ? null : read(actor.process),
  );
}
