// The far end of OTLP, independent of this project: messages are decoded by what OpenTelemetry's own protos generate
// (@opentelemetry/otlp-transformer), on a grpc-js server.

import { createRequire } from 'node:module';
import { type Metadata, Server, ServerCredentials, type ServerUnaryCall, type sendUnaryData } from '@grpc/grpc-js';

interface Generated {
  readonly decode: (bytes: Uint8Array) => object;
  readonly encode: (message: object) => { finish(): Uint8Array };
  readonly toObject: (message: object, options: object) => object;
}
const { opentelemetry } = createRequire(import.meta.url)(
  '@opentelemetry/otlp-transformer/build/src/generated/root.js',
) as { opentelemetry: { proto: { collector: { logs: { v1: Record<string, Generated> } } } } };
const { ExportLogsServiceRequest, ExportLogsServiceResponse } = opentelemetry.proto.collector.logs.v1 as {
  ExportLogsServiceRequest: Generated;
  ExportLogsServiceResponse: Generated;
};

export type AttributeValue =
  | string
  | boolean
  | number
  | bigint
  | Buffer
  | null
  | readonly AttributeValue[]
  | Attributes;
export interface Attributes {
  readonly [name: string]: AttributeValue;
}

/** One LogRecord with what it stands under; 64-bit numbers are bigint. */
export interface ReceivedRecord {
  readonly resource: Attributes;
  readonly scope: { readonly name: string; readonly version: string };
  readonly timeUnixNano: bigint;
  readonly observedTimeUnixNano: bigint;
  readonly severityNumber: number;
  readonly eventName: string;
  readonly attributes: Attributes;
  /** Fields that were on the wire. */
  readonly fields: readonly string[];
}

interface AnyValue {
  readonly stringValue?: string;
  readonly boolValue?: boolean;
  readonly intValue?: string;
  readonly doubleValue?: number;
  readonly arrayValue?: { readonly values?: readonly AnyValue[] };
  readonly kvlistValue?: { readonly values?: readonly KeyValue[] };
  readonly bytesValue?: Buffer;
}
interface KeyValue {
  readonly key?: string;
  readonly value?: AnyValue;
}

function plain(value: AnyValue | undefined): AttributeValue {
  if (value?.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plain);
  if (value?.kvlistValue !== undefined) return attributes(value.kvlistValue.values);
  if (value?.intValue !== undefined) return BigInt(value.intValue);
  if (value?.bytesValue !== undefined) return Buffer.from(value.bytesValue);
  return value?.stringValue ?? value?.boolValue ?? value?.doubleValue ?? null;
}

/** Throws where a key is there twice: the data model says that keys are unique. */
function attributes(pairs: readonly KeyValue[] = []): Attributes {
  const out: Record<string, AttributeValue> = {};
  for (const { key = '', value } of pairs) {
    if (Object.hasOwn(out, key)) throw new Error(`attribute ${key} is there twice`);
    Object.defineProperty(out, key, { value: plain(value), enumerable: true });
  }
  return out;
}

interface Decoded {
  readonly resourceLogs?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValue[] };
    readonly scopeLogs?: readonly {
      readonly scope?: { readonly name?: string; readonly version?: string };
      readonly logRecords?: readonly (Record<string, unknown> & { readonly attributes?: readonly KeyValue[] })[];
    }[];
  }[];
}

/** All records of an ExportLogsServiceRequest, by resource as they stood. */
export function decodeRequest(bytes: Uint8Array): ReceivedRecord[][] {
  const message = ExportLogsServiceRequest.toObject(ExportLogsServiceRequest.decode(bytes), { longs: String });
  return ((message as Decoded).resourceLogs ?? []).map(({ resource, scopeLogs }) => {
    const of = attributes(resource?.attributes);
    return (scopeLogs ?? []).flatMap(({ scope, logRecords }) =>
      (logRecords ?? []).map((record) => ({
        resource: of,
        scope: { name: scope?.name ?? '', version: scope?.version ?? '' },
        timeUnixNano: BigInt(String(record['timeUnixNano'] ?? 0)),
        observedTimeUnixNano: BigInt(String(record['observedTimeUnixNano'] ?? 0)),
        severityNumber: Number(record['severityNumber'] ?? 0),
        eventName: String(record['eventName'] ?? ''),
        attributes: attributes(record.attributes),
        fields: Object.keys(record),
      })),
    );
  });
}

/** What a receiver answers: nothing for success, a partial success, or a status with its trailers. */
export type Answer =
  | { readonly rejectedLogRecords?: number; readonly errorMessage?: string }
  | { readonly code: number; readonly details: string; readonly metadata?: Metadata };

export type Behaviour = (records: readonly ReceivedRecord[], call: number) => Answer | Promise<Answer>;

export class OtlpReceiver {
  /** Requests that were accepted, whole or in part. */
  readonly requests: ReceivedRecord[][] = [];
  readonly metadata: Metadata[] = [];
  /** Sizes of all requests, decompressed. */
  readonly sizes: number[] = [];
  calls = 0;
  /** Calls that are not answered yet, now and at most. */
  open = 0;
  openMost = 0;
  behaviour: Behaviour;
  #server: Server | undefined;
  #port = 0;
  readonly #credentials: ServerCredentials;

  constructor(behaviour: Behaviour = () => ({}), credentials = ServerCredentials.createInsecure()) {
    this.behaviour = behaviour;
    this.#credentials = credentials;
  }

  get address(): string {
    return `127.0.0.1:${this.#port}`;
  }

  get records(): ReceivedRecord[] {
    return this.requests.flat();
  }

  /** Listens; after a stop on the port that it had. */
  async start(): Promise<void> {
    const server = new Server({ 'grpc.max_receive_message_length': 4 << 20 });
    server.addService(
      {
        Export: {
          path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
          requestStream: false,
          responseStream: false,
          requestSerialize: (bytes: Buffer) => bytes,
          requestDeserialize: (bytes: Buffer) => bytes,
          responseSerialize: (message: object) => Buffer.from(ExportLogsServiceResponse.encode(message).finish()),
          responseDeserialize: (bytes: Buffer) => bytes,
        },
      },
      { Export: (call: ServerUnaryCall<Buffer, object>, done: sendUnaryData<object>) => void this.#serve(call, done) },
    );
    this.#port = await new Promise<number>((resolve, reject) => {
      server.bindAsync(`127.0.0.1:${this.#port}`, this.#credentials, (error, port) => {
        if (error === null) resolve(port);
        else reject(error);
      });
    });
    this.#server = server;
  }

  /** Breaks every connection. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  async #serve(call: ServerUnaryCall<Buffer, object>, done: sendUnaryData<object>): Promise<void> {
    this.metadata.push(call.metadata);
    this.sizes.push(call.request.length);
    const records = decodeRequest(call.request).flat();
    this.openMost = Math.max(this.openMost, ++this.open);
    const answer = await this.behaviour(records, this.calls++);
    this.open--;
    if ('code' in answer) {
      done({ code: answer.code, details: answer.details, metadata: answer.metadata ?? null });
      return;
    }
    this.requests.push(records);
    const { rejectedLogRecords, errorMessage } = answer;
    const partial = rejectedLogRecords !== undefined || errorMessage !== undefined;
    done(null, partial ? { partialSuccess: answer } : {});
  }
}
