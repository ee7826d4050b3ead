import { afterEach, describe, expect, it, vi } from 'vitest';
import { DrainLoop } from '../../../src/agent/drain.ts';
import { HEAD, KT_FILE_OPEN, KT_RECORD_VERSION } from '../../../src/kernel/layout.gen.ts';
import type { EventSource } from '../../../src/kernel/source.ts';

/** Hands out whole records, as the addon does: as many as fit into the caller's buffer. */
class ScriptedSource implements EventSource {
  readonly records: Uint8Array[] = [];
  drains = 0;

  drain(into: Uint8Array): number {
    this.drains++;
    let used = 0;
    for (let next = this.records[0]; next !== undefined && used + next.length <= into.length; next = this.records[0]) {
      into.set(next, used);
      used += next.length;
      this.records.shift();
    }
    return used;
  }

  counters(): void {}
  close(): void {}
}

function record(length: number, tid: number, kind = KT_FILE_OPEN, version = KT_RECORD_VERSION): Uint8Array {
  const bytes = new Uint8Array((length + 7) & ~7);
  const view = new DataView(bytes.buffer);
  view.setUint32(HEAD.len, length, true);
  view.setUint8(HEAD.version, version);
  view.setUint8(HEAD.kind, kind);
  view.setUint32(HEAD.tid, tid, true);
  return bytes;
}

function collect(source: EventSource, bufferBytes = 64 * 1024) {
  const seen: { tid: number; length: number; kind: number }[] = [];
  const loop = new DrainLoop({
    source,
    bufferBytes,
    intervalMs: 15,
    onRecord: (_buf, view, offset, length, kind) =>
      seen.push({ tid: view.getUint32(offset + HEAD.tid, true), length, kind }),
  });
  return { seen, loop };
}

afterEach(() => {
  vi.useRealTimers();
});

describe('the drain loop', () => {
  it('hands on every record once, in order, with its own length', () => {
    const source = new ScriptedSource();
    for (let i = 0; i < 1000; i++) source.records.push(record(128 + (i % 97), i));
    const { seen, loop } = collect(source);
    expect(loop.drainAll(Number.POSITIVE_INFINITY)).toBe(true);
    expect(seen.map((item) => item.tid)).toEqual(Array.from({ length: 1000 }, (_, i) => i));
    expect(seen.map((item) => item.length)).toEqual(Array.from({ length: 1000 }, (_, i) => 128 + (i % 97)));
    expect(loop.records).toBe(1000);
  });

  it('drains on its timer, and again at once while more than half a buffer comes', async () => {
    vi.useFakeTimers();
    const source = new ScriptedSource();
    const { seen, loop } = collect(source, 16 * 1024);
    loop.start();
    for (let i = 0; i < 500; i++) source.records.push(record(128, i));
    await vi.advanceTimersByTimeAsync(25); // fake immediates take a step each
    expect(seen).toHaveLength(500);
    const drains = source.drains;
    expect(drains).toBeGreaterThan(3);
    await vi.advanceTimersByTimeAsync(150);
    expect(source.drains).toBe(drains + 10);
    loop.stop();
    await vi.advanceTimersByTimeAsync(150);
    expect(source.drains).toBe(drains + 10);
  });

  it('keeps time also when nothing comes', async () => {
    vi.useFakeTimers();
    const onTick = vi.fn();
    const loop = new DrainLoop({ source: new ScriptedSource(), onRecord: () => {}, onTick, intervalMs: 10 });
    loop.start();
    await vi.advanceTimersByTimeAsync(100);
    loop.stop();
    expect(onTick).toHaveBeenCalledTimes(10);
  });

  it('counts a record of another version and goes on behind it', () => {
    const source = new ScriptedSource();
    source.records.push(record(128, 1), record(128, 2, KT_FILE_OPEN, KT_RECORD_VERSION + 1), record(128, 3));
    const { seen, loop } = collect(source);
    loop.drainOnce();
    expect(seen.map((item) => item.tid)).toEqual([1, 3]);
    expect(loop.undecodable).toBe(1);
    expect(loop.unwalkableBytes).toBe(0);
  });

  it.each([
    ['zero', 0],
    ['shorter than a head', 127],
    ['beyond the buffer', 4096],
    ['beyond any record', 0xffffffff],
  ])('stops at a length that cannot be (%s), says how much it skipped, and drains on', (_name, length) => {
    const source = new ScriptedSource();
    const bad = record(128, 2);
    new DataView(bad.buffer).setUint32(HEAD.len, length, true);
    source.records.push(record(128, 1), bad, record(128, 3));
    const { seen, loop } = collect(source);
    loop.drainOnce();
    source.records.push(record(128, 4));
    loop.drainOnce();
    expect(seen.map((item) => item.tid)).toEqual([1, 4]);
    expect(loop.undecodable).toBe(1);
    expect(loop.unwalkableBytes).toBe(256);
  });

  it('ends a drain at its deadline although more keeps coming', () => {
    const endless: EventSource = {
      drain: (into) => {
        into.set(record(128, 1));
        return 128;
      },
      counters: () => {},
      close: () => {},
    };
    let now = 0;
    const loop = new DrainLoop({ source: endless, onRecord: () => {}, now: () => now++ });
    expect(loop.drainAll(50)).toBe(false);
    expect(loop.records).toBeLessThan(60);
  });
});
