// Many agents in one process: each a connection of its own that speaks Publish as an agent does: a Hello, then a batch a
// second, at most two of them unconfirmed; what is not confirmed when a connection ends is sent again on the next. Bare
// HTTP/2 and batches encoded once, so that it is the collector that is measured.
//
// fleet-load.mjs ADDRESS STREAMS EVENTS_PER_SECOND SECONDS: prints {"connected":...} when all streams are open, then one
// line of totals. SIGTERM ends it early.
import http2 from 'node:http2';
import protobuf from 'protobufjs';

const [address, streams, perSecond, seconds] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const root = protobuf.loadSync(new URL('../../proto/kerntap/v1/events.proto', import.meta.url).pathname);
const type = (name) => root.lookupType(`kerntap.v1.${name}`);
const bytes = (text) => Buffer.from(text);

/** Batches that one agent may have unconfirmed: 4 MiB in the product, which these never reach; time is what bounds here. */
const UNCONFIRMED_MAX = Number(process.env.UNCONFIRMED_MAX ?? 8);
/** As an agent of a busy node: a batch a second, of its 50 events. */
const BATCH_MS = 1000;
const events = Math.round((perSecond * BATCH_MS) / 1000);

const totals = { sent: 0, acked: 0, resent: 0, bytes: 0, connections: 0, failures: {} };
const latencies = [];

/** A mix such as 50 events of a node make: what files, connections and programs of four containers do. */
function body() {
  const workloads = [1, 2, 3, 4].map((n) => ({
    cgroupId: 4000 + n,
    cgroupPath: bytes(
      `/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod0f8fad5b.slice/cri-containerd-${n}.scope`,
    ),
    state: 1,
    containerId: String(n).repeat(64),
    containerName: 'app',
    containerRuntime: 'containerd',
    imageName: `registry.example.com/shop/web:${n}`,
    imageDigest: `sha256:${'a'.repeat(64)}`,
    podUid: `0f8fad5b-d9cb-469f-a165-70867728950${n}`,
    podName: `web-5d4f8c7b9-abcd${n}`,
    namespaceName: 'shop',
    podLabels: { app: 'web', 'pod-template-hash': '5d4f8c7b9' },
    serviceAccount: 'default',
    ownerKind: 'Deployment',
    ownerName: 'web',
    ownerDerived: true,
  }));
  const processes = Array.from({ length: 8 }, (_, n) => ({
    workload: 1 + (n % 4),
    tgid: 1000 + n,
    startTimeNs: 5_000_000_000 + n,
    execId: 2,
    parentTgid: 999,
    parentStartTimeNs: 4_000_000_000,
    parentExecId: 1,
    nsTgid: 7,
    mntNs: 4026532000,
    netNs: 4026532001,
    comm: bytes('node'),
    entry: 1,
    exe: bytes('/usr/local/bin/node'),
  }));
  const path = (text) => ({ path: bytes(text), source: 1 });
  const ip = (n) => Buffer.from([10, 0, 0, n]);
  const kinds = [
    (n) => ({
      fileOpen: {
        path: path(`/var/lib/app/cache/segment-${n}`),
        openFlags: 0o1101,
        mode: 0o100644,
        dev: 1 << 20,
        inode: 77 + n,
        created: true,
      },
    }),
    (n) => ({
      fileClose: {
        path: path(`/var/lib/app/cache/segment-${n}`),
        dev: 1 << 20,
        inode: 77 + n,
        size: 4096,
        modified: true,
      },
    }),
    (n) => ({
      socketConnect: {
        family: 2,
        protocol: 6,
        local: { ip: ip(1), port: 40000 + n },
        remote: { ip: ip(2), port: 443 },
        connectionStartNs: 9 + n,
      },
    }),
    (n) => ({
      socketClose: {
        family: 2,
        protocol: 6,
        local: { ip: ip(1), port: 40000 + n },
        remote: { ip: ip(2), port: 443 },
        connectionStartNs: 9 + n,
        durationNs: 1e9,
        bytesSent: 512,
        bytesReceived: 4096,
        endedBy: 1,
      },
    }),
    (n) => ({
      processExec: {
        exe: path('/bin/busybox'),
        filename: bytes('/bin/sh'),
        argv: [bytes('sh'), bytes('-c'), bytes(`health ${n}`)],
        argc: 3,
        argvLength: 20,
        cwd: path('/'),
      },
    }),
    () => ({ processExit: { durationNs: 1e7, code: 0 } }),
  ];
  const of = [0, 1, 0, 1, 2, 3, 0, 1, 4, 5];
  const list = Array.from({ length: events }, (_, n) => ({
    timeDeltaNs: 1e9 / events,
    process: 1 + (n % 8),
    tier: 2,
    ...kinds[of[n % of.length]](n),
  }));
  return Buffer.from(type('Batch').encode({ workloads, processes, events: list }).finish());
}

