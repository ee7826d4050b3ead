import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { type DuckDBConnection, DuckDBInstance, type JS } from '@duckdb/node-api';

const HUNTS = join(import.meta.dirname, '../docs/hunts');

/** A row of a query: BIGINT as bigint, TIMESTAMP as its text, lists and structs as arrays and objects. */
export type LakeRow = Readonly<Record<string, JS | undefined>>;

export interface LakeOptions {
  /** The API server's audit log. */
  readonly audit?: string;
  readonly auditCluster?: string;
  /** Zeek's conn.log. */
  readonly zeek?: string;
}

/** The hunts of docs/hunts, by file name without .sql. */
export function huntNames(): string[] {
  return readdirSync(HUNTS)
    .filter((name) => name.endsWith('.sql') && name !== 'open.sql')
    .map((name) => name.slice(0, -4))
    .sort();
}

/** What a reader of the lake has: DuckDB with the views of docs/hunts over a collector's folder. */
export class Lake {
  readonly #instance: DuckDBInstance;
  readonly #connection: DuckDBConnection;

  private constructor(instance: DuckDBInstance, connection: DuckDBConnection) {
    this.#instance = instance;
    this.#connection = connection;
  }

  /** `events`: a collector's folder, or a pattern for those of several. */
  static async open(events: string, { audit, auditCluster, zeek }: LakeOptions = {}): Promise<Lake> {
    const instance = await DuckDBInstance.create();
    const connection = await instance.connect();
    const lake = new Lake(instance, connection);
    const variables = { lake: events, audit, audit_cluster: auditCluster, zeek };
    for (const [name, value] of Object.entries(variables)) {
      if (value !== undefined) await connection.run(`SET VARIABLE ${name} = '${value.replaceAll("'", "''")}'`);
    }
    // As DuckDB's shell reads it.
    const files = [...readFileSync(join(HUNTS, 'open.sql'), 'utf8').matchAll(/^\.read docs\/hunts\/(.+)$/gm)];
    for (const [, file = ''] of files) await lake.#read(file);
    if (audit !== undefined) await lake.#read('views/exec_audit.sql');
    if (zeek !== undefined) await lake.#read('views/zeek.sql');
    return lake;
  }

  async #read(file: string): Promise<void> {
    await this.#connection.run(readFileSync(join(HUNTS, file), 'utf8'));
  }

  async query(sql: string): Promise<LakeRow[]> {
    const reader = await this.#connection.runAndReadAll(sql);
    return reader.getRowObjectsJS();
  }

  /** Runs a hunt of docs/hunts as it stands there. */
  hunt(name: string): Promise<LakeRow[]> {
    return this.query(readFileSync(join(HUNTS, `${name}.sql`), 'utf8'));
  }

  close(): void {
    this.#connection.closeSync();
    this.#instance.closeSync();
  }
}
