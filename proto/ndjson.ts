/** One value of a row. bigint is written as digits, exact at any size. */
export type Cell = null | boolean | number | bigint | string | readonly Cell[] | { readonly [key: string]: Cell };

/** A flat row: its columns in their fixed order. */
export type Row = Readonly<Record<string, Cell>>;

// JSON.stringify leaves these as they are, yet they move a terminal's cursor, hide or reorder text, or end a line:
// DEL and C1, soft hyphen, Arabic letter mark, zero-width and bidi marks and controls, line and paragraph separator, BOM,
// interlinear annotation, and tag characters (U+E0000-E007F, a surrogate pair).
const UNSAFE =
  /[\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb]|\udb40[\udc00-\udc7f]/g;

const PLAIN = /^[\x20\x21\x23-\x5b\x5d-\x7e]*$/;

function escapeUnits(text: string): string {
  let escaped = '';
  for (let i = 0; i < text.length; i++) escaped += `\\u${text.charCodeAt(i).toString(16).padStart(4, '0')}`;
  return escaped;
}

/** A JSON string literal that is safe to print: loss-free, on one line, without any control or bidi character. */
export function quote(text: string): string {
  if (PLAIN.test(text)) return `"${text}"`;
  return JSON.stringify(text).replace(UNSAFE, escapeUnits);
}

/** JSON of one cell. NaN and infinities, which JSON lacks, are null. */
export function cellToJson(cell: Cell): string {
  switch (typeof cell) {
    case 'string':
      return quote(cell);
    case 'number':
      return Number.isFinite(cell) ? String(cell) : 'null';
    case 'bigint':
    case 'boolean':
      return String(cell);
    default:
      if (cell === null) return 'null';
      if (Array.isArray(cell)) return `[${cell.map(cellToJson).join(',')}]`;
      return toLine(cell as Row);
  }
}

/** A row as one line of NDJSON, without its newline. What is null is left out: most columns of most rows are. */
export function toLine(row: Row): string {
  let json = '';
  for (const name of Object.keys(row)) {
    const cell = row[name];
    if (cell === undefined || cell === null) continue;
    json += `${json === '' ? '' : ','}${quote(name)}:${cellToJson(cell)}`;
  }
  return `{${json}}`;
}
