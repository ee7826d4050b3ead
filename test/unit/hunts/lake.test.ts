import { appendFileSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { lakeColumns, lakeSql } from '../../../proto/columns-sql.ts';
import { Lake } from '../../hunts.ts';
import { filesUnder, rowsUnder } from '../collector/event-files.ts';
import { SimulatedLake } from './simulated-lake.ts';
import { simulatedPod } from './simulated-node.ts';

let lake: SimulatedLake;

beforeEach(async () => {
  lake = await SimulatedLake.start();
});
afterEach(() => lake.remove());

test('lake.sql is current (node dist/proto/columns-sql.js > docs/hunts/views/lake.sql)', () => {
  expect(readFileSync(join(import.meta.dirname, '../../../docs/hunts/views/lake.sql'), 'utf8')).toBe(lakeSql());
});

describe('the lake', () => {
  test('has every column that the collector wrote, with its value', async () => {
    const shop = simulatedPod({ name: 'shop', ip: '10.1.0.5', probeCommands: ['sh\0-c\0true'] });
    const node = lake.node('node-a');
    node.pod(0, shop).exec(10, shop, ['/bin/sh', '-c', 'id']).connect(20, shop, '10.1.0.5:40000', '10.1.0.6:80');
    await node.send();
    const { query } = bound(await lake.open());
    const rows = await query('SELECT * FROM lake ORDER BY seq');
    const written = rowsUnder(join(lake.dir, 'replica-0/events')).sort((a, b) => Number(a['seq']) - Number(b['seq']));
    expect(rows).toHaveLength(3);
    for (const [i, row] of rows.entries()) {
      for (const [name, cell] of Object.entries(written[i] ?? {})) {
        if (name === 'time') continue; // there a timestamp
        expect([name, plain(row[name])]).toEqual([name, plain(cell)]);
      }
    }
    expect(await query('SELECT CAST(time AS VARCHAR) AS time FROM lake WHERE seq = 2')).toEqual([
      { time: '2026-11-22 07:30:00.01' },
    ]);
    const types = await query('SELECT column_name, column_type FROM (DESCRIBE lake)');
    const described = new Map(types.map((row) => [row['column_name'], String(row['column_type']).replaceAll('"', '')]));
    for (const [name, type] of lakeColumns())
      if (name !== 'time') expect([name, described.get(name)]).toEqual([name, type]);
  });

  test('reads no file of another kind or hour than is asked for', async () => {
    const shop = simulatedPod({ name: 'shop' });
    const node = lake.node('node-a');
    node.exec(0, shop, ['/bin/a']).exec(3_600_000, shop, ['/bin/b']).connect(5, shop, '10.1.0.5:1', '10.1.0.6:80');
    await node.send();
    const { query } = bound(await lake.open());
    const [plan] = await query(
      "EXPLAIN ANALYZE SELECT count(*) FROM events WHERE kind = 'process.exec' AND dt = DATE '2026-11-22' AND hour = 8",
    );
    const text = String(plan?.['explain_value']);
    // The pods' records are read too, twice, and there are none.
    const scans = [...text.matchAll(/Scanning Files: (\d+\/\d+)/g)].map(([, files]) => files);
    expect(scans.sort()).toEqual(['0/0', '0/0', '1/1']);
    // Keys are compared by hash: each event with each pod would end every larger hunt.
    expect(text).not.toMatch(/NL_JOIN|NESTED_LOOP|CROSS_PRODUCT/);
  });

  test('is no error where a kind, or everything but one row, is missing', async () => {
    const node = lake.node('node-a');
    node.exec(0, null, ['/bin/true']);
    await node.send();
    const { query } = bound(await lake.open());
    for (const view of ['events', 'pods', 'containers', 'pod_ips', 'connections', 'gaps', 'losses']) {
      expect([view, (await query(`SELECT * FROM ${view}`)).length]).toEqual([view, view === 'events' ? 1 : 0]);
    }
  });

  test('is not ended by a row that does not fit: what does not is null, and a line that is none is left out', async () => {
    const node = lake.node('node-a');
    node.exec(0, null, ['/bin/true']);
    await node.send();
    const opened = await lake.open();
    const [file = ''] = filesUnder(lake.dir);
    const [row] = rowsUnder(join(lake.dir, 'replica-0/events'));
    const huge = { ...row, event_id: 'x-2', process_pid: 'eleven', process_start_time_ns: 0.5, k8s_pod_labels: 7 };
    appendFileSync(join(lake.dir, file), `${JSON.stringify(huge)}\n{"event_id":\n`);
    expect(
      await opened.query('SELECT event_id, process_pid, kind FROM lake WHERE process_pid IS NULL OR event_id IS NULL'),
    ).toEqual([{ event_id: 'x-2', process_pid: null, kind: 'process.exec' }]);
  });

  test('of no collector at all says which pattern has no file', async () => {
    const dir = mkdtempSync(join(tmpdir(), 'kerntap-none-'));
    await expect(Lake.open(dir).then((opened) => opened.query('SELECT * FROM events'))).rejects.toThrow(
      /No files found that match the pattern/,
    );
    rmSync(dir, { recursive: true });
  });
});

function bound(opened: Lake) {
  return { query: opened.query.bind(opened) };
}

/** One form for what JSON and DuckDB give: numbers as digits, a map as an object, no null in an object. */
function plain(cell: unknown): unknown {
  if (typeof cell === 'number' || typeof cell === 'bigint') return String(cell);
  if (Array.isArray(cell)) {
    const pairs = cell.filter((item) => typeof item === 'object' && item !== null && 'key' in item && 'value' in item);
    if (pairs.length > 0) return plain(Object.fromEntries(pairs.map(({ key, value }) => [key, value])));
    return cell.map(plain);
  }
  if (typeof cell !== 'object' || cell === null) return cell;
  const known = Object.entries(cell).filter(([, value]) => value !== null);
  return Object.fromEntries(known.map(([key, value]) => [key, plain(value)]));
}
