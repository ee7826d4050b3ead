import { createHash } from 'node:crypto';
import protobuf from 'protobufjs';
import { describe, expect, test } from 'vitest';
import {
  decodeBatch,
  decodePublishRequest,
  decodePublishResponse,
  encodeBatch,
  encodePublishRequest,
  encodePublishResponse,
  PUBLISH_PATH,
  root,
} from '../../../proto/contract.ts';
import { BigReader } from '../../../proto/wire-reader.ts';

// The same noise in every run.
function noiseOf(seed: number, length: number): Buffer {
  return createHash('shake256', { outputLength: length }).update(String(seed)).digest();
}

const EDGES = [
  0n,
  1n,
  127n,
  128n,
  2n ** 28n - 1n,
  2n ** 28n,
  2n ** 32n - 1n,
  2n ** 32n,
  2n ** 35n,
  2n ** 53n + 1n,
  2n ** 56n,
  2n ** 63n - 1n,
];

describe('64-bit numbers', () => {
  test('survive a round trip, as bigint', () => {
    for (const edge of [...EDGES, 2n ** 63n, 2n ** 64n - 1n]) {
      const batch = decodeBatch(encodeBatch({ streamSeq: edge, baseTimeNs: edge }));
      expect([batch.streamSeq, batch.baseTimeNs]).toEqual([edge, edge]);
    }
    for (const edge of EDGES.flatMap((value) => [value, -value])) {
      const batch = decodeBatch(encodeBatch({ wallOffsetNs: edge, events: [{ timeDeltaNs: edge }] }));
      expect([batch.wallOffsetNs, batch.events[0]?.timeDeltaNs]).toEqual([edge, edge]);
    }
  });

  test("read as protobufjs's own reader reads them", () => {
    for (let i = 0; i < 5_000; i++) {
      const noise = noiseOf(i, 12);
      for (const method of ['uint64', 'int64', 'sint64', 'fixed64', 'sfixed64'] as const) {
        const oracle = new protobuf.BufferReader(noise);
        let expected: string;
        try {
          expected = String(oracle[method]());
        } catch {
          expect(() => new BigReader(noise)[method]()).toThrow();
          continue;
        }
        const reader = new BigReader(noise);
        expect([String(reader[method]()), reader.pos]).toEqual([expected, oracle.pos]);
      }
    }
  });

  test('that end early throw', () => {
    for (const method of ['uint64', 'sint64', 'fixed64', 'sfixed64'] as const) {
      expect(() => new BigReader(Buffer.from([0x80, 0x80]))[method]()).toThrow(RangeError);
    }
  });
});

describe('what a frame does not carry', () => {
  test('reads 0, empty or null, never undefined', () => {
    const request = decodePublishRequest(
      encodePublishRequest({
        batch: { events: [{ socketClose: {}, processExec: {} }], workloads: [{}], processes: [{}] },
      }),
    );
    expect(request.hello).toBeNull();
    const event = request.batch?.events[0];
    expect(event?.socketClose).toMatchObject({
      bytesSent: null,
      bytesReceived: null,
      durationNs: 0n,
      local: null,
      result: 0,
    });
    expect(event?.processExec?.argc).toBeNull();
    expect(event?.processExec?.filename).toHaveLength(0);
    expect(event?.fileOpen).toBeNull();
    const visit = (message: object): void => {
      const prototype = Object.getPrototypeOf(message) as Record<string, unknown>;
      for (const name of Object.keys(prototype)) expect(prototype[name], name).not.toBeUndefined();
    };
    for (const message of [request, request.batch, event, event?.socketClose, request.batch?.workloads[0]])
      visit(message ?? {});
  });

  test('differs from 0 where the field is optional', () => {
    const batch = decodeBatch(
      encodeBatch({ events: [{ socketClose: { bytesSent: 0n } }, { fileClose: { modified: false } }] }),
    );
    expect(batch.events[0]?.socketClose).toMatchObject({ bytesSent: 0n, bytesReceived: null });
    expect(batch.events[1]?.fileClose?.modified).toBe(false);
  });
});

describe('the service', () => {
  test('is the one of events.proto', () => {
    const [service] = root.lookupService('kerntap.v1.EventCollector').methodsArray;
    expect(service).toMatchObject({ name: 'Publish', requestStream: true, responseStream: true });
    expect(PUBLISH_PATH).toBe('/kerntap.v1.EventCollector/Publish');
  });

  test('answers round trip', () => {
    const rejected = [
      { streamSeq: 2n ** 60n, reason: 'no', events: 0n },
      { streamSeq: 3n, reason: 'some', events: 2n ** 40n },
    ];
    const response = decodePublishResponse(encodePublishResponse({ ackedStreamSeq: 2n ** 61n, rejected }));
    expect(response).toMatchObject({ ackedStreamSeq: 2n ** 61n, rejected });
  });
});

test('noise is decoded or refused by an error, never otherwise', () => {
  let refused = 0;
  for (let i = 0; i < 5_000; i++) {
    try {
      decodePublishRequest(noiseOf(i, 1 + (i % 200)));
    } catch (error) {
      expect(error).toBeInstanceOf(Error);
      refused += 1;
    }
  }
  expect(refused).toBeGreaterThan(3_000);
});
