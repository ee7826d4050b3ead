import * as conventions from '@opentelemetry/semantic-conventions/incubating';
import { describe, expect, it } from 'vitest';
import { COLUMNS, type Row, rowsOf } from '../../../../proto/columns.ts';
import {
  type Batch,
  decodeBatch,
  type Event,
  encodeBatch,
  type NodeFacts,
  type Process,
  type Sparse,
  type Workload,
} from '../../../../proto/contract.ts';
import { KT_FILE_OPEN } from '../../../../src/kernel/layout.gen.ts';
import { batchBytes } from '../../../../src/stream/batch.ts';
import { BATCH_FULL, BatchEncoder } from '../../../../src/stream/encoder.ts';
import { attributeOf, CONTAINER_COLUMNS } from '../../../../src/stream/otlp/attributes.ts';
import { type ExportRequest, LogRecords } from '../../../../src/stream/otlp/log-records.ts';
import { ProcessTable } from '../../../../src/stream/processes.ts';
import { type AttributeValue, decodeRequest, type ReceivedRecord } from '../../../otlp-receiver.ts';
import { Random, randomPlan, randomProcess, randomWorkload } from '../../../random-records.ts';
import { drainBuffer, recordBytes } from '../../../records.ts';

const bytes = (text: string): Buffer => Buffer.from(text);
const RUN = Buffer.from('00112233445566778899aabbccddeeff', 'hex');
const NODE: NodeFacts = {
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
  clusterUid: 'c1',
  hostId: 'i-1',
  cloudProvider: 'aws',
  cloudAccountId: '123',
  cloudRegion: 'eu-west-1',
  cloudAvailabilityZone: 'eu-west-1a',
  osDescription: 'Debian GNU/Linux 12',
  sources: {},
};

const WORKLOAD: Sparse<Workload> = {
  cgroupId: 2n ** 60n + 1n,
  cgroupPath: bytes('/kubepods/pod1/cri-1'),
  state: 1,
  containerId: 'c0ffee',
  containerName: 'app',
  containerRuntime: 'containerd',
  imageName: 'registry:5000/shop:1.2',
  imageDigest: 'sha256:aa',
  podUid: 'uid-1',
  podName: 'shop-1',
  namespaceName: 'store',
  podLabels: { app: 'shop', 'a/b': 'ä' },
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
  parentStartTimeNs: 5n,
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
};

const OBSERVED_MS = 1_795_334_400_001;
const never = (): boolean => false;

function recordsOf(changes: { maxRequestBytes?: number; maxRecords?: number } = {}): LogRecords {
  return new LogRecords({
    node: () => NODE,
    version: '1.2.3',
    communityIdSeed: 0,
    maxRequestBytes: 1 << 20,
    maxRecords: 2000,
    ...changes,
  });
}

function requestsOf(batch: Sparse<Batch>, changes = {}): ExportRequest[] {
  const decoded = decodeBatch(encodeBatch({ runId: RUN, firstSeq: 41n, ...batch }));
  return [...recordsOf(changes).requestsOf(decoded, OBSERVED_MS, never)].filter(
    (made): made is ExportRequest => made !== undefined && 'bytes' in made,
  );
}

function received(batch: Sparse<Batch>): ReceivedRecord[] {
  return requestsOf(batch).flatMap(({ bytes }) => decodeRequest(bytes).flat());
}

const one = (event: Sparse<Event>, workload: Sparse<Workload> = WORKLOAD): ReceivedRecord => {
  const [record] = received({
    baseTimeNs: 1000n,
    wallOffsetNs: 1_795_334_399_123_455_789n,
    workloads: [workload],
    processes: [PROCESS],
    events: [{ process: 1, timeDeltaNs: 0n, ...event }],
  });
  if (record === undefined) throw new Error('no record');
  return record;
};

