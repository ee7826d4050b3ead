import { describe, expect, test } from 'vitest';
import { quote, toLine } from '../../../proto/ndjson.ts';

describe('a quoted string', () => {
  test('gives back every code unit, and shows none that is not printable', () => {
    for (let unit = 0; unit < 0x10000; unit++) {
      const text = `a${String.fromCharCode(unit)}b`;
      const json = quote(text);
      expect(JSON.parse(json) === text, `U+${unit.toString(16)}`).toBe(true);
      // Unicode's own classes: control, format (bidi and zero-width among them), surrogate, line, paragraph separator.
      // Format characters that are part of a script's spelling (Arabic number signs, ...) may stay.
      expect(/[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u.test(json), `U+${unit.toString(16)}`).toBe(false);
    }
  });

  test('escapes tag characters, which are invisible', () => {
    expect(quote('\u{e0041}')).toBe('"\\udb40\\udc41"');
    expect(quote('🐧')).toBe('"🐧"');
  });
});

describe('a line', () => {
  test('writes integers of any size exactly', () => {
    expect(toLine({ a: 18446744073709551615n, b: -(2n ** 63n), c: 1.5, d: Number.NaN })).toBe(
      '{"a":18446744073709551615,"b":-9223372036854775808,"c":1.5,"d":null}',
    );
  });

  test('writes lists, maps and their keys safely', () => {
    const row = { list: ['x', null, ['\u202e']], map: { 'k"\u001b': 'v\n' }, none: null, yes: true };
    expect(toLine(row)).toBe('{"list":["x",null,["\\u202e"]],"map":{"k\\"\\u001b":"v\\n"},"none":null,"yes":true}');
    expect(JSON.parse(toLine(row))).toEqual(row);
  });
});
