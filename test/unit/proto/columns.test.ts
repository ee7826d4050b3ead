import { describe, expect, test } from 'vitest';
import { COLUMNS, type EventRow, type Row, rowsOf, toLine } from '../../../proto/columns.ts';
import {
  type Batch,
  decodeBatch,
  type Event,
  encodeBatch,
  type Process,
  root,
  type Sparse,
  type Workload,
} from '../../../proto/contract.ts';
import { nodeFacts } from '../../node-facts.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
const RUN = Buffer.from('00112233445566778899aabbccddeeff', 'hex');

const NODE = nodeFacts({
  runId: RUN,
  bootId: 'b0071d',
  clusterName: 'prod',
  nodeName: 'node-1',
  hostName: 'ip-10-0-0-1',
  kernelRelease: '6.12.0',
  architecture: 'aarch64',
  machineId: '0123456789abcdef',
  nodeUid: 'cafe',
  nodeIps: ['10.0.0.1', 'fd00::1'],
  clusterUid: 'c1u2',
  hostId: 'i-0abc',
  cloudProvider: 'aws',
  cloudAccountId: '123456789012',
  cloudRegion: 'eu-central-1',
  cloudAvailabilityZone: 'eu-central-1a',
  osDescription: 'Bottlerocket OS 1.30',
  sources: { host_id: 'dmi', cloud_account_id: 'value' },
});

const WORKLOAD: Sparse<Workload> = {
  cgroupId: 2n ** 60n + 1n,
  cgroupPath: bytes('/kubepods/pod1/cri-1'),
  state: 1,
  metadataReason: '',
  containerId: 'c0ffee',
  containerName: 'app',
  containerRuntime: 'containerd',
  imageName: 'shop:1',
  imageDigest: 'sha256:aa',
  podUid: 'uid-1',
  podName: 'shop-1',
  namespaceName: 'store',
  podLabels: { app: 'shop', 'a/b': '"quoted"', ['__proto__']: 'x' },
  serviceAccount: 'default',
  ownerKind: 'Deployment',
  ownerName: 'shop',
  ownerDerived: true,
};

const PROCESS: Sparse<Process> = {
  workload: 1,
  tgid: 100,
  startTimeNs: 2n ** 53n + 1n,
  execId: 3n,
  parentTgid: 99,
  parentStartTimeNs: 2n ** 53n + 3n,
  parentExecId: 4n,
  nsTgid: 7,
  uid: 1000,
  gid: 1001,
  euid: 1002,
  mntNs: 4026531841,
  netNs: 4026531840,
  comm: bytes('sh'),
  entry: 2,
  exe: bytes('/bin/dash'),
  imageTgid: 98,
  imageStartTimeNs: 2n ** 53n + 5n,
};

// What every expected row of PROCESS begins with, in order.
const HEAD = {
  time: '2026-11-22T07:59:59.123456789Z',
  time_ns: 1_795_334_399_123_456_789n,
  kind: '',
  event_id: `${RUN.toString('hex')}-9007199254740993`,
  seq: 9_007_199_254_740_993n,
  ingest_time: '2026-11-22T08:00:00.001000000Z',
  agent_run_id: RUN.toString('hex'),
  host_boot_id: 'b0071d',
  k8s_cluster_name: 'prod',
  k8s_cluster_uid: 'c1u2',
  k8s_node_name: 'node-1',
  host_name: 'ip-10-0-0-1',
  host_id: 'i-0abc',
  host_arch: 'aarch64',
  cloud_provider: 'aws',
  cloud_account_id: '123456789012',
  cloud_region: 'eu-central-1',
  cloud_availability_zone: 'eu-central-1a',
};
const ACTOR = {
  k8s_namespace_name: 'store',
  k8s_pod_name: 'shop-1',
  k8s_pod_uid: 'uid-1',
  k8s_pod_labels: WORKLOAD.podLabels,
  k8s_service_account_name: 'default',
  k8s_owner_kind: 'Deployment',
  k8s_owner_name: 'shop',
  k8s_owner_derived: true,
  k8s_container_name: 'app',
  container_id: 'c0ffee',
  container_runtime_name: 'containerd',
  container_image_name: 'shop:1',
  container_image_digest: 'sha256:aa',
  metadata_state: 'complete',
  metadata_reason: null,
  cgroup_id: 1_152_921_504_606_846_977n,
  process_linux_cgroup: '/kubepods/pod1/cri-1',
  process_linux_cgroup_b64: null,
  process_pid: 100,
  process_start_time_ns: 9_007_199_254_740_993n,
  process_exec_id: 3n,
  process_parent_pid: 99,
  process_parent_start_time_ns: 9_007_199_254_740_995n,
  process_parent_exec_id: 4n,
  process_vpid: 7,
  process_user_id: 1002,
  process_real_user_id: 1000,
  process_real_group_id: 1001,
  process_mount_namespace: 4026531841,
  process_network_namespace: 4026531840,
  process_image_pid: 98,
  process_image_start_time_ns: 9_007_199_254_740_997n,
  process_command: 'sh',
  process_command_b64: null,
  entry: 'exec',
};
const IMAGE = {
  process_executable_path: '/bin/dash',
  process_executable_path_b64: null,
  process_executable_unknown: false,
};
const CAPTURE = { thread_id: 100, actor: 'current', tier: 'tracker', existing: false, sample_weight: 1 };