const BODY = body();

function varint(out, value) {
  let rest = BigInt(value);
  for (; rest > 0x7fn; rest >>= 7n) out.push(Number(rest & 0x7fn) | 0x80);
  out.push(Number(rest));
}

/** A gRPC message: the head that differs (stream_seq, run_id, first_seq, times), then the same body. Fields may come in any order. */
function batch(agent, streamSeq, firstSeq) {
  const head = [];
  head.push(0x08);
  varint(head, streamSeq);
  head.push(0x12, 16, ...agent.run);
  head.push(0x18);
  varint(head, firstSeq);
  const times = Buffer.alloc(18);
  times[0] = (4 << 3) | 1;
  times.writeBigUInt64LE(process.hrtime.bigint(), 1);
  times[9] = (5 << 3) | 1;
  times.writeBigInt64LE(BigInt(Date.now()) * 1_000_000n - process.hrtime.bigint(), 10);
  const inner = head.length + times.length + BODY.length;
  const outer = [(2 << 3) | 2];
  varint(outer, inner);
  const length = outer.length + inner;
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(length, 1);
  return Buffer.concat([prefix, Buffer.from(outer), Buffer.from(head), times, BODY]);
}

function message(encoded) {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(encoded.length, 1);
  return Buffer.concat([prefix, encoded]);
}

/** acked_stream_seq of each whole message in `buffer`; returns what is left. */
function answers(buffer, acked) {
  let at = 0;
  while (buffer.length - at >= 5) {
    const length = buffer.readUInt32BE(at + 1);
    if (buffer.length - at - 5 < length) break;
    const reader = protobuf.Reader.create(buffer.subarray(at + 5, at + 5 + length));
    while (reader.pos < reader.len) {
      const tag = reader.uint32();
      if (tag >>> 3 === 1) acked(Number(reader.uint64()));
      else reader.skipType(tag & 7);
    }
    at += 5 + length;
  }
  return buffer.subarray(at);
}

class Agent {
  constructor(number) {
    this.number = number;
    this.run = Buffer.alloc(16);
    this.run.writeUInt32BE(process.pid, 0);
    this.run.writeUInt32BE(number + 1, 12);
    /** First sequences of batches that are not confirmed, oldest first, with the time of the first attempt. */
    this.pending = [];
    this.nextSeq = 1;
    this.open = false;
    this.made = 0;
  }

