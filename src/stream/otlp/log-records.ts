// A batch of ours as ExportLogsServiceRequests (opentelemetry.proto.collector.logs.v1): a ResourceLogs for each
// container, a LogRecord for each event.

import type { Column } from '../../../proto/column.ts';
import { type EventRow, type RowParts, rowsOf } from '../../../proto/columns.ts';
import type { Actor, Origin } from '../../../proto/columns-common.ts';
import { ACTOR, CAPTURE, IMAGE, ORIGIN } from '../../../proto/columns-common.ts';
import { FLOW } from '../../../proto/columns-socket.ts';
import type { Batch, NodeFacts, Workload } from '../../../proto/contract.ts';
import { SHAPES } from '../../../proto/kinds.ts';
import { KIND_NAMES, KIND_SLOTS } from '../event-kinds.ts';
import { ByteWriter, keyBytes, type Value, varintLength, writeAttribute } from './any-value.ts';
import { attributeOf, CONTAINER_COLUMNS, conventional, UNTOLD } from './attributes.ts';

// Field numbers with their wire types.
const REQUEST_RESOURCE_LOGS = 0x0a;
const RESOURCE_LOGS_RESOURCE = 0x0a;
const RESOURCE_LOGS_SCOPE_LOGS = 0x12;
const RESOURCE_ATTRIBUTES = 0x0a;
const SCOPE_LOGS_SCOPE = 0x0a;
const SCOPE_LOGS_RECORDS = 0x12;
const SCOPE_NAME = 0x0a;
const SCOPE_VERSION = 0x12;
const RECORD_TIME = 0x09;
const RECORD_SEVERITY = 0x10;
const RECORD_ATTRIBUTES = 0x32;
const RECORD_OBSERVED_TIME = 0x59;
const RECORD_EVENT_NAME = 0x62;
const SEVERITY_INFO = 9;

/** A column with its attribute, ready to be written. */
interface Told {
  readonly read: (source: never) => Value;
  readonly name: string;
  readonly key: Buffer;
  readonly entries: boolean;
}

function told(columns: readonly Column<never>[], wanted: (name: string) => boolean = () => true): Told[] {
  return columns
    .filter(({ name }) => wanted(name))
    .map(({ name: column, read }) => {
      const { name, as, entries } = attributeOf(column);
      return {
        read: as === undefined ? read : (source: never) => as(read(source)),
        name,
        key: keyBytes(name),
        entries: entries === true,
      };
    });
}

const NODE = told(ORIGIN as readonly Column<never>[], (name) => !UNTOLD.has(name));
const CONTAINER = told(ACTOR as readonly Column<never>[], (name) => CONTAINER_COLUMNS.has(name));
const PROCESS = told(ACTOR as readonly Column<never>[], (name) => !CONTAINER_COLUMNS.has(name));
const EXECUTABLE = told(IMAGE as readonly Column<never>[]);
const TAKEN = told(CAPTURE as readonly Column<never>[]);
const CONNECTION = told(FLOW as readonly Column<never>[]);
const OF_KIND: ReadonlyMap<string, { readonly told: readonly Told[]; readonly eventName: Buffer }> = new Map(
  SHAPES.map(({ kind, columns }) => [kind, { told: told(columns), eventName: Buffer.from(eventNameOf(kind)) }]),
);
const SLOTS: ReadonlyMap<string, number> = new Map([...KIND_NAMES].map(([slot, name]) => [name, slot]));
const UID = keyBytes('log.record.uid');

/** `kerntap.process.exec`; what is the agent's own has the prefix already. */
export function eventNameOf(kind: string): string {
  return kind.startsWith('kerntap.') ? kind : `kerntap.${kind}`;
}

function writeAll<Source>(out: ByteWriter, tag: number, columns: readonly Told[], source: Source): void {
  for (const { read, name, key, entries } of columns) {
    const value = read(source as never);
    if (!entries || value === null) writeAttribute(out, tag, key, value);
    else
      for (const [entry, item] of Object.entries(value)) writeAttribute(out, tag, keyBytes(`${name}.${entry}`), item);
  }
}

/** What every request of a sink has in common. */
export interface Exporting {
  /** Of this run, as they are known by now. */
  readonly node: () => NodeFacts;
  readonly version: string;
  /** Of the Community IDs of connections; null: none. */
  readonly communityIdSeed: number | null;
  /** Raw bytes of a request at most; a record that is larger goes alone. */
  readonly maxRequestBytes: number;
  readonly maxRecords: number;
}

/** One ExportLogsServiceRequest. */
export interface ExportRequest {
  readonly bytes: Buffer;
  /** Records. */
  readonly events: number;
  /** By kind: see event-kinds.ts. */
  readonly kinds: Uint32Array;
}