function rows(events: Sparse<Event>[], changes: Sparse<Batch> = {}): (Row | string)[] {
  const batch = decodeBatch(
    encodeBatch({
      runId: RUN,
      firstSeq: 9_007_199_254_740_993n,
      baseTimeNs: 10n ** 16n + 1n,
      wallOffsetNs: 1_795_334_399_123_456_788n - 10n ** 16n,
      workloads: [WORKLOAD],
      processes: [PROCESS],
      events,
      ...changes,
    }),
  );
  return [...rowsOf(batch, NODE, 1_795_334_400_001, 0)].map((event) => {
    if ('refused' in event) return event.refused;
    expect(event.line()).toBe(toLine(event.row()));
    return event.row();
  });
}

function only(event: Sparse<Event>, changes: Sparse<Batch> = {}): Row {
  const [row] = rows([event], changes);
  if (row === undefined || typeof row === 'string') throw new Error(`refused: ${row}`);
  return row;
}

// Same columns, same values, same order.
function expectRow(row: Row, expected: Record<string, unknown>): void {
  expect(row).toEqual(expected);
  expect(Object.keys(row)).toEqual(Object.keys(expected));
  expect(Object.keys(row)).toEqual(COLUMNS.get(String(expected['kind']))?.map(({ name }) => name));
}

const path = (text: string, state = 0, source = 1) => ({ path: bytes(text), state, source });
const pathColumns = (name: string, text: string, state = 'ok', source = 'kernel_file') => ({
  [name]: text,
  [`${name}_b64`]: null,
  [`${name}_state`]: state,
  [`${name}_source`]: source,
});

const v4 = (port: number, ...ip: number[]) => ({ ip: Buffer.from(ip), port });
const v6 = (port: number, hex: string) => ({ ip: Buffer.from(hex, 'hex'), port });

