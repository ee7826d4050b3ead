/** Prometheus' text format 0.0.4: github.com/prometheus/docs, exposition_formats.md. */
import type { Metric } from './metrics.ts';

export const EXPOSITION_TYPE = 'text/plain; version=0.0.4; charset=utf-8';

/** One text for each label of a metric, in the table's order. */
type LabelValues<Labels extends readonly string[]> = { readonly [Index in keyof Labels]: string };

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n');
}

/** Gathers the samples of one scrape; metrics without any are left out. */
export class Exposition<Table extends Readonly<Record<string, Metric>>> {
  readonly #table: Table;
  readonly #samples = new Map<string, string[]>();

  constructor(table: Table) {
    this.#table = table;
  }

  /** One sample. The caller gives each set of labels once. */
  add<Name extends keyof Table & string>(
    name: Name,
    value: number,
    ...labels: LabelValues<Table[Name]['labels']>
  ): void {
    const names = this.#table[name]?.labels ?? [];
    const pairs = names.map((label, index) => `${label}="${escapeLabel(labels[index] ?? '')}"`);
    const sample = `${name}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${value}`;
    const samples = this.#samples.get(name);
    if (samples === undefined) this.#samples.set(name, [sample]);
    else samples.push(sample);
  }

  /** The whole text: families in the table's order, as a parser wants each in one piece. */
  text(): string {
    let text = '';
    for (const [name, { type, help }] of Object.entries(this.#table)) {
      const samples = this.#samples.get(name);
      if (samples === undefined) continue;
      text += `# HELP ${name} ${escapeHelp(help)}\n# TYPE ${name} ${type}\n${samples.join('\n')}\n`;
    }
    return text;
  }
}