/** Events that could not be made a record, with their number. */
export interface Unwritable {
  readonly refused: string;
}

/** Says whether to go on; asked every few events, so that a caller can bound its turn. */
export type Pause = () => boolean;

interface Group {
  readonly resource: Buffer;
  readonly records: ByteWriter;
}

/** Records of a request at most, where nothing else is said. */
export const MAX_RECORDS = 2000;
/** So many events between two looks at the clock. */
const STRIDE = 16;
const WRITERS_KEPT_BYTES = 4 << 20;

/** Bytes of a length-delimited field of so many bytes, with a tag of one. */
const fieldLength = (bytes: number): number => 1 + varintLength(bytes) + bytes;

/** Writers for the next request: what grew once need not grow again, and the garbage collector has less to look after. */
class Writers {
  private readonly free: ByteWriter[] = [];
  private kept = 0;

  take(): ByteWriter {
    const writer = this.free.pop();
    if (writer === undefined) return new ByteWriter();
    this.kept -= writer.capacity;
    writer.length = 0;
    return writer;
  }

  give(writer: ByteWriter): void {
    if (this.kept + writer.capacity > WRITERS_KEPT_BYTES) return;
    this.kept += writer.capacity;
    this.free.push(writer);
  }
}

class Request {
  records = 0;
  private readonly kinds = new Uint32Array(KIND_SLOTS);
  private readonly groups = new Map<string, Group>();
  private readonly scope: Buffer;
  private readonly writers: Writers;
  private bytesUpTo = 0;

  constructor(scope: Buffer, writers: Writers) {
    this.scope = scope;
    this.writers = writers;
  }

  /** Bytes that it has, and would have with one more record of `bytes` of a resource. */
  sizeWith(resource: Resource, bytes: number): number {
    const opened = this.groups.has(resource.id) ? 0 : resource.bytes.length + this.scope.length + 24;
    return this.bytesUpTo + opened + bytes + 6;
  }

  add(resource: Resource, kind: number, record: Buffer): void {
    this.bytesUpTo = this.sizeWith(resource, record.length);
    let group = this.groups.get(resource.id);
    if (group === undefined) {
      group = { resource: resource.bytes, records: this.writers.take() };
      this.groups.set(resource.id, group);
    }
    group.records.reserve(record.length + 8);
    group.records.byte(SCOPE_LOGS_RECORDS);
    group.records.varint(record.length);
    group.records.bytes(record);
    this.records++;
    this.kinds[kind] = (this.kinds[kind] ?? 0) + 1;
  }

  finish(): ExportRequest {
    const out = new ByteWriter(this.bytesUpTo);
    for (const { resource, records } of this.groups.values()) {
      const scopeLogs = this.scope.length + records.length;
      const resourceLogs = resource.length + fieldLength(scopeLogs);
      out.reserve(resourceLogs + 16);
      out.byte(REQUEST_RESOURCE_LOGS);
      out.varint(resourceLogs);
      out.bytes(resource);
      out.byte(RESOURCE_LOGS_SCOPE_LOGS);
      out.varint(scopeLogs);
      out.bytes(this.scope);
      out.bytes(records.view());
    }
    for (const { records } of this.groups.values()) this.writers.give(records);
    return { bytes: out.view(), events: this.records, kinds: this.kinds };
  }
}

/** A resource as the field `resource` of a ResourceLogs; `id` is the same for equal ones. */
interface Resource {
  readonly bytes: Buffer;
  readonly id: string;
}

/** Process attributes as bytes, shared by all events of a process in a batch. */
interface ActorBytes {
  readonly resource: Resource;
  readonly process: Buffer;
  image: Buffer | undefined;
}

export class LogRecords {
  private readonly exporting: Exporting;
  private readonly scope: Buffer;
  private readonly scratch = new ByteWriter();
  private readonly record = new ByteWriter();
  private readonly writers = new Writers();

  constructor(exporting: Exporting) {
    this.exporting = exporting;
    const name = Buffer.from('kerntap');
    const version = Buffer.from(exporting.version);
    const out = new ByteWriter(64 + version.length);
    out.byte(SCOPE_LOGS_SCOPE);
    out.varint(fieldLength(name.length) + fieldLength(version.length));
    out.byte(SCOPE_NAME);
    out.varint(name.length);
    out.bytes(name);
    out.byte(SCOPE_VERSION);
    out.varint(version.length);
    out.bytes(version);
    this.scope = out.copy();
  }