const OWN: Record<string, [Sparse<Event>, Record<string, unknown>]> = {
  'process.exec': [
    {
      processExec: {
        exe: path('/usr/bin/python3', 2),
        filename: bytes('./run.py'),
        argv: [bytes('run.py'), bytes(''), bytes('two\nlines')],
        argc: 900,
        argvLength: 300_000,
        argvTruncated: true,
        argvFault: true,
        cwd: path('/srv', 8),
        exeInode: 2n ** 63n,
        exeDev: (8 << 20) | 17,
        exeUpperLayer: true,
        exeMemfd: true,
        exeDeleted: true,
        secureexec: true,
        capPermitted: 0x1ffffffffffn,
        capEffective: 0x3n,
        capInheritable: 0x5n,
        interpreter: bytes('/usr/bin/env'),
        loginuid: 0,
        sessionId: 12,
        tty: bytes('pts0'),
        env: [bytes('LD_PRELOAD=/x.so')],
      },
    },
    {
      ...pathColumns('process_executable_path', '/usr/bin/python3', 'deleted'),
      process_executable_asked: './run.py',
      process_executable_asked_b64: null,
      process_command_args: ['run.py', '', 'two\nlines'],
      process_command_args_b64: null,
      process_args_count: 900,
      process_command_args_bytes: 300_000,
      process_command_args_truncated: true,
      process_command_args_unreadable: true,
      ...pathColumns('process_working_directory', '/srv', 'chrooted'),
      process_executable_inode: 9_223_372_036_854_775_808n,
      process_executable_device: '8:17',
      process_executable_upper_layer: true,
      process_executable_memfd: true,
      process_executable_deleted: true,
      process_secureexec: true,
      process_capabilities_permitted: 2_199_023_255_551n,
      process_capabilities_effective: 3n,
      process_capabilities_inheritable: 5n,
      process_interpreter: '/usr/bin/env',
      process_interpreter_b64: null,
      process_login_user_id: 0,
      process_audit_session_id: 12,
      process_tty: 'pts0',
      process_tty_b64: null,
      process_environment: ['LD_PRELOAD=/x.so'],
      process_environment_b64: null,
    },
  ],
  'process.exit': [
    { processExit: { durationNs: 2n ** 53n + 1n, code: 3 } },
    {
      process_exit_code: 3,
      process_exit_signal: null,
      process_core_dumped: false,
      process_duration_ns: 9_007_199_254_740_993n,
    },
  ],
  'process.io_uring': [
    { processIoUring: { entries: 64, flags: 2, result: -1 } },
    { io_uring_entries: 64, io_uring_flags: 2, result: -1, error: 'EPERM' },
  ],
  'file.open': [
    {
      fileOpen: {
        path: path('/etc/shadow', 1 | 4 | 16, 3),
        asked: bytes('../etc/shadow'),
        askedSource: 4,
        openFlags: 0o102,
        mode: 0o104755,
        dev: (0 << 20) | 42,
        inode: 2n ** 54n + 1n,
        created: true,
        sensitive: true,
        result: -13,
      },
    },
    {
      ...pathColumns('file_path', '/etc/shadow', 'truncated,unreachable,pseudo', 'user_enter'),
      file_path_asked: '../etc/shadow',
      file_path_asked_b64: null,
      file_path_asked_source: 'user_exit',
      file_access: 'read_write',
      file_open_flags: 66,
      file_mode: '4755',
      file_type: 'regular',
      file_inode: 18_014_398_509_481_985n,
      file_device: '0:42',
      file_created: true,
      file_sensitive: true,
      result: -13,
      error: 'EACCES',
    },
  ],
  'file.close': [
    {
      fileClose: {
        path: path('/tmp/x'),
        dev: 1,
        inode: 2n,
        size: 2n ** 53n + 1n,
        modified: false,
        sensitive: true,
        mode: 0o010600,
      },
    },
    {
      ...pathColumns('file_path', '/tmp/x'),
      file_mode: '0600',
      file_type: 'fifo',
      file_inode: 2n,
      file_device: '0:1',
      file_size: 9_007_199_254_740_993n,
      file_modified: false,
      file_sensitive: true,
    },
  ],
  'file.rename': [
    { fileRename: { path: path('/a'), newPath: path('/b', 0, 2), flags: 1, result: -17, sensitive: true } },
    {
      ...pathColumns('file_path', '/a'),
      ...pathColumns('file_new_path', '/b', 'ok', 'kernel_name'),
      file_rename_flags: 1,
      file_sensitive: true,
      result: -17,
      error: 'EEXIST',
    },
  ],
  'file.unlink': [
    { fileUnlink: { path: path('/a', 32, 3), result: 0, sensitive: true } },
    { ...pathColumns('file_path', '/a', 'unreadable', 'user_enter'), file_sensitive: true, result: 0, error: null },
  ],
  'file.chmod': [
    { fileChmod: { path: path('/a'), mode: 0, result: -30, dev: (253 << 20) | 1, inode: 9n, sensitive: true } },
    {
      ...pathColumns('file_path', '/a'),
      file_mode: '0000',
      file_inode: 9n,
      file_device: '253:1',
      file_sensitive: true,
      result: -30,
      error: 'EROFS',
    },
  ],
  'socket.connect': [
    {
      socketConnect: {
        family: 10,
        protocol: 6,
        local: v6(40000, '00000000000000000000ffff0a000001'),
        remote: v6(443, '00000000000000000000ffff0a000002'),
        asked: v6(443, '20010db8000000000000000000000001'),
        result: -111,
        connectionStartNs: 2n ** 53n + 1n,
      },
    },
    {
      network_transport: 'tcp',
      network_type: 'ipv4',
      network_socket_family: 'inet6',
      network_local_address: '10.0.0.1',
      network_local_port: 40000,
      network_peer_address: '10.0.0.2',
      network_peer_port: 443,
      network_asked_address: '2001:db8::1',
      network_asked_port: 443,
      network_connection_start_ns: 9_007_199_254_740_993n,
      network_unix_type: null,
      network_unix_path: null,
      network_unix_path_b64: null,
      network_unix_path_state: null,
      network_unix_path_source: null,
      network_unix_name: null,
      network_unix_name_b64: null,
      network_unix_abstract: null,
      result: -111,
      error: 'ECONNREFUSED',
      community_id: '1:UWHKJ/x6OQ1YiVv4rIl0t3yhjg8=',
    },
  ],
  'socket.accept': [
    {
      socketAccept: {
        family: 2,
        protocol: 6,
        local: v4(80, 10, 0, 0, 1),
        remote: v4(50000, 192, 0, 2, 255),
        connectionStartNs: 5n,
      },
    },
    {
      network_transport: 'tcp',
      network_type: 'ipv4',
      network_socket_family: 'inet',
      network_local_address: '10.0.0.1',
      network_local_port: 80,
      network_peer_address: '192.0.2.255',
      network_peer_port: 50000,
      network_connection_start_ns: 5n,
      community_id: '1:0Z1dQw4AZtwZqhvZN5bDM+mvaRc=',
    },
  ],
  'socket.listen': [
    { socketListen: { family: 10, protocol: 132, local: v6(80, '0'.repeat(32)), backlog: 128, result: -98 } },
    {
      network_transport: 'sctp',
      network_type: 'ipv6',
      network_socket_family: 'inet6',
      network_local_address: '::',
      network_local_port: 80,
      network_listen_backlog: 128,
      result: -98,
      error: 'EADDRINUSE',
    },
  ],
  'socket.close': [
    {
      socketClose: {
        family: 2,
        protocol: 6,
        local: v4(40000, 10, 0, 0, 1),
        remote: v4(443, 10, 0, 0, 2),
        connectionStartNs: 5n,
        durationNs: 6n,
        bytesSent: 0n,
        bytesReceived: 2n ** 53n + 1n,
        endedBy: 4,
        result: -104,
        asked: v4(443, 10, 96, 0, 1),
      },
    },
    {
      network_transport: 'tcp',
      network_type: 'ipv4',
      network_socket_family: 'inet',
      network_local_address: '10.0.0.1',
      network_local_port: 40000,
      network_peer_address: '10.0.0.2',
      network_peer_port: 443,
      network_asked_address: '10.96.0.1',
      network_asked_port: 443,
      network_connection_start_ns: 5n,
      network_connection_duration_ns: 6n,
      network_bytes_sent: 0n,
      network_bytes_received: 9_007_199_254_740_993n,
      network_ended_by: 'remote_reset',
      result: -104,
      error: 'ECONNRESET',
      community_id: '1:UWHKJ/x6OQ1YiVv4rIl0t3yhjg8=',
    },
  ],
  'kerntap.loss': [
    {
      loss: {
        stage: 'spool',
        reason: 'evicted',
        kind: 'file.open',
        count: 3n,
        total: 2n ** 53n + 1n,
        firstTimeNs: 10n ** 16n,
        lastTimeNs: 10n ** 16n + 1n,
        unaccountable: true,
        ofRunId: Buffer.alloc(16, 0xab),
        firstSeq: 17n,
        lastSeq: 19n,
        blindNs: 1n,
      },
    },
    {
      loss_stage: 'spool',
      loss_reason: 'evicted',
      loss_kind: 'file.open',
      loss_count: 3n,
      loss_total: 9_007_199_254_740_993n,
      loss_first_time: '2026-11-22T07:59:59.123456788Z',
      loss_last_time: '2026-11-22T07:59:59.123456789Z',
      loss_unaccountable: true,
      loss_run_id: 'ab'.repeat(16),
      loss_first_seq: 17n,
      loss_last_seq: 19n,
      loss_blind_ns: 1n,
    },
  ],
  'kerntap.pod': [
    {
      pod: {
        state: 1,
        uid: 'uid-1',
        name: 'shop-1',
        namespaceName: 'store',
        labels: { app: 'shop' },
        ips: ['10.1.0.5'],
        hostNetwork: true,
        hostPid: true,
        serviceAccount: 'default',
        ownerKind: 'Deployment',
        ownerName: 'shop',
        ownerDerived: true,
        phase: 'Running',
        startedAt: '2026-11-22T07:00:00Z',
        source: 'kubelet',
        hostPaths: ['/etc'],
        annotations: { team: 'blue' },
        untoldLabels: 2,
        hostIpc: true,
        userNamespace: true,
        runtimeClass: 'gvisor',
        controllerKind: 'ReplicaSet',
        controllerName: 'shop-5d4f',
        controllerUid: 'uid-9',
        createdAt: '2026-11-22T06:59:00Z',
        finishedAt: '2026-11-22T07:30:00Z',
        containers: [
          {
            id: 'c0ffee',
            name: 'app',
            type: 'container',
            imageName: 'shop:1',
            imageDigest: 'sha256:aa',
            runtime: 'containerd',
            restartCount: 2,
            privileged: true,
            addedCapabilities: ['NET_ADMIN'],
            startedAt: '2026-11-22T07:00:01Z',
            finishedAt: '2026-11-22T07:00:02Z',
            probeCommands: ['cat\0/ready'],
            previousIds: ['dead'],
          },
          { name: 'new' },
        ],
      },
    },
    {
      pod_state: 'seen',
      k8s_pod_uid: 'uid-1',
      k8s_pod_name: 'shop-1',
      k8s_namespace_name: 'store',
      k8s_pod_labels: { app: 'shop' },
      k8s_pod_ips: ['10.1.0.5'],
      k8s_pod_host_network: true,
      k8s_pod_host_pid: true,
      k8s_service_account_name: 'default',
      k8s_owner_kind: 'Deployment',
      k8s_owner_name: 'shop',
      k8s_owner_derived: true,
      k8s_pod_phase: 'Running',
      k8s_pod_start_time: '2026-11-22T07:00:00Z',
      k8s_pod_host_paths: ['/etc'],
      k8s_pod_annotations: { team: 'blue' },
      k8s_pod_untold_labels: 2,
      k8s_pod_host_ipc: true,
      k8s_pod_user_namespace: true,
      k8s_pod_runtime_class: 'gvisor',
      k8s_controller_kind: 'ReplicaSet',
      k8s_controller_name: 'shop-5d4f',
      k8s_controller_uid: 'uid-9',
      k8s_pod_creation_time: '2026-11-22T06:59:00Z',
      k8s_pod_finish_time: '2026-11-22T07:30:00Z',
      k8s_pod_containers: [
        {
          container_id: 'c0ffee',
          k8s_container_name: 'app',
          type: 'container',
          container_image_name: 'shop:1',
          container_image_digest: 'sha256:aa',
          container_runtime_name: 'containerd',
          k8s_container_restart_count: 2,
          privileged: true,
          added_capabilities: ['NET_ADMIN'],
          started_at: '2026-11-22T07:00:01Z',
          finished_at: '2026-11-22T07:00:02Z',
          probe_commands: ['cat\0/ready'],
          previous_container_ids: ['dead'],
        },
        {
          container_id: null,
          k8s_container_name: 'new',
          type: null,
          container_image_name: null,
          container_image_digest: null,
          container_runtime_name: null,
          k8s_container_restart_count: 0,
          privileged: false,
          added_capabilities: [],
          started_at: null,
          finished_at: null,
          probe_commands: [],
          previous_container_ids: [],
        },
      ],
      metadata_source: 'kubelet',
      k8s_node_uid: 'cafe',
      host_ips: ['10.0.0.1', 'fd00::1'],
    },
  ],
  'kerntap.probe': [
    { probe: { kind: 'file.open', tier: 'syscall', state: 'failed', reason: 'EACCES' } },
    {
      probe_kind: 'file.open',
      probe_tier: 'syscall',
      probe_state: 'failed',
      probe_reason: 'EACCES',
      host_kernel_release: '6.12.0',
      os_description: 'Bottlerocket OS 1.30',
      node_fact_sources: { host_id: 'dmi', cloud_account_id: 'value' },
    },
  ],
};

