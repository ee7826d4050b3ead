// The cheapest collector there can be: acks every batch as it arrives, counts its bytes and events, writes nothing. So
// that what the benchmarks find is the agent's limit, not the reference collector's. Prints its address, and
// on SIGTERM what it counted.
import { readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

const root = await protobuf.load(new URL('../../proto/kerntap/v1/events.proto', import.meta.url).pathname);
const Response = root.lookupType('kerntap.v1.PublishResponse');
const counted = { batches: 0, wireBytes: 0, bytes: 0, events: 0, firstByteAt: 0 };

/** Field numbers of PublishRequest.batch and of Batch's stream_seq and events, read without decoding the rest. */
function readBatch(request) {
  const reader = protobuf.Reader.create(request);
  let streamSeq = 0;
  while (reader.pos < reader.len) {
    const tag = reader.uint32();
    if (tag >>> 3 !== 2) {
      reader.skipType(tag & 7);
      continue;
    }
    const end = reader.uint32() + reader.pos;
    while (reader.pos < end) {
      const inner = reader.uint32();
      if (inner >>> 3 === 1) streamSeq = Number(reader.uint64());
      else {
        if (inner >>> 3 === 8) counted.events++;
        reader.skipType(inner & 7);
      }
    }
    counted.batches++;
    counted.bytes += request.length;
  }
  return streamSeq;
}

const server = new grpc.Server({ 'grpc.max_receive_message_length': 16 << 20 });
server.addService(
  {
    Publish: {
      path: '/kerntap.v1.EventCollector/Publish',
      requestStream: true,
      responseStream: true,
      requestSerialize: (bytes) => bytes,
      requestDeserialize: (bytes) => bytes,
      responseSerialize: (bytes) => bytes,
      responseDeserialize: (bytes) => bytes,
    },
  },
  {
    Publish(call) {
      call.on('data', (request) => {
        const streamSeq = readBatch(request);
        if (streamSeq > 0) call.write(Buffer.from(Response.encode({ ackedStreamSeq: streamSeq }).finish()));
      });
      call.on('end', () => call.end());
      call.on('error', () => {});
    },
  },
);
// And the cheapest OTLP receiver: what an agent's books say of its events is what it was sent.
server.addService(
  {
    Export: {
      path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
      requestStream: false,
      responseStream: false,
      requestSerialize: (bytes) => bytes,
      requestDeserialize: (bytes) => bytes,
      responseSerialize: (bytes) => bytes,
      responseDeserialize: (bytes) => bytes,
    },
  },
  {
    Export(call, done) {
      counted.bytes += call.request.length;
      done(null, Buffer.alloc(0));
    },
  },
);
// SINK_PKI: a folder with ca.crt, tls.crt and tls.key, for mutual TLS.
const pki = process.env.SINK_PKI;
const file = (name) => readFileSync(`${pki}/${name}`);
const credentials = pki
  ? grpc.ServerCredentials.createSsl(
      file('ca.crt'),
      [{ cert_chain: file('tls.crt'), private_key: file('tls.key') }],
      true,
    )
  : grpc.ServerCredentials.createInsecure();
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error) throw error;
  // SINK_WIRE: what comes by TCP is counted on its way, TLS and HTTP/2 included.
  if (!process.env.SINK_WIRE) {
    console.log(JSON.stringify({ port }));
    return;
  }
  const wire = createServer((agent) => {
    const inner = connect(port, '127.0.0.1');
    agent.on('data', (bytes) => {
      counted.wireBytes += bytes.length;
    });
    agent.pipe(inner);
    inner.pipe(agent);
    for (const socket of [agent, inner]) socket.on('error', () => {});
  });
  wire.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ port: wire.address().port })));
});
process.on('SIGTERM', () => {
  console.log(JSON.stringify(counted));
  process.exit(0);
});