  /**
   * The requests for one batch, in its order. Yields undefined where `pause` says so, to be called again for the rest.
   * @param observedMs when the agent took the events, ms since 1970
   */
  *requestsOf(
    batch: Batch,
    observedMs: number,
    pause: Pause,
  ): Generator<ExportRequest | Unwritable | undefined, void, undefined> {
    const { node, communityIdSeed, maxRequestBytes, maxRecords } = this.exporting;
    const observedNs = BigInt(Math.trunc(observedMs)) * 1_000_000n;
    const actors = new Map<Actor, ActorBytes>();
    const resources = new Map<Workload | null, Resource>();
    let nodeResource: Resource | undefined;
    let request = new Request(this.scope, this.writers);
    let since = 0;
    for (const row of rowsOf(batch, batch.node ?? node(), null, communityIdSeed)) {
      if (++since >= STRIDE) {
        since = 0;
        if (pause()) yield undefined;
      }
      if ('refused' in row) {
        yield row;
        continue;
      }
      let actor: ActorBytes | undefined;
      let resource: Resource;
      if (row.parts.shape.own) {
        nodeResource ??= this.resourceOf(row.parts.origin, undefined);
        resource = nodeResource;
      } else {
        actor = actors.get(row.parts.actor);
        if (actor === undefined) {
          actor = this.actorBytes(row.parts, resources);
          actors.set(row.parts.actor, actor);
        }
        resource = actor.resource;
      }
      const record = this.recordOf(row, actor, observedNs);
      if (request.records > 0) {
        if (request.records >= maxRecords || request.sizeWith(resource, record.length) > maxRequestBytes) {
          yield request.finish();
          request = new Request(this.scope, this.writers);
        }
      }
      request.add(resource, SLOTS.get(row.kind) ?? 0, record);
    }
    if (request.records > 0) yield request.finish();
  }

  private resourceOf(origin: Origin, actor: Actor | undefined): Resource {
    const out = this.scratch;
    out.length = 0;
    writeAll(out, RESOURCE_ATTRIBUTES, NODE, origin);
    if (actor !== undefined) {
      writeAll(out, RESOURCE_ATTRIBUTES, CONTAINER, actor);
      for (const [name, value] of actor.workload === null ? [] : conventional(actor.workload)) {
        writeAttribute(out, RESOURCE_ATTRIBUTES, keyBytes(name), value);
      }
    }
    const attributes = out.copy();
    out.length = 0;
    out.reserve(attributes.length + 8);
    out.byte(RESOURCE_LOGS_RESOURCE);
    out.varint(attributes.length);
    out.bytes(attributes);
    const bytes = out.copy();
    return { bytes, id: bytes.toString('latin1') };
  }

  private actorBytes({ origin, actor }: RowParts, resources: Map<Workload | null, Resource>): ActorBytes {
    const resource = resources.get(actor.workload) ?? this.resourceOf(origin, actor);
    resources.set(actor.workload, resource);
    this.scratch.length = 0;
    writeAll(this.scratch, RECORD_ATTRIBUTES, PROCESS, actor);
    return { resource, process: this.scratch.copy(), image: undefined };
  }

  /** One LogRecord; good until the next. */
  private recordOf(row: EventRow, actor: ActorBytes | undefined, observedNs: bigint): Buffer {
    const { parts, kind } = row;
    const known = OF_KIND.get(kind);
    const out = this.record;
    out.length = 0;
    out.reserve(64);
    out.byte(RECORD_TIME);
    out.fixed64(row.timeNs);
    out.byte(RECORD_SEVERITY);
    out.byte(SEVERITY_INFO);
    out.byte(RECORD_OBSERVED_TIME);
    out.fixed64(observedNs);
    if (known !== undefined) {
      out.reserve(known.eventName.length + 8);
      out.byte(RECORD_EVENT_NAME);
      out.varint(known.eventName.length);
      out.bytes(known.eventName);
    }
    writeAttribute(out, RECORD_ATTRIBUTES, UID, `${parts.origin.run}-${row.seq}`);
    if (actor !== undefined) {
      out.reserve(actor.process.length);
      out.bytes(actor.process);
      if (kind !== 'process.exec') {
        const image = this.imageOf(actor, parts.actor);
        out.reserve(image.length);
        out.bytes(image);
      }
      writeAll(out, RECORD_ATTRIBUTES, TAKEN, parts.capture);
    }
    writeAll(out, RECORD_ATTRIBUTES, known?.told ?? [], parts.body);
    if (parts.shape.flow) writeAll(out, RECORD_ATTRIBUTES, CONNECTION, parts.flow);
    return out.view();
  }

  private imageOf(bytes: ActorBytes, actor: Actor): Buffer {
    if (bytes.image === undefined) {
      this.scratch.length = 0;
      writeAll(this.scratch, RECORD_ATTRIBUTES, EXECUTABLE, actor);
      bytes.image = this.scratch.copy();
    }
    return bytes.image;
  }
}