describe('every column of', () => {
  test('the kinds of the contract is compared here', () => {
    expect(Object.keys(OWN).sort()).toEqual([...COLUMNS.keys()].sort());
  });

  test.each(Object.entries(OWN))('%s', (kind, [event, columns]) => {
    const own = kind.startsWith('kerntap.');
    const row = only({ timeDeltaNs: 0n, ...(own ? {} : { process: 1 }), ...event });
    expectRow(row, {
      ...HEAD,
      kind,
      ...(own ? {} : { ...ACTOR, ...(kind === 'process.exec' ? {} : IMAGE), ...CAPTURE }),
      ...columns,
    });
  });
});

describe('every field of the contract', () => {
  // An event's bodies, and the dictionaries' entries: each field, taken away, must show in the row.
  const samples: [string, Record<string, unknown>, (changed: Record<string, unknown>) => Row][] = [
    ['Workload', WORKLOAD, (workload) => only({ process: 1, fileOpen: {} }, { workloads: [workload] })],
    ['Process', PROCESS, (process) => only({ process: 1, fileOpen: {} }, { processes: [process] })],
    ...Object.values(OWN).map(
      ([event]): [string, Record<string, unknown>, (changed: Record<string, unknown>) => Row] => {
        const [field = '', body] = Object.entries(event)[0] ?? [];
        const own = field === 'loss' || field === 'pod' || field === 'probe';
        const type = `${field[0]?.toUpperCase()}${field.slice(1)}`;
        return [
          type,
          body as Record<string, unknown>,
          (changed) => only({ ...(own ? {} : { process: 1 }), [field]: changed }),
        ];
      },
    ),
  ];
  // Samples whose value is the default, or whose effect another field hides; other tests look at them.
  const elsewhere = new Set([
    'Workload.metadataReason',
    'Process.exeUnknown',
    'ProcessExit.signal',
    'ProcessExit.coreDumped',
    'FileUnlink.result',
    'FileChmod.mode',
    'SocketConnect.unixPath',
    'SocketConnect.unixName',
    'SocketConnect.unixAbstract',
  ]);

  test.each(samples)('%s', (type, sample, rowOf) => {
    const names = root.lookupType(`kerntap.v1.${type}`).fieldsArray.map(({ name }) => name);
    const whole = toLine(rowOf(sample));
    for (const name of names) {
      if (elsewhere.has(`${type}.${name}`)) continue;
      expect(toLine(rowOf({ ...sample, [name]: undefined })), `${type}.${name} is in no column`).not.toBe(whole);
    }
  });
});

