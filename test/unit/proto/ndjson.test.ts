import { describe, expect, test } from 'vitest';
import { quote, toLine } from '../../../proto/ndjson.ts';

describe('a quoted string', () => {
  test('gives back every code unit, and shows none that is not printable', () => {
    // Unicode's own classes: control, surrogate, line and paragraph separator, bidi control.
    const unprintable = /[\p{Cc}\p{Cs}\p{Zl}\p{Zp}\p{Bidi_Control}]/u;
    const wrong: string[] = [];
    for (let unit = 0; unit < 0x10000; unit++) {
      const text = `a${String.fromCharCode(unit)}b`;
      const json = quote(text);
      if (JSON.parse(json) !== text || unprintable.test(json)) wrong.push(unit.toString(16));
    }
    expect(wrong).toEqual([]);
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
    const row = { list: ['x', null, ['\u202e']], map: { 'k"\u001b': 'v\n' }, yes: true };
    expect(toLine(row)).toBe('{"list":["x",null,["\\u202e"]],"map":{"k\\"\\u001b":"v\\n"},"yes":true}');
    expect(JSON.parse(toLine(row))).toEqual(row);
  });

  test('leaves out what is not known, but for the place of an item in a list', () => {
    expect(toLine({ a: null, b: 0, c: '', d: [null], e: { f: null, g: 1 } })).toBe(
      '{"b":0,"c":"","d":[null],"e":{"g":1}}',
    );
    expect(toLine({ a: null })).toBe('{}');
  });
});
