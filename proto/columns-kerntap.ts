import { type Column, column, enumName, objects, orNull } from './column.ts';
import type { Container, Loss, NodeFacts, Pod, Probe } from './messages.ts';
import { boundedTime } from './time.ts';

/** kerntap.*: the agent speaks of itself; what it knows of the node and the clock comes along. */
export interface Own<Body> {
  readonly body: Body;
  readonly node: NodeFacts;
  readonly wallOffsetNs: bigint;
}

function wallTime(bootNs: bigint, offsetNs: bigint): string | null {
  return bootNs === 0n ? null : boundedTime(bootNs + offsetNs);
}

/** kerntap.loss: something was not delivered. */
export const LOSS: readonly Column<Own<Loss>>[] = [
  column(
    'loss_stage',
    'string',
    'kernel, decode, hold, queue, spool, collector; run: told of a run that is over',
    ({ body }) => orNull(body.stage),
  ),
  column('loss_reason', 'string', '', ({ body }) => orNull(body.reason)),
  column('loss_kind', 'string', 'of the lost events; null: mixed or not known', ({ body }) => orNull(body.kind)),
  column('loss_count', 'integer', 'since the last row of the same stage, reason and kind', ({ body }) => body.count),
  column('loss_total', 'integer', 'in this run', ({ body }) => body.total),
  column('loss_first_time', 'string', 'RFC 3339: the span in which it was noticed', ({ body, wallOffsetNs }) =>
    wallTime(body.firstTimeNs, wallOffsetNs),
  ),
  column('loss_last_time', 'string', '', ({ body, wallOffsetNs }) => wallTime(body.lastTimeNs, wallOffsetNs)),
  column(
    'loss_unaccountable',
    'boolean',
    'the count is a lower bound: the kernel does not tell',
    ({ body }) => body.unaccountable,
  ),
  column('loss_run_id', 'string', "the run that lost them; null: this row's", ({ body }) =>
    orNull(Buffer.from(body.ofRunId).toString('hex')),
  ),
  column(
    'loss_first_seq',
    'integer',
    'the lost events are among these sequences; null: not known, or they had none',
    ({ body }) => (body.firstSeq === 0n ? null : body.firstSeq),
  ),
  column('loss_last_seq', 'integer', '', ({ body }) => (body.lastSeq === 0n ? null : body.lastSeq)),
  column('loss_blind_ns', 'integer', 'reason blind: for so long nobody watched', ({ body }) =>
    body.blindNs === 0n ? null : body.blindNs,
  ),
];

const POD_STATES = ['unspecified', 'seen', 'gone'];

/** A container of a kerntap.pod row. */
const CONTAINER: readonly Column<Container>[] = [
  column('container_id', 'string', '64 hex digits', (container) => orNull(container.id)),
  column('k8s_container_name', 'string', '', (container) => orNull(container.name)),
  column('type', 'string', 'container, init, sidecar, ephemeral', (container) => orNull(container.type)),
  column('container_image_name', 'string', "as the pod's spec names it", (container) => orNull(container.imageName)),
  column('container_image_digest', 'string', 'sha256:...', (container) => orNull(container.imageDigest)),
  column('container_runtime_name', 'string', 'containerd, cri-o, docker', (container) => orNull(container.runtime)),
  column('k8s_container_restart_count', 'integer', '', (container) => container.restartCount),
  column('privileged', 'boolean', '', (container) => container.privileged),
  column('added_capabilities', 'strings', '', (container) => container.addedCapabilities),
  column('started_at', 'string', 'RFC 3339, whole seconds, of this instance', (container) =>
    orNull(container.startedAt),
  ),
  column('finished_at', 'string', '', (container) => orNull(container.finishedAt)),
  column(
    'probe_commands',
    'strings',
    'of exec probes and lifecycle hooks: argv joined by NUL',
    (container) => container.probeCommands,
  ),
  column('previous_container_ids', 'strings', 'instances before this one', (container) => container.previousIds),
];