describe('what is not known', () => {
  test('is null, in a row that still has all its columns', () => {
    for (const [kind, [event]] of Object.entries(OWN)) {
      const [field = ''] = Object.keys(event);
      const row = only({ [field]: {} });
      expect(Object.keys(row)).toEqual(COLUMNS.get(kind)?.map(({ name }) => name));
      if (kind.startsWith('kerntap.')) continue;
      expect(row).toMatchObject({
        k8s_pod_uid: null,
        k8s_pod_labels: null,
        metadata_state: 'unknown',
        metadata_reason: 'the event names no workload',
        process_pid: null,
        process_user_id: null,
        thread_id: null,
        entry: 'unknown',
        process_executable_path: null,
      });
    }
  });

  test('is null per field', () => {
    expect(only({ process: 1, fileOpen: {} })).toMatchObject({
      file_path: null,
      file_path_state: null,
      file_path_source: null,
      file_mode: null,
      file_type: null,
      file_inode: null,
      file_device: null,
      result: 0,
      error: null,
    });
    expect(only({ process: 1, processExec: {} })).toMatchObject({
      process_command_args: [],
      process_args_count: null,
      process_login_user_id: null,
      process_audit_session_id: null,
    });
    expect(only({ process: 1, socketClose: { family: 10 } })).toMatchObject({
      network_type: 'ipv6',
      network_local_address: null,
      network_local_port: null,
      network_bytes_sent: null,
      network_connection_start_ns: null,
      network_connection_duration_ns: null,
      network_ended_by: 'unknown',
    });
    expect(only({ process: 1, fileClose: {} })).toMatchObject({ file_modified: null, file_size: 0n });
    expect(only({ process: 1, processExit: { signal: 9, coreDumped: true } })).toMatchObject({
      process_exit_code: null,
      process_exit_signal: 9,
      process_core_dumped: true,
    });
  });

  test('of a process whose actor is only a cgroup: the workload stays', () => {
    const row = only(
      { process: 1, actor: 2, socketClose: { family: 2, protocol: 6 } },
      { processes: [{ workload: 1 }] },
    );
    expect(row).toMatchObject({
      actor: 'cgroup_only',
      k8s_pod_uid: 'uid-1',
      process_pid: null,
      process_user_id: null,
      process_exec_id: null,
      process_executable_unknown: null,
      thread_id: null,
    });
  });

  test('of a pending pod says why, and has no labels rather than none', () => {
    const workloads = [{ state: 2, metadataReason: 'the kubelet did not answer', podUid: 'uid-1' }];
    expect(only({ process: 1, fileOpen: {} }, { workloads })).toMatchObject({
      metadata_state: 'pending',
      metadata_reason: 'the kubelet did not answer',
      k8s_pod_uid: 'uid-1',
      k8s_pod_labels: null,
      k8s_owner_derived: null,
    });
  });

  test('of an image says so, and differs from an image without a path', () => {
    const row = (process: Sparse<Process>) => only({ process: 1, fileOpen: {} }, { processes: [process] });
    expect(row({ tgid: 1, exeUnknown: true })).toMatchObject({
      process_executable_path: null,
      process_executable_unknown: true,
      process_image_pid: 1,
    });
    expect(row({ tgid: 2 })).toMatchObject({ process_executable_path: null, process_executable_unknown: false });
  });

  test('because it is newer than this reader keeps its number', () => {
    expect(
      only({ process: 1, actor: 77, tier: 9, fileOpen: { path: path('/x', 1 | 256, 12), result: -4000 } }),
    ).toMatchObject({
      actor: 'unrecognized_77',
      tier: 'unrecognized_9',
      file_path_state: 'truncated,unrecognized_8',
      file_path_source: 'unrecognized_12',
      error: 'errno_4000',
    });
    expect(only({ process: 1, socketListen: { family: 16, protocol: 300 } })).toMatchObject({
      network_transport: 'protocol_300',
      network_socket_family: 'family_16',
      network_type: null,
    });
  });
});

