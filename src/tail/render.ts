import type { EventRow } from '../../proto/columns.ts';
import { fitLine } from './line.ts';
import { prettyLine } from './pretty.ts';

/** How the tail turns events into lines. */
export interface Renderer {
  readonly render: (row: EventRow) => string;
  readonly renderDropped: (count: number) => string;
  readonly byTime: boolean;
}

/** NDJSON: the public columns, at most LINE_BYTES_MAX bytes a line. */
export const JSON_LINES: Renderer = {
  render: (row) => fitLine(row.line(), () => row.row()),
  renderDropped: (count) => `{"kind":"kerntap.tail_dropped","count":${count}}`,
  byTime: false,
};

/** For people. `columns`: the terminal's width at the time, 0 where there is none. */
export function prettyLines(colour: boolean, columns: () => number): Renderer {
  return {
    render: (row) => prettyLine(row.row(), colour, columns()),
    renderDropped: (count) => `... ${count} events were not shown (the collector has them)`,
    byTime: true,
  };
}
