// More would only queue for the four threads that do I/O, and hold descriptors meanwhile.
const PARALLEL = 8;

/** Acts on every item, a few at a time. Rejects with the first error of `act`. */
export async function inParallel<Item>(items: readonly Item[], act: (item: Item) => Promise<void>): Promise<void> {
  const left = items.values();
  const work = async (): Promise<void> => {
    for (const item of left) await act(item);
  };
  await Promise.all(Array.from({ length: Math.min(PARALLEL, items.length) }, work));
}