describe('events', () => {
  test('carry their own thread, actor, tier and weight', () => {
    expect(only({ process: 1, tid: 101, actor: 1, tier: 3, sampleWeight: 10, fileOpen: {} })).toMatchObject({
      thread_id: 101,
      actor: 'owner',
      tier: 'raw_syscall',
      sample_weight: 10,
      existing: false,
    });
    expect(only({ process: 1, tier: 4, existing: true, fileOpen: {} })).toMatchObject({
      tier: 'iterator',
      sample_weight: 0,
      existing: true,
    });
  });

  test('follow each other by time deltas of either sign and by sequence, refused ones included', () => {
    const got = rows([
      { timeDeltaNs: 5n, process: 1, fileOpen: {} },
      { timeDeltaNs: 10n, process: 2, fileOpen: {} },
      { timeDeltaNs: -20n, process: 1, fileOpen: {} },
    ]);
    expect(got.map((row) => (typeof row === 'string' ? row : [row['time_ns'], row['seq']]))).toEqual([
      [1_795_334_399_123_456_794n, 9_007_199_254_740_993n],
      'process index out of range',
      [1_795_334_399_123_456_784n, 9_007_199_254_740_995n],
    ]);
  });

  test('over AF_UNIX have a path, a name and no address', () => {
    const connect = {
      family: 1,
      protocol: 1,
      unixPath: path('/run/containerd.sock'),
      unixName: bytes('../containerd.sock'),
    };
    expect(only({ process: 1, socketConnect: connect })).toMatchObject({
      network_transport: 'unix',
      network_type: null,
      network_unix_type: 'stream',
      network_unix_path: '/run/containerd.sock',
      network_unix_path_state: 'ok',
      network_unix_name: '../containerd.sock',
      network_unix_abstract: false,
      network_peer_address: null,
      network_peer_port: null,
    });
    const abstract = { family: 1, protocol: 2, unixName: bytes('@x'), unixAbstract: true };
    expect(only({ process: 1, socketConnect: abstract })).toMatchObject({
      network_unix_type: 'dgram',
      network_unix_abstract: true,
    });
  });

  test('of a run without an ingest time (the tail) have null there', () => {
    const batch = decodeBatch(encodeBatch({ runId: RUN, firstSeq: 1n, events: [{ fileOpen: {} }] }));
    const [event] = [...rowsOf(batch, NODE)] as EventRow[];
    expect(event?.row()['ingest_time']).toBeNull();
    expect(event?.row()['time']).toBe('1970-01-01T00:00:00.000000000Z');
  });
});