describe('an event as a LogRecord, read by what OpenTelemetry generates from its protos', () => {
  it('has its name, times and number', () => {
    const record = one({ processExit: { durationNs: 7n, code: 3 } });
    expect(record).toMatchObject({
      scope: { name: 'kerntap', version: '1.2.3' },
      eventName: 'kerntap.process.exit',
      timeUnixNano: 1_795_334_399_123_456_789n,
      observedTimeUnixNano: BigInt(OBSERVED_MS) * 1_000_000n,
      severityNumber: 9,
    });
    expect(record.attributes['log.record.uid']).toBe(`${RUN.toString('hex')}-41`);
    // No body, no trace: nothing else was on the wire.
    expect([...record.fields].sort()).toEqual(
      ['attributes', 'eventName', 'observedTimeUnixNano', 'severityNumber', 'timeUnixNano'].sort(),
    );
  });

  it('tells node and container once, as the resource', () => {
    const { resource } = one({ processExit: { durationNs: 7n, code: 3 } });
    expect(resource).toEqual({
      'kerntap.agent_run_id': RUN.toString('hex'),
      'kerntap.host_boot_id': 'b0071d',
      'k8s.cluster.name': 'prod',
      'k8s.cluster.uid': 'c1',
      'k8s.node.name': 'node-1',
      'host.name': 'ip-10-0-0-1',
      'host.id': 'i-1',
      'host.arch': 'arm64',
      'cloud.provider': 'aws',
      'cloud.account.id': '123',
      'cloud.region': 'eu-west-1',
      'cloud.availability_zone': 'eu-west-1a',
      'k8s.namespace.name': 'store',
      'k8s.pod.name': 'shop-1',
      'k8s.pod.uid': 'uid-1',
      'k8s.pod.label.app': 'shop',
      'k8s.pod.label.a/b': 'ä',
      'kerntap.k8s_service_account_name': 'default',
      'kerntap.k8s_owner_kind': 'Deployment',
      'kerntap.k8s_owner_name': 'shop',
      'kerntap.k8s_owner_derived': true,
      'k8s.deployment.name': 'shop',
      'k8s.container.name': 'app',
      'container.id': 'c0ffee',
      'container.runtime.name': 'containerd',
      'container.image.name': 'registry:5000/shop',
      'container.image.tags': ['1.2'],
      'container.image.id': 'sha256:aa',
      'kerntap.metadata_state': 'complete',
    });
  });

  it('tells the process and the act on the record, by the names of the semantic conventions', () => {
    const { attributes } = one({
      processExec: {
        exe: { path: bytes('/bin/dash'), source: 1 },
        filename: bytes('./dash'),
        argv: [bytes('sh'), Buffer.from([0x2d, 0xff]), bytes('')],
        argc: 3,
        argvLength: 6,
        cwd: { path: bytes('/srv'), source: 1 },
        capPermitted: 0x1ff_ffff_ffffn,
      },
    });
    expect(attributes).toMatchObject({
      'process.pid': 100n,
      'process.parent_pid': 99n,
      'process.vpid': 7n,
      'process.user.id': 1002n,
      'process.real_user.id': 1000n,
      'process.linux.cgroup': '/kubepods/pod1/cri-1',
      'thread.id': 100n,
      'thread.name': 'sh',
      'kerntap.process_start_time_ns': 2n ** 53n + 1n,
      'kerntap.entry': 'exec',
      'kerntap.existing': false,
      'process.executable.path': '/bin/dash',
      'kerntap.process_executable_path_state': 'ok',
      'process.command_args': ['sh', '-\ufffd', ''],
      'kerntap.process_command_args_b64': [null, Buffer.from([0x2d, 0xff]), null],
      'process.args_count': 3n,
      'process.working_directory': '/srv',
      'kerntap.process_capabilities_permitted': 0x1ff_ffff_ffffn,
    });
    // Not known: not told.
    expect(attributes).not.toHaveProperty(['kerntap.process_tty']);
  });

  it('tells files and connections, and errors by name', () => {
    const open = one({
      fileOpen: {
        path: { path: Buffer.from('/tmp/\xff', 'latin1'), source: 1 },
        inode: 2n ** 63n + 1n,
        mode: 0o100640,
        result: -13,
      },
    });
    expect(open.attributes).toMatchObject({
      'file.path': '/tmp/\ufffd',
      'kerntap.file_path_b64': Buffer.from('/tmp/\xff', 'latin1'),
      'file.inode': '9223372036854775809',
      'file.mode': '0640',
      'kerntap.result': -13n,
      'error.type': 'EACCES',
    });
    const connect = one({
      socketConnect: {
        family: 2,
        protocol: 6,
        local: { ip: Buffer.from([10, 0, 0, 1]), port: 40000 },
        remote: { ip: Buffer.from([10, 0, 0, 2]), port: 443 },
      },
    });
    expect(connect.attributes).toMatchObject({
      'network.transport': 'tcp',
      'network.type': 'ipv4',
      'network.local.address': '10.0.0.1',
      'network.local.port': 40000n,
      'network.peer.address': '10.0.0.2',
      'network.peer.port': 443n,
      'network.community_id': '1:UWHKJ/x6OQ1YiVv4rIl0t3yhjg8=',
    });
  });

  it('tells what the agent says of itself under the node alone', () => {
    const loss = one({ process: 0, loss: { stage: 'kernel', reason: 'ring_full', count: 3n, total: 9n } });
    expect(loss.eventName).toBe('kerntap.loss');
    expect(loss.resource).not.toHaveProperty(['k8s.pod.name']);
    expect(loss.resource['k8s.node.name']).toBe('node-1');
    expect(loss.attributes).toMatchObject({ 'kerntap.loss_stage': 'kernel', 'kerntap.loss_total': 9n });
    const pod = one({
      process: 0,
      pod: {
        state: 1,
        uid: 'u',
        name: 'p',
        labels: { app: 'x' },
        ips: ['10.1.1.1'],
        containers: [{ id: 'c', name: 'n', restartCount: 2 }],
      },
    });
    expect(pod.attributes).toMatchObject({
      'k8s.pod.uid': 'u',
      'k8s.pod.label.app': 'x',
      'kerntap.k8s_pod_ips': ['10.1.1.1'],
      'host.ip': ['10.0.0.1', 'fd00::1'],
    });
    const [container] = pod.attributes['kerntap.k8s_pod_containers'] as [Record<string, AttributeValue>];
    expect(container).toMatchObject({ container_id: 'c', k8s_container_name: 'n', k8s_container_restart_count: 2n });
  });

  it('names an owner as the conventions do, and one that they do not know by our columns alone', () => {
    const of = (ownerKind: string) => one({ processExit: {} }, { ...WORKLOAD, ownerKind, ownerName: 'x' }).resource;
    expect(of('CronJob')['k8s.cronjob.name']).toBe('x');
    expect(of('DaemonSet')['k8s.daemonset.name']).toBe('x');
    const other = of('constructor');
    expect(other).toMatchObject({ 'kerntap.k8s_owner_kind': 'constructor', 'kerntap.k8s_owner_name': 'x' });
    expect(Object.values(other).filter((value) => value === 'x')).toHaveLength(1);
  });
});

