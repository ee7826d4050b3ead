import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { addressText, addressType } from '../../../proto/address.ts';
import { isWritable, rfc3339 } from '../../../proto/time.ts';

describe('an address', () => {
  test('of 16 bytes reads as the WHATWG URL parser writes it', () => {
    for (let i = 0; i < 5_000; i++) {
      const ip = createHash('md5').update(String(i)).digest();
      // Zero groups, so that all shapes of :: occur.
      for (let group = 0; group < 8; group++) if (((i >> group) & 1) === 1) ip.writeUInt16BE(0, group * 2);
      const full = Array.from({ length: 8 }, (_, group) => ip.readUInt16BE(group * 2).toString(16)).join(':');
      expect(`[${addressText(ip)}]`).toBe(new URL(`http://[${full}]/`).hostname);
    }
  });

  test.each([
    ['00000000000000000000000000000000', '::', 'ipv6'],
    ['00000000000000000000000000000001', '::1', 'ipv6'],
    ['00000000000000000000ffff7f000001', '127.0.0.1', 'ipv4'],
    ['000000000000000000000000c0000201', '::c000:201', 'ipv6'],
    ['20010db8000000010000000000000001', '2001:db8:0:1::1', 'ipv6'],
    ['fe800000000000010001000000010001', 'fe80::1:1:0:1:1', 'ipv6'],
    ['c0a800fe', '192.168.0.254', 'ipv4'],
  ])('%s is %s', (hex, text, type) => {
    const ip = Buffer.from(hex, 'hex');
    expect(addressText(ip)).toBe(text);
    expect(addressType({ ip, port: 1 })).toBe(type);
  });

  test.each([0, 1, 5, 15, 17])('of %i bytes is none', (length) => {
    expect(addressText(Buffer.alloc(length))).toBeNull();
    expect(addressType({ ip: Buffer.alloc(length), port: 1 })).toBeNull();
  });
});

describe('a time', () => {
  test('has the day and second that Date gives, and nine digits', () => {
    for (const [ns, text] of [
      [0n, '1970-01-01T00:00:00.000000000Z'],
      [1_709_164_800_000_000_001n, '2024-02-29T00:00:00.000000001Z'],
      [253_402_300_799_999_999_999n, '9999-12-31T23:59:59.999999999Z'],
    ] as const) {
      expect(isWritable(ns)).toBe(true);
      expect(rfc3339(ns)).toBe(text);
    }
    expect(isWritable(-1n)).toBe(false);
    expect(isWritable(253_402_300_800_000_000_000n)).toBe(false);
  });
});