describe('bytes that are not UTF-8', () => {
  const invalid = Buffer.from([0x2f, 0xff, 0xfe, 0x61]);

  test('read U+FFFD in their column and exactly in <column>_b64', () => {
    const row = only({ process: 1, fileOpen: { path: { path: invalid, source: 1 }, asked: invalid } });
    expect(row['file_path']).toBe('/\ufffd\ufffda');
    expect(row['file_path_b64']).toBe(invalid.toString('base64'));
    expect(row['file_path_asked_b64']).toBe(invalid.toString('base64'));
  });

  test('in a list stand beside null for those that are exact', () => {
    const argv = [bytes('ls'), invalid, bytes('\ufffd'), bytes('')];
    const row = only({ process: 1, processExec: { argv } });
    expect(row['process_command_args']).toEqual(['ls', '/\ufffd\ufffda', '\ufffd', '']);
    expect(row['process_command_args_b64']).toEqual([null, invalid.toString('base64'), null, null]);
  });

  test('that are cut or overlong or surrogates are not UTF-8 either', () => {
    for (const hostile of ['c3', 'c080', 'eda080', 'f5808080', '80']) {
      const row = only({ process: 1, fileUnlink: { path: { path: Buffer.from(hostile, 'hex'), source: 1 } } });
      expect(row['file_path_b64'], hostile).toBe(Buffer.from(hostile, 'hex').toString('base64'));
    }
  });

  test('a NUL, an escape sequence or a bidi override is UTF-8: exact in the column, escaped on the line', () => {
    const text = 'a\0\u001b[2J\u202e\u0085\u007f\u2028"\\';
    const batch = decodeBatch(
      encodeBatch({ runId: RUN, firstSeq: 1n, events: [{ fileUnlink: { path: path(text) } }] }),
    );
    const [event] = [...rowsOf(batch, NODE)] as EventRow[];
    const line = event?.line() ?? '';
    expect(line).toContain('"file_path":"a\\u0000\\u001b[2J\\u202e\\u0085\\u007f\\u2028\\"\\\\"');
    expect(JSON.parse(line)['file_path']).toBe(text);
  });
});
