/**
 * Cuts the JSON of a PodList into its items while it arrives, so that a list of 20 MB is neither kept whole nor parsed at
 * one go. It only looks for where an item begins and ends; JSON.parse then reads each, and what is around them.
 */

/** The reply is not a PodList. */
export class PodListError extends Error {
  override readonly name = 'PodListError';
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const OPEN_LIST = 0x5b;
const CLOSE_LIST = 0x5d;
const OPEN_OBJECT = 0x7b;
const CLOSE_OBJECT = 0x7d;

/** Depth of the list's own members, and of its items' list. */
const MEMBER = 1;
const ITEM = 2;
/** In the place of an item, so that what is around the items still is a list of as many. */
const PLACEHOLDER = Buffer.from('0');
const MAX_FRAME_BYTES = 1 << 20;

export class PodListSplitter {
  readonly #maxItemBytes: number;
  /** Bytes of the item that is being read. */
  #item: Buffer[] = [];
  #itemBytes = 0;
  /** Everything but the items, each a 0 here. */
  #frame: Buffer[] = [];
  #frameBytes = 0;
  #depth = 0;
  #inString = false;
  /** Backslashes in a row before this place. */
  #escapes = 0;
  #inItems = false;
  /** Within an item. */
  #open = false;
  /** The last string that began among the list's own members. */
  #name: Buffer[] = [];
  #items = 0;

  /** `maxItemBytes`: of one pod; the API server takes objects up to 1.5 MiB. */
  constructor(maxItemBytes: number) {
    this.#maxItemBytes = maxItemBytes;
  }

  /** Items that ended so far. */
  get items(): number {
    return this.#items;
  }

  /** Yields each item that ends in this part. Throws PodListError where one is too large. */
  *push(chunk: Buffer): Generator<Buffer> {
    // Where what is not kept yet begins.
    let from = 0;
    let at = 0;
    while (at < chunk.length) {
      if (this.#inString) {
        at = this.#skipString(chunk, at);
        continue;
      }
      const byte = chunk[at++];
      switch (byte) {
        case QUOTE:
          this.#inString = true;
          this.#escapes = 0;
          if (this.#depth === MEMBER) this.#name = [];
          break;
        case OPEN_LIST:
          if (++this.#depth === ITEM && Buffer.concat(this.#name).toString() === 'items') this.#inItems = true;
          break;
        case OPEN_OBJECT:
          if (this.#depth === ITEM && this.#inItems) {
            this.#keepFrame(chunk.subarray(from, at - 1));
            from = at - 1;
            this.#open = true;
          }
          this.#depth++;
          break;
        case CLOSE_LIST:
          if (this.#depth-- === ITEM) this.#inItems = false;
          break;
        case CLOSE_OBJECT:
          if (--this.#depth === ITEM && this.#open) {
            this.#keepItem(chunk.subarray(from, at));
            from = at;
            this.#open = false;
            this.#keepFrame(PLACEHOLDER);
            yield this.#takeItem();
          }
          break;
      }
    }
    if (this.#open) this.#keepItem(chunk.subarray(from));
    else this.#keepFrame(chunk.subarray(from));
  }

  /** At the end of the reply: what is around the items, as it parses. Throws PodListError, or SyntaxError. */
  end(): unknown {
    if (this.#depth !== 0 || this.#inString) throw new PodListError('it ends within the list');
    return JSON.parse(Buffer.concat(this.#frame).toString('utf8'));
  }

  /** Where the string that is open ends, or the chunk does. */
  #skipString(chunk: Buffer, start: number): number {
    let at = start;
    for (;;) {
      const quote = chunk.indexOf(QUOTE, at);
      const end = quote < 0 ? chunk.length : quote;
      let escapes = 0;
      while (end - escapes > at && chunk[end - escapes - 1] === BACKSLASH) escapes++;
      if (end - escapes === at) escapes += this.#escapes;
      if (quote < 0 || escapes % 2 === 0) {
        if (this.#depth === MEMBER) this.#keepName(chunk.subarray(start, end));
        this.#escapes = quote < 0 ? escapes : 0;
        this.#inString = quote < 0;
        return quote < 0 ? end : end + 1;
      }
      this.#escapes = 0;
      at = end + 1;
    }
  }

  #keepName(part: Buffer): void {
    if (this.#name.length < 8) this.#name.push(part.subarray(0, 16));
  }

  #keepFrame(part: Buffer): void {
    this.#frameBytes += part.length;
    if (this.#frameBytes > MAX_FRAME_BYTES) throw new PodListError('it holds much that is no item');
    if (part.length > 0) this.#frame.push(Buffer.from(part));
  }

  #keepItem(part: Buffer): void {
    this.#itemBytes += part.length;
    if (this.#itemBytes > this.#maxItemBytes) throw new PodListError(`a pod is over ${this.#maxItemBytes} bytes`);
    this.#item.push(part);
  }

  #takeItem(): Buffer {
    const [only] = this.#item;
    const item = this.#item.length === 1 && only !== undefined ? only : Buffer.concat(this.#item);
    this.#item = [];
    this.#itemBytes = 0;
    this.#items++;
    return item;
  }
}
