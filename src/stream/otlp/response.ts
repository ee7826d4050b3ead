// What an OTLP receiver answered, by the rules of the OTLP specification (OTLP/gRPC response; failures; throttling).

import { type Metadata, status } from '@grpc/grpc-js';
import protobuf from 'protobufjs';

// Only what is read, with the numbers of opentelemetry/proto/collector/logs/v1/logs_service.proto, google/rpc/status.proto,
// google/rpc/error_details.proto, google/protobuf/any.proto and duration.proto (all Apache-2.0 or BSD-3-Clause).
const types = protobuf.Root.fromJSON({
  nested: {
    ExportLogsServiceResponse: { fields: { partialSuccess: { type: 'ExportLogsPartialSuccess', id: 1 } } },
    ExportLogsPartialSuccess: {
      fields: { rejectedLogRecords: { type: 'int64', id: 1 }, errorMessage: { type: 'string', id: 2 } },
    },
    Status: { fields: { details: { rule: 'repeated', type: 'Any', id: 3 } } },
    Any: { fields: { typeUrl: { type: 'string', id: 1 }, value: { type: 'bytes', id: 2 } } },
    RetryInfo: { fields: { retryDelay: { type: 'Duration', id: 1 } } },
    Duration: { fields: { seconds: { type: 'int64', id: 1 }, nanos: { type: 'int32', id: 2 } } },
  },
});
const Response = types.lookupType('ExportLogsServiceResponse');
const Status = types.lookupType('Status');
const RetryInfo = types.lookupType('RetryInfo');

const RETRY_INFO = 'type.googleapis.com/google.rpc.RetryInfo';
/** A receiver's word is taken up to here: a slip there must not silence a node for a day. */
export const RETRY_DELAY_MAX_MS = 600_000;

/** A call that was answered with OK. */
export interface Accepted {
  /** Records that the receiver will not take, whatever is sent: never sent again. */
  readonly rejected: number;
  /** With rejected records: why. Without: a warning. */
  readonly message: string;
}

/** How a call failed, as grpc-js tells it. */
export interface CallFailure {
  readonly code: number;
  readonly details: string;
  readonly metadata: Pick<Metadata, 'get'>;
}

/** What is to be done after a failure. */
export interface Failed {
  /** Send it again; else it is dropped, and counted. */
  readonly retry: boolean;
  /** Not before so long; undefined: as the sender's own back-off says. */
  readonly afterMs: number | undefined;
  /** Name of the status, as `invalid_argument`. */
  readonly reason: string;
}

/** Throws on bytes that are no ExportLogsServiceResponse. */
export function decodeResponse(bytes: Uint8Array): Accepted {
  const { partialSuccess } = Response.toObject(Response.decode(bytes), { longs: Number }) as {
    partialSuccess?: { rejectedLogRecords?: number; errorMessage?: string };
  };
  return {
    rejected: Math.max(0, partialSuccess?.rejectedLogRecords ?? 0),
    message: partialSuccess?.errorMessage ?? '',
  };
}

const RETRYABLE: ReadonlySet<number> = new Set([
  status.CANCELLED,
  status.DEADLINE_EXCEEDED,
  status.ABORTED,
  status.OUT_OF_RANGE,
  status.UNAVAILABLE,
  status.DATA_LOSS,
]);

export function judge({ code, metadata }: CallFailure): Failed {
  const afterMs = retryDelayMs(metadata);
  // Only who says when there will be room again asks for a retry; else the request itself is too much.
  const retry = RETRYABLE.has(code) || (code === status.RESOURCE_EXHAUSTED && afterMs !== undefined);
  return { retry, afterMs, reason: (status[code] ?? `code_${code}`).toLowerCase() };
}

/** RetryInfo.retry_delay of the google.rpc.Status in the trailers; undefined without one. Trailers that lie never throw. */
function retryDelayMs(metadata: Pick<Metadata, 'get'>): number | undefined {
  const [bytes] = metadata.get('grpc-status-details-bin');
  if (!Buffer.isBuffer(bytes)) return undefined;
  try {
    const { details = [] } = Status.toObject(Status.decode(bytes)) as {
      details?: { typeUrl?: string; value?: Uint8Array }[];
    };
    const info = details.find(({ typeUrl }) => typeUrl === RETRY_INFO);
    if (info === undefined) return undefined;
    const { retryDelay } = RetryInfo.toObject(RetryInfo.decode(info.value ?? new Uint8Array()), { longs: Number }) as {
      retryDelay?: { seconds?: number; nanos?: number };
    };
    const ms = (retryDelay?.seconds ?? 0) * 1000 + (retryDelay?.nanos ?? 0) / 1e6;
    return Math.min(RETRY_DELAY_MAX_MS, Math.max(0, ms));
  } catch {
    return undefined;
  }
}
