import { realpathSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { ColumnInfo } from './column.ts';
import { COLUMNS } from './kinds.ts';

/** DuckDB's type of a column. */
function sqlType({ type, fields = [] }: ColumnInfo): string {
  switch (type) {
    case 'string':
      return 'VARCHAR';
    case 'integer':
      return 'BIGINT';
    case 'unsigned':
      return 'UBIGINT';
    case 'boolean':
      return 'BOOLEAN';
    case 'strings':
      return 'VARCHAR[]';
    case 'map':
      return 'MAP(VARCHAR, VARCHAR)';
    case 'objects':
      return `STRUCT(${fields.map((field) => `${field.name} ${sqlType(field)}`).join(', ')})[]`;
  }
}

/** Every column of every kind, once: name to SQL type. Throws where two kinds give one name two types. */
export function lakeColumns(): ReadonlyMap<string, string> {
  const types = new Map<string, string>();
  for (const [kind, columns] of COLUMNS) {
    for (const column of columns) {
      const type = sqlType(column);
      const before = types.get(column.name) ?? type;
      if (before !== type) throw new Error(`${column.name} is ${before}, but ${type} in ${kind}`);
      types.set(column.name, type);
    }
  }
  return types;
}

/** docs/hunts/views/lake.sql, from the tables that rows are made with. */
export function lakeSql(): string {
  const columns = [...lakeColumns()].map(([name, type]) => `      ${name}: '${type}'`);
  return `-- Made from proto/ by \`node dist/proto/columns-sql.js > docs/hunts/views/lake.sql\`; a test compares them.
--
-- lake: every line of the collectors' files, all kinds in one wide table; what a kind has not is null. A resent event is
-- here twice: hunt in \`events\`.
--   SET VARIABLE lake = '/var/lib/kerntap/events';     a folder of a collector, or a pattern for those of several
-- kind, cluster, dt and hour are the files' folders: a condition on them is what spares reading the rest.
-- A value that does not fit its column is null; it does not end the query.
CREATE OR REPLACE VIEW lake AS
SELECT * REPLACE (make_timestamp(time_ns // 1000) AS time)
FROM read_json(
    getvariable('lake') || '/kind=*/cluster=*/dt=*/hour=*/*.ndjson',
    format = 'newline_delimited',
    ignore_errors = true,
    maximum_object_size = 4194304,
    filename = 'file',
    hive_partitioning = true,
    hive_types = {kind: 'VARCHAR', cluster: 'VARCHAR', dt: 'DATE', hour: 'INTEGER'},
    columns = {
${columns.join(',\n')}
    })
WHERE event_id IS NOT NULL AND time_ns IS NOT NULL;
`;
}

if (process.argv[1] !== undefined && realpathSync(process.argv[1]) === fileURLToPath(import.meta.url)) {
  process.stdout.write(lakeSql());
}
