// The cheapest collector there can be: acks every batch as it arrives, counts its bytes and events, writes nothing. So
// that what the throughput benchmark finds is the agent's limit, not the reference collector's. Prints its address, and
// on SIGTERM what it counted.
import * as grpc from '@grpc/grpc-js';
import protobuf from 'protobufjs';

const root = await protobuf.load(new URL('../../proto/kerntap/v1/events.proto', import.meta.url).pathname);
const Response = root.lookupType('kerntap.v1.PublishResponse');
const counted = { batches: 0, bytes: 0, events: 0, firstByteAt: 0 };

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
server.bindAsync('127.0.0.1:0', grpc.ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  console.log(JSON.stringify({ port }));
});
process.on('SIGTERM', () => {
  console.log(JSON.stringify(counted));
  process.exit(0);
});
