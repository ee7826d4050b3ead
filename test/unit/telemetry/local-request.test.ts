import { describe, expect, it } from 'vitest';
import { LocalRequestError, parseLocalRequest } from '../../../src/telemetry/local-request.ts';

describe('a local request', () => {
  it('is read whole', () => {
    expect(parseLocalRequest('{"ask":"ledger"}')).toEqual({ ask: 'ledger' });
    expect(parseLocalRequest('{"ask":"tail"}')).toEqual({
      ask: 'tail',
      namespaces: [],
      pods: [],
      kinds: [],
      processes: [],
      host: false,
    });
    expect(parseLocalRequest('{"ask":"tail","pods":["a*"],"kinds":["file"],"host":true}')).toMatchObject({
      pods: ['a*'],
      kinds: ['file'],
      host: true,
    });
  });

  it.each([
    ['', 'not a line of JSON'],
    ['{"ask":"tail"', 'not a line of JSON'],
    ['null', 'not an object'],
    ['[]', 'not an object'],
    ['{}', 'ask'],
    ['{"ask":"toString"}', 'ask'],
    ['{"ask":"ledger","pods":[]}', 'unknown key: "pods"'],
    ['{"ask":"tail","namespace":["a"]}', 'unknown key: "namespace"'],
    ['{"ask":"tail","pods":"a"}', 'pods'],
    ['{"ask":"tail","pods":[1]}', 'pods'],
    ['{"ask":"tail","pods":[""]}', 'pods'],
    [`{"ask":"tail","pods":["${'x'.repeat(5000)}"]}`, 'pods'],
    [`{"ask":"tail","kinds":[${'"file",'.repeat(70)}"file"]}`, 'kinds'],
    ['{"ask":"tail","host":"yes"}', 'host'],
    ['{"ask":"tail","__proto__":{"host":true}}', 'unknown key'],
  ])('%s is refused with the reason', (line, reason) => {
    expect(() => parseLocalRequest(line)).toThrow(LocalRequestError);
    expect(() => parseLocalRequest(line)).toThrow(reason);
  });
});
