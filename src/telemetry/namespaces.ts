/** Namespaces that are counted on their own: labels of a metric must stay few. */
export const NAMESPACES_MAX = 100;
const OTHER = 'other';

interface Cell {
  readonly namespace: string;
  events: number;
}

/** Events by namespace. The first NAMESPACES_MAX have their own count, the rest share one. */
export class NamespaceCounts {
  readonly #cells = new Map<string, Cell>();
  #last: Cell = { namespace: OTHER, events: 0 };

  constructor() {
    this.#cells.set(OTHER, this.#last);
  }

  /** One event; allocation-free but for a namespace's first. */
  count(namespace: string): void {
    if (this.#last.namespace !== namespace) this.#last = this.#cellOf(namespace);
    this.#last.events++;
  }

  #cellOf(namespace: string): Cell {
    const known = this.#cells.get(namespace);
    if (known !== undefined) return known;
    const cell = { namespace, events: 0 };
    if (this.#cells.size > NAMESPACES_MAX) return this.#cells.get(OTHER) ?? cell;
    this.#cells.set(namespace, cell);
    return cell;
  }

  /** Those with events. A namespace that is named `other` is among the rest. */
  totals(): { readonly namespace: string; readonly events: number }[] {
    return [...this.#cells.values()].filter(({ events }) => events > 0);
  }
}