/** kerntap.pod: a pod of this node as the local kubelet tells it. Its columns are named as in the events it completes. */
export const POD: readonly Column<Own<Pod>>[] = [
  column('pod_state', 'string', 'seen: the whole row stands; gone', ({ body }) => enumName(POD_STATES, body.state)),
  column('k8s_pod_uid', 'string', "as in the cgroup's path", ({ body }) => orNull(body.uid)),
  column('k8s_pod_name', 'string', '', ({ body }) => orNull(body.name)),
  column('k8s_namespace_name', 'string', '', ({ body }) => orNull(body.namespaceName)),
  column('k8s_pod_labels', 'map', 'label to value', ({ body }) => body.labels),
  column('k8s_pod_ips', 'strings', '', ({ body }) => body.ips),
  column('k8s_pod_host_network', 'boolean', '', ({ body }) => body.hostNetwork),
  column('k8s_pod_host_pid', 'boolean', '', ({ body }) => body.hostPid),
  column('k8s_service_account_name', 'string', '', ({ body }) => orNull(body.serviceAccount)),
  column('k8s_owner_kind', 'string', 'what the pod belongs to in the end: Deployment, CronJob, ...', ({ body }) =>
    orNull(body.ownerKind),
  ),
  column('k8s_owner_name', 'string', '', ({ body }) => orNull(body.ownerName)),
  column('k8s_owner_derived', 'boolean', 'computed from names, not read; null without an owner', ({ body }) =>
    body.ownerName === '' ? null : body.ownerDerived,
  ),
  column('k8s_pod_phase', 'string', '', ({ body }) => orNull(body.phase)),
  column('k8s_pod_start_time', 'string', 'RFC 3339, as the kubelet says', ({ body }) => orNull(body.startedAt)),
  column('k8s_pod_host_paths', 'strings', 'hostPath volumes', ({ body }) => body.hostPaths),
  column('k8s_pod_annotations', 'map', 'those that the settings name; null: none of them', ({ body }) =>
    Object.keys(body.annotations).length === 0 ? null : body.annotations,
  ),
  column(
    'k8s_pod_untold_labels',
    'integer',
    'labels left out, by the settings or for their length',
    ({ body }) => body.untoldLabels,
  ),
  column('k8s_pod_host_ipc', 'boolean', '', ({ body }) => body.hostIpc),
  column('k8s_pod_user_namespace', 'boolean', "its root is not the node's", ({ body }) => body.userNamespace),
  column('k8s_pod_runtime_class', 'string', 'a runtime with a kernel of its own hides what runs in it', ({ body }) =>
    orNull(body.runtimeClass),
  ),
  column('k8s_controller_kind', 'string', 'the first of the owners, as read', ({ body }) =>
    orNull(body.controllerKind),
  ),
  column('k8s_controller_name', 'string', '', ({ body }) => orNull(body.controllerName)),
  column('k8s_controller_uid', 'string', '', ({ body }) => orNull(body.controllerUid)),
  column('k8s_pod_creation_time', 'string', 'RFC 3339', ({ body }) => orNull(body.createdAt)),
  column('k8s_pod_finish_time', 'string', 'RFC 3339: when its last container ended', ({ body }) =>
    orNull(body.finishedAt),
  ),
  objects('k8s_pod_containers', 'each container', CONTAINER, ({ body }) => body.containers),
  column('metadata_source', 'string', 'pods-api, kubelet', ({ body }) => orNull(body.source)),
  column('k8s_node_uid', 'string', '', ({ node }) => orNull(node.nodeUid)),
  column('host_ips', 'strings', "the node's", ({ node }) => node.nodeIps),
];

/** kerntap.probe: a probe was turned on or off, or failed. */
export const PROBE: readonly Column<Own<Probe>>[] = [
  column('probe_kind', 'string', 'the kind that it makes', ({ body }) => orNull(body.kind)),
  column('probe_tier', 'string', 'trampoline, syscall, raw, tracker', ({ body }) => orNull(body.tier)),
  column('probe_state', 'string', 'on, off, failed', ({ body }) => orNull(body.state)),
  column('probe_reason', 'string', '', ({ body }) => orNull(body.reason)),
  column('host_kernel_release', 'string', 'uname release', ({ node }) => orNull(node.kernelRelease)),
  column('os_description', 'string', 'os-release PRETTY_NAME of the node', ({ node }) => orNull(node.osDescription)),
  column(
    'node_fact_sources',
    'map',
    'fact of the node to where it came from; null of an agent that does not tell',
    ({ node }) => (Object.keys(node.sources).length === 0 ? null : node.sources),
  ),
];
