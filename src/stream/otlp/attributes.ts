// Columns as OpenTelemetry attributes. The columns themselves (proto/columns*.ts) stay the one place that says what is
// told and how it is read; here is only how OpenTelemetry calls it.

import type { Workload } from '../../../proto/messages.ts';
import type { Cell } from '../../../proto/ndjson.ts';
import type { Value } from './any-value.ts';

/** How a column is told where that is more than a name. */
interface Form {
  /** Each entry of the map is an attribute of its own, `<attribute>.<key>`. */
  readonly entries?: true;
  /** The value as the semantic conventions type it. */
  readonly as?: (cell: Cell) => Value;
}

export interface Attribute extends Form {
  readonly name: string;
}

/** Semantic conventions 1.45, by column. A column that is not here is `kerntap.<column>`. */
const SEMANTIC: Readonly<Record<string, string>> = {
  cloud_account_id: 'cloud.account.id',
  cloud_availability_zone: 'cloud.availability_zone',
  cloud_platform: 'cloud.platform',
  cloud_provider: 'cloud.provider',
  cloud_region: 'cloud.region',
  // ECS's name: the conventions have none.
  community_id: 'network.community_id',
  container_id: 'container.id',
  // A part of what Kubernetes calls imageID, which the conventions take for this.
  container_image_digest: 'container.image.id',
  container_image_name: 'container.image.name',
  container_runtime_name: 'container.runtime.name',
  error: 'error.type',
  file_inode: 'file.inode',
  file_mode: 'file.mode',
  file_path: 'file.path',
  file_size: 'file.size',
  host_arch: 'host.arch',
  host_id: 'host.id',
  host_image_id: 'host.image.id',
  host_ips: 'host.ip',
  host_name: 'host.name',
  host_type: 'host.type',
  k8s_cluster_name: 'k8s.cluster.name',
  k8s_cluster_uid: 'k8s.cluster.uid',
  k8s_container_name: 'k8s.container.name',
  k8s_namespace_name: 'k8s.namespace.name',
  k8s_node_name: 'k8s.node.name',
  k8s_node_uid: 'k8s.node.uid',
  k8s_pod_labels: 'k8s.pod.label',
  k8s_pod_name: 'k8s.pod.name',
  k8s_pod_phase: 'k8s.pod.status.phase',
  k8s_pod_start_time: 'k8s.pod.start_time',
  k8s_pod_uid: 'k8s.pod.uid',
  network_local_address: 'network.local.address',
  network_local_port: 'network.local.port',
  network_peer_address: 'network.peer.address',
  network_peer_port: 'network.peer.port',
  network_transport: 'network.transport',
  network_type: 'network.type',
  os_description: 'os.description',
  process_args_count: 'process.args_count',
  // The conventions' process.command is argv[0]; what this column has is the thread's name.
  process_command: 'thread.name',
  process_command_args: 'process.command_args',
  process_executable_path: 'process.executable.path',
  process_exit_code: 'process.exit.code',
  process_linux_cgroup: 'process.linux.cgroup',
  process_parent_pid: 'process.parent_pid',
  process_pid: 'process.pid',
  process_real_user_id: 'process.real_user.id',
  process_user_id: 'process.user.id',
  process_vpid: 'process.vpid',
  process_working_directory: 'process.working_directory',
  thread_id: 'thread.id',
};

// uname's names for what the conventions name otherwise.
const ARCHITECTURES: Readonly<Record<string, string>> = { x86_64: 'amd64', aarch64: 'arm64' };

const FORMS: Readonly<Record<string, Form>> = {
  k8s_pod_labels: { entries: true },
  container_image_name: { as: (cell) => (typeof cell === 'string' ? imageParts(cell).name : cell) },
  file_inode: { as: (cell) => (cell === null ? null : String(cell)) },
  host_arch: { as: (cell) => (typeof cell === 'string' ? (ARCHITECTURES[cell] ?? cell) : cell) },
};

/** Exact bytes: the column has them as base64 for JSON, OTLP has bytes. */
function decoded(cell: Cell): Value {
  if (typeof cell === 'string') return Buffer.from(cell, 'base64');
  return Array.isArray(cell) ? cell.map(decoded) : null;
}

/** The attribute of a column. */
export function attributeOf(column: string): Attribute {
  const name = SEMANTIC[column] ?? `kerntap.${column}`;
  return { name, ...(column.endsWith('_b64') ? { as: decoded } : FORMS[column]) };
}

/** Not told: OTLP has a time of its own for it, or a field. */
export const UNTOLD: ReadonlySet<string> = new Set(['ingest_time']);

/** Columns of ACTOR that are the same for all events of a container. */
export const CONTAINER_COLUMNS: ReadonlySet<string> = new Set([
  'k8s_namespace_name',
  'k8s_pod_name',
  'k8s_pod_uid',
  'k8s_pod_labels',
  'k8s_service_account_name',
  'k8s_owner_kind',
  'k8s_owner_name',
  'k8s_owner_derived',
  'k8s_container_name',
  'container_id',
  'container_runtime_name',
  'container_image_name',
  'container_image_digest',
  'metadata_state',
  'metadata_reason',
]);

/** `name:tag` and `name@digest` as the conventions want them apart; a port is no tag. */
function imageParts(image: string): { name: string; tag: string } {
  const named = image.split('@', 1)[0] ?? '';
  const colon = named.lastIndexOf(':');
  if (colon < 0 || named.includes('/', colon)) return { name: named, tag: '' };
  return { name: named.slice(0, colon), tag: named.slice(colon + 1) };
}

const OWNERS: Readonly<Record<string, string>> = {
  CronJob: 'k8s.cronjob.name',
  DaemonSet: 'k8s.daemonset.name',
  Deployment: 'k8s.deployment.name',
  Job: 'k8s.job.name',
  ReplicaSet: 'k8s.replicaset.name',
  ReplicationController: 'k8s.replicationcontroller.name',
  StatefulSet: 'k8s.statefulset.name',
};

/** Attributes of a container that are no column: the conventions have a name for each kind of owner, and tags apart. */
export function conventional(workload: Workload): [name: string, value: Value][] {
  const found: [string, Value][] = [];
  const owner = Object.hasOwn(OWNERS, workload.ownerKind) ? OWNERS[workload.ownerKind] : undefined;
  if (owner !== undefined && workload.ownerName !== '') found.push([owner, workload.ownerName]);
  const { tag } = imageParts(workload.imageName);
  if (tag !== '') found.push(['container.image.tags', [tag]]);
  return found;
}
