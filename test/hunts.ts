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

interface Session {
  readonly instance: DuckDBInstance;
  readonly connection: DuckDBConnection;
}

/** To make the views takes longer than most queries, and they look at the variables each time: they are used again. */
const idle = new Map<string, Session>();

/** What a reader of the lake has: DuckDB with the views of docs/hunts over a collector's folder. */
export class Lake {
  readonly #views: string;
  readonly #session: Session;

  private constructor(views: string, session: Session) {
    this.#views = views;
    this.#session = session;
  }

  /** `events`: a collector's folder, or a pattern for those of several. */
  static async open(events: string, { audit, auditCluster, zeek }: LakeOptions = {}): Promise<Lake> {
    // As DuckDB's shell reads it.
    const files = [...readFileSync(join(HUNTS, 'open.sql'), 'utf8').matchAll(/^\.read docs\/hunts\/(.+)$/gm)].map(
      ([, file = '']) => file,
    );
    if (audit !== undefined) files.push('views/exec_audit.sql');
    if (zeek !== undefined) files.push('views/zeek.sql');
    const views = files.join();
    const known = idle.get(views);
    idle.delete(views);
    const session = known ?? (await newSession());
    const { connection } = session;
    const variables = { lake: events, audit, audit_cluster: auditCluster, zeek };
    for (const [name, value] of Object.entries(variables)) {
      const quoted = value === undefined ? 'NULL' : `'${value.replaceAll("'", "''")}'`;
      await connection.run(`SET VARIABLE ${name} = ${quoted}`);
    }
    if (known === undefined) for (const file of files) await connection.run(readFileSync(join(HUNTS, file), 'utf8'));
    return new Lake(views, session);
  }

  async query(sql: string): Promise<LakeRow[]> {
    const reader = await this.#session.connection.runAndReadAll(sql);
    return reader.getRowObjectsJS();
  }

  /** Runs a hunt of docs/hunts as it stands there. */
  hunt(name: string): Promise<LakeRow[]> {
    return this.query(readFileSync(join(HUNTS, `${name}.sql`), 'utf8'));
  }

  close(): void {
    idle.set(this.#views, this.#session);
  }
}

async function newSession(): Promise<Session> {
  const instance = await DuckDBInstance.create();
  return { instance, connection: await instance.connect() };
}
