/** Turns of the event loop until `condition` gives a value; fails with `what` after `deadlineMs`. */
export async function until<Value>(
  what: string | (() => string),
  condition: () => Value | undefined | false | null,
  deadlineMs = 15_000,
): Promise<Value> {
  const end = performance.now() + deadlineMs;
  for (;;) {
    const value = condition();
    if (value !== undefined && value !== false && value !== null) return value;
    if (performance.now() > end) {
      throw new Error(`not within ${deadlineMs} ms: ${typeof what === 'string' ? what : what()}`);
    }
    // The pace of looking, not a wait for something to be done by then.
    await new Promise((resolve) => setTimeout(resolve, 15));
  }
}