describe('names', () => {
  const known = new Set(Object.values(conventions).filter((value): value is string => typeof value === 'string'));
  const columns = [...new Set([...COLUMNS.values()].flatMap((of) => of.map(({ name }) => name)))];

  it('are those of the semantic conventions, or under kerntap.', () => {
    // The conventions have a prefix for labels, and none for community ids: it is what ECS calls them.
    const others = ['k8s.pod.label', 'network.community_id'];
    for (const column of columns) {
      const { name } = attributeOf(column);
      expect(name === `kerntap.${column}` || known.has(name) || others.includes(name), `${column}: ${name}`).toBe(true);
    }
  });

  it('are the one that a column was named after, wherever there is one', () => {
    // To the conventions argv[0], and two times; here the thread's name, and two booleans.
    const otherMeaning = ['process_command', 'file_created', 'file_modified'];
    const byColumn = new Map(
      [...known].filter((name) => name.includes('.')).map((name) => [name.replaceAll('.', '_'), name]),
    );
    for (const column of columns) {
      const wanted = byColumn.get(column);
      if (wanted === undefined || otherMeaning.includes(column)) continue;
      expect(attributeOf(column).name).toBe(wanted);
    }
  });

  it('are one each', () => {
    const names = columns.map((column) => attributeOf(column).name);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('requests', () => {
  it('have one ResourceLogs for each container, and the records of each in order', () => {
    const requests = requestsOf({
      workloads: [WORKLOAD, { ...WORKLOAD, cgroupId: 5n }, { ...WORKLOAD, containerId: 'beef' }],
      processes: [PROCESS, { ...PROCESS, workload: 2, tgid: 200 }, { ...PROCESS, workload: 3, tgid: 300 }],
      events: [1, 2, 3, 1, 3, 2].map((process) => ({ process, processExit: { code: process } })),
    });
    expect(requests).toHaveLength(1);
    const logs = decodeRequest(requests[0]?.bytes ?? Buffer.alloc(0));
    // A cgroup below a container's is the same container.
    expect(logs.map((of) => of[0]?.resource['container.id'])).toEqual(['c0ffee', 'beef']);
    const ends = logs.map((of) => of.map(({ attributes }) => String(attributes['log.record.uid']).split('-')[1]));
    expect(ends).toEqual([
      ['41', '42', '44', '46'],
      ['43', '45'],
    ]);
  });

  it('are cut by bytes and by records, and a record larger than that goes alone', () => {
    const open = (path: string) => ({ process: 1, fileOpen: { path: { path: bytes(path), source: 1 } } });
    const batch = {
      workloads: [WORKLOAD],
      processes: [PROCESS],
      events: [open('/a'), open('/b'), open(`/${'x'.repeat(9000)}`), open('/c'), open('/d'), open('/e')],
    };
    const byBytes = requestsOf(batch, { maxRequestBytes: 4096 });
    expect(byBytes.map(({ events }) => events)).toEqual([2, 1, 2, 1]);
    for (const { bytes, events } of byBytes) {
      if (events > 1) expect(bytes.length).toBeLessThanOrEqual(4096);
      expect(decodeRequest(bytes).flat()).toHaveLength(events);
    }
    const byRecords = requestsOf(batch, { maxRecords: 4 });
    expect(byRecords.map(({ events }) => events)).toEqual([4, 2]);
    expect(byRecords.map(({ kinds }) => kinds[KT_FILE_OPEN])).toEqual([4, 2]);
  });

  it('pause where the caller says so, and lose nothing by it', () => {
    const batch = decodeBatch(
      encodeBatch({
        runId: RUN,
        firstSeq: 1n,
        processes: [PROCESS],
        workloads: [WORKLOAD],
        events: Array.from({ length: 100 }, () => ({ process: 1, processExit: {} })),
      }),
    );
    const steps = [...recordsOf().requestsOf(batch, OBSERVED_MS, () => true)];
    expect(steps.filter((step) => step === undefined).length).toBe(6);
    expect(steps.at(-1)).toMatchObject({ events: 100 });
  });

  it('leave out what cannot be told, and say so', () => {
    const batch = decodeBatch(encodeBatch({ runId: RUN, firstSeq: 1n, events: [{}, { process: 9, processExit: {} }] }));
    expect([...recordsOf().requestsOf(batch, OBSERVED_MS, never)]).toMatchObject([
      { refused: 'no body that this reader knows' },
      { refused: 'process index out of range' },
    ]);
  });

  it('speak for the run that a replayed batch is of', () => {
    const [record] = received({
      node: { ...NODE, nodeName: 'then' },
      processes: [PROCESS],
      workloads: [WORKLOAD],
      events: [{ process: 1, processExit: {} }],
    });
    expect(record?.resource['k8s.node.name']).toBe('then');
  });
});

// What a column reads as OTLP's types have it: its only integer is int64.
function typed(value: unknown): unknown {
  if (typeof value === 'bigint') return BigInt.asIntN(64, value);
  if (typeof value === 'number') return BigInt(value);
  if (Array.isArray(value)) return value.map(typed);
  return value;
}

it('tells of 4,000 random events of all kinds what their rows say', () => {
  const random = new Random(20261125);
  const workloads = Array.from({ length: 6 }, (_, i) => randomWorkload(random, i));
  const processes = Array.from({ length: 30 }, () => randomProcess(random));
  const table = new ProcessTable();
  const encoder = new BatchEncoder({ runId: RUN, processes: table });
  const records = recordsOf();
  let compared = 0;

  const check = (): void => {
    const finished = encoder.finish(1_700_000_000_000_000_000n);
    if (finished === undefined) throw new Error('no batch');
    const batch = decodeBatch(batchBytes(finished));
    const rows = new Map<string, Row>();
    for (const row of rowsOf(batch, NODE, null, 0)) {
      if ('refused' in row) throw new Error(row.refused);
      const values = row.row();
      rows.set(String(values['event_id']), values);
    }
    for (const made of records.requestsOf(batch, OBSERVED_MS, never)) {
      if (made === undefined || !('bytes' in made)) throw new Error('not a request');
      for (const { resource, attributes, timeUnixNano, eventName } of decodeRequest(made.bytes).flat()) {
        const row = rows.get(String(attributes['log.record.uid']));
        if (row === undefined) throw new Error('a record of no row, or twice');
        rows.delete(String(attributes['log.record.uid']));
        expect(timeUnixNano).toBe(row['time_ns']);
        expect(eventName).toBe(`kerntap.${row['kind']}`);
        const all = { ...resource, ...attributes };
        for (const [column, cell] of Object.entries(row)) {
          if (['time', 'time_ns', 'kind', 'event_id', 'seq', 'ingest_time'].includes(column)) continue;
          const { name, as, entries } = attributeOf(column);
          const place = CONTAINER_COLUMNS.has(column) ? resource : all;
          if (entries) {
            for (const [label, value] of Object.entries(cell ?? {})) {
              if (place[`${name}.${label}`] !== value) expect(place[`${name}.${label}`]).toBe(value);
            }
            continue;
          }
          const want = typed(as === undefined ? cell : as(cell)) ?? undefined;
          if (place[name] !== want) expect(place[name], column).toEqual(want);
        }
        compared++;
      }
    }
    expect(rows.size).toBe(0);
  };

  let ktime = 2n ** 50n;
  while (compared < 4000) {
    const plans = Array.from({ length: 100 }, () => {
      ktime += BigInt(random.below(100_000));
      return randomPlan(random, random.pick(processes), ktime);
    });
    const { bytes, offsets } = drainBuffer(plans.map(recordBytes));
    for (const offset of offsets) {
      const workload = random.pick(workloads);
      table.observe(bytes, offset);
      if (encoder.add(bytes, offset, workload) !== BATCH_FULL) continue;
      check();
      encoder.add(bytes, offset, workload);
    }
  }
}, 60_000);
