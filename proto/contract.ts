import type { ServiceDefinition } from '@grpc/grpc-js';
import protobuf from 'protobufjs';
import type { Batch, PublishRequest, PublishResponse } from './messages.ts';
import { protoFile } from './proto-file.ts';
import { BigReader } from './wire-reader.ts';

export type * from './messages.ts';

/** The only schema there is; Hello.schema carries it. */
export const SCHEMA = 1;

/** HTTP/2 path of the one method. */
export const PUBLISH_PATH = '/kerntap.v1.EventCollector/Publish';

const EMPTY = Buffer.alloc(0);

const BIG_TYPES = new Set(['uint64', 'int64', 'sint64', 'fixed64', 'sfixed64']);

// What a field reads as where the frame does not carry it. protobufjs gives Long and [] for 64-bit numbers and bytes.
function absentValue(field: protobuf.Field): unknown {
  if (field.getOption('proto3_optional') === true) return null;
  if (BIG_TYPES.has(field.type)) return 0n;
  if (field.type === 'bytes') return EMPTY;
  return field.defaultValue;
}

function load(): protobuf.Root {
  const root = protobuf.loadSync(protoFile('kerntap/v1/events.proto'));
  root.resolveAll();
  const visit = (namespace: protobuf.NamespaceBase): void => {
    for (const nested of namespace.nestedArray) {
      if (nested instanceof protobuf.Type) {
        const prototype = nested.ctor.prototype as unknown as Record<string, unknown>;
        for (const field of nested.fieldsArray) {
          if (!field.repeated && !field.map) prototype[field.name] = absentValue(field);
        }
      }
      if (nested instanceof protobuf.Namespace) visit(nested);
    }
  };
  visit(root);
  return root;
}

/** The reflected contract: for oracles in tests and for what has no function below. */
export const root = load();

const PublishRequestType = root.lookupType('kerntap.v1.PublishRequest');
const PublishResponseType = root.lookupType('kerntap.v1.PublishResponse');
const BatchType = root.lookupType('kerntap.v1.Batch');

/** Decodes one frame. Byte fields are views into `frame`. Throws RangeError or Error on a frame that is not one. */
export function decodePublishRequest(frame: Uint8Array): PublishRequest {
  return PublishRequestType.decode(new BigReader(frame)) as unknown as PublishRequest;
}

/** Decodes the bytes of a kerntap.v1.Batch. Byte fields are views into `bytes`. Throws as decodePublishRequest does. */
export function decodeBatch(bytes: Uint8Array): Batch {
  return BatchType.decode(new BigReader(bytes)) as unknown as Batch;
}

/** Decodes one response. Throws as decodePublishRequest does. */
export function decodePublishResponse(frame: Uint8Array): PublishResponse {
  return PublishResponseType.decode(new BigReader(frame)) as unknown as PublishResponse;
}

/** Any message with any of its fields: what the encoders take. Absent fields keep their default. */
export type Sparse<T> = T extends bigint | number | string | boolean | Uint8Array | null
  ? T
  : T extends readonly (infer Item)[]
    ? readonly Sparse<Item>[]
    : { readonly [Key in keyof T]?: Sparse<T[Key]> | undefined };

// protobufjs's Writer takes numbers and {low, high}; a bigint it would silently write as 0.
function forWriter(value: unknown): unknown {
  if (typeof value === 'bigint') {
    return { low: Number(BigInt.asIntN(32, value)), high: Number(BigInt.asIntN(32, value >> 32n)), unsigned: true };
  }
  if (Array.isArray(value)) return value.map(forWriter);
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value;
  const copy: Record<string, unknown> = {};
  for (const [key, field] of Object.entries(value)) {
    if (field === undefined || field === null) continue;
    // As an own property even if the key is __proto__ (a label may be called that).
    Object.defineProperty(copy, key, { value: forWriter(field), enumerable: true, configurable: true, writable: true });
  }
  return copy;
}

function encode(type: protobuf.Type, message: unknown): Uint8Array {
  return type.encode(forWriter(message) as Record<string, unknown>).finish();
}

/** Encodes a request by reflection: for tests and rare messages, not for the agent's hot path. */
export function encodePublishRequest(message: Sparse<PublishRequest>): Uint8Array {
  return encode(PublishRequestType, message);
}

/** Encodes the bytes of a kerntap.v1.Batch; see encodePublishRequest. */
export function encodeBatch(message: Sparse<Batch>): Uint8Array {
  return encode(BatchType, message);
}

/** Encodes one response. */
export function encodePublishResponse(message: Sparse<PublishResponse>): Uint8Array {
  return encode(PublishResponseType, message);
}

const identity = (frame: Buffer): Buffer => frame;

/**
 * The service for grpc-js, both sides. Requests stay bytes: the agent's come encoded from its transcoder, and a
 * collector must not lose the whole stream to one frame that it cannot decode.
 */
export const EVENT_COLLECTOR = {
  Publish: {
    path: PUBLISH_PATH,
    requestStream: true,
    responseStream: true,
    requestSerialize: (frame: Uint8Array): Buffer => Buffer.from(frame.buffer, frame.byteOffset, frame.byteLength),
    requestDeserialize: identity,
    responseSerialize: (message: Sparse<PublishResponse>): Buffer => encodePublishResponse(message) as Buffer,
    responseDeserialize: (frame: Buffer): PublishResponse => decodePublishResponse(frame),
  },
} satisfies ServiceDefinition;