  connect(ready = () => {}) {
    if (ended) return;
    totals.connections++;
    const session = http2.connect(`http://${address}`);
    const fail = (reason) => {
      if (this.session !== session) return;
      this.session = undefined;
      this.open = false;
      totals.failures[reason] = (totals.failures[reason] ?? 0) + 1;
      session.destroy();
      setTimeout(() => this.connect(ready), 500 + Math.random() * 1500);
    };
    this.session = session;
    session.on('error', (error) => fail(error.code ?? 'session'));
    session.on('close', () => fail('closed'));
    session.on('connect', () => {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/kerntap.v1.EventCollector/Publish',
        'content-type': 'application/grpc',
        te: 'trailers',
      });
      this.stream = stream;
      this.streamSeq = 0;
      this.sentOnStream = 0;
      this.ackedOnStream = 0;
      let rest = Buffer.alloc(0);
      stream.on('error', () => {});
      stream.on('trailers', (trailers) => fail(`grpc ${trailers['grpc-status']}`));
      stream.on('data', (chunk) => {
        rest = answers(rest.length === 0 ? chunk : Buffer.concat([rest, chunk]), (seq) => this.confirmed(seq));
      });
      const node = {
        runId: this.run,
        bootId: 'b',
        clusterName: 'fleet',
        nodeName: `node-${this.number}`,
        hostName: `node-${this.number}`,
        kernelRelease: '6.12.0',
        architecture: 'x86_64',
      };
      stream.write(
        message(
          type('PublishRequest')
            .encode({ hello: { schema: 1, node, agentVersion: 'fleet' } })
            .finish(),
        ),
      );
      this.open = true;
      for (const { firstSeq } of this.pending) {
        totals.resent += events;
        this.write(firstSeq);
      }
      ready();
    });
  }

  write(firstSeq) {
    const frame = batch(this, ++this.streamSeq, firstSeq);
    totals.bytes += frame.length;
    this.stream.write(frame);
  }

  make() {
    this.made++;
    if (this.pending.length >= UNCONFIRMED_MAX) {
      totals.held = (totals.held ?? 0) + events;
      return;
    }
    this.pending.push({ firstSeq: this.nextSeq, at: performance.now() });
    totals.sent += events;
    if (this.open) this.write(this.nextSeq);
    this.nextSeq += events;
  }

  confirmed(seq) {
    for (; this.ackedOnStream < seq; this.ackedOnStream++) {
      const batch = this.pending.shift();
      totals.acked += events;
      if (latencies.length < 2_000_000) latencies.push(performance.now() - batch.at);
    }
  }
}

let ended = false;
const agents = Array.from({ length: streams }, (_, number) => new Agent(number));
// A few at a time: a fleet does not connect in one moment either.
for (let at = 0; at < agents.length; at += 100) {
  await Promise.all(agents.slice(at, at + 100).map((agent) => new Promise((resolve) => agent.connect(resolve))));
}
console.log(JSON.stringify({ connected: agents.filter(({ open }) => open).length }));

const start = performance.now();
const end = start + seconds * 1000;
process.on('SIGTERM', () => finish());
// Each agent's second begins at its own time.
const tick = setInterval(() => {
  const now = performance.now();
  if (now > end) return finish();
  for (const agent of agents) {
    const due = Math.floor((now - start) / BATCH_MS + agent.number / streams);
    while (agent.made < due) agent.make();
  }
}, 10);

let finished = false;
function finish() {
  if (finished) return;
  finished = true;
  clearInterval(tick);
  const deadline = performance.now() + Number(process.env.DRAIN_MS ?? 60_000);
  const during = { acked: totals.acked, ns: (performance.now() - start) * 1e6 };
  const wait = setInterval(() => {
    const left = agents.reduce((sum, { pending }) => sum + pending.length, 0);
    if (left > 0 && performance.now() < deadline) return;
    clearInterval(wait);
    ended = true;
    latencies.sort((a, b) => a - b);
    const at = (share) => latencies[Math.min(latencies.length - 1, Math.floor(latencies.length * share))] ?? 0;
    const sequences = process.env.SEQUENCES
      ? agents.map(({ run, nextSeq, pending }) => [run.toString('hex'), nextSeq - 1 - pending.length * events])
      : undefined;
    console.log(
      JSON.stringify({
        ...totals,
        during,
        unconfirmed: left * events,
        p50: at(0.5),
        p99: at(0.99),
        max: at(1),
        sequences,
      }),
    );
    process.exit(0);
  }, 20);
}
