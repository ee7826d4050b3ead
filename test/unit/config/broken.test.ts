import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { CONFIG_BYTES_MAX } from '../../../src/config/document.ts';
import { loadConfig, parseConfig } from '../../../src/config/load.ts';
import { ConfigError } from '../../../src/config/problem.ts';

const HEAD = 'apiVersion: kerntap.dev/v1alpha1\n';
const context = { node: { name: 'node-1' } };

function problems(run: () => unknown) {
  try {
    run();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('it was accepted');
}

const bomb = `a: &a [x, x]\n${'bcdefghij'.replaceAll(/./g, (c) => `${c}: &${c} [*${String.fromCharCode(c.charCodeAt(0) - 1)}, *${String.fromCharCode(c.charCodeAt(0) - 1)}]\n`)}policies: *j\n`;

/** What is wrong, the text, then of the first problem: key, line, what its message and its remedy must say. */
const BROKEN: [string, string | Uint8Array, string, number, RegExp, RegExp][] = [
  ['empty', '', '(file)', 1, /is empty/, /begin with apiVersion: kerntap.dev\/v1alpha1/],
  ['only a comment', '# nothing\n', '(file)', 1, /is empty/, /begin with apiVersion/],
  ['a list', '- a\n', '(file)', 1, /is a list/, /write keys/],
  ['a word', 'on\n', '(file)', 1, /is 'on'/, /write keys/],
  ['no version', 'clusterName: c\n', 'apiVersion', 1, /is missing/, /add apiVersion: kerntap/],
  ['another version', 'apiVersion: v1\n', 'apiVersion', 1, /'v1' is not known/, /write kerntap.dev\/v1alpha1/],
  ['a misspelt key', `${HEAD}probs: {}\n`, 'probs', 2, /unknown key 'probs'/, /did you mean probes\?/],
  [
    'a misspelt kind',
    `${HEAD}probes:\n  file.opn: off\n`,
    'probes.file.opn',
    3,
    /unknown key 'file.opn'/,
    /did you mean file.open\?/,
  ],
  ['a key at the wrong level', `${HEAD}capBytes: 64\n`, 'capBytes', 2, /unknown key/, /did you mean argv.capBytes\?/],
  ['a foreign key', `${HEAD}rules_file: x\n`, 'rules_file', 2, /unknown key/, /known here: apiVersion, profile/],
  [
    'a misspelt mode',
    `${HEAD}probes: {file.open: senstive}\n`,
    'probes.file.open',
    2,
    /did you mean sensitive/,
    /write one of off, writes/,
  ],
  [
    'a mode that is only on',
    `${HEAD}probes: {file.open: true}\n`,
    'probes.file.open',
    2,
    /is not known/,
    /off, writes, sensitive, all/,
  ],
  ['a number for a switch', `${HEAD}failedOpens: 1\n`, 'failedOpens', 2, /not true or false/, /write true or false/],
  [
    'a word for a number',
    `${HEAD}budgets:\n  cpuCores: lots\n`,
    'budgets.cpuCores',
    3,
    /'lots' is not a number/,
    /in that range/,
  ],
  ['too much', `${HEAD}argv: {capBytes: 1Mi}\n`, 'argv.capBytes', 2, /from 64 to 16384/, /in that range/],
  ['not whole', `${HEAD}tail: {eventsPerSecond: 1.5}\n`, 'tail.eventsPerSecond', 2, /whole number/, /in that range/],
  [
    'not a number at all',
    `${HEAD}tail: {eventsPerSecond: .nan}\n`,
    'tail.eventsPerSecond',
    2,
    /whole number/,
    /in that range/,
  ],
  ['a section that is a text', `${HEAD}tail: off\n`, 'tail', 2, /is 'off', not keys/, /write keys such as enabled/],
  ['a text that is a section', `${HEAD}clusterName: {a: b}\n`, 'clusterName', 2, /is not letters/, /write letters/],
  ['a list that is a text', `${HEAD}sensitivePaths: /etc\n`, 'sensitivePaths', 2, /is not a list/, /after "- "/],
  [
    'a relative path',
    `${HEAD}sensitivePaths:\n  - /etc\n  - etc\n`,
    'sensitivePaths[1]',
    4,
    /not an absolute path/,
    /write an absolute path/,
  ],
  [
    'a path that cannot be matched',
    `${HEAD}sensitivePaths: [/a/b*]\n`,
    'sensitivePaths[0]',
    2,
    /whole component/,
    /eight components/,
  ],
  ['an empty item', `${HEAD}sensitivePaths:\n  -\n`, 'sensitivePaths[0]', 3, /is empty/, /remove the dash/],
  [
    'an endpoint without a port',
    `${HEAD}collector: {endpoint: host}\n`,
    'collector.endpoint',
    2,
    /HOST:PORT/,
    /write HOST:PORT/,
  ],
  ['a rule without match', `${HEAD}policies:\n  - file: off\n`, 'policies[0].match', 3, /is missing/, /add match:/],
  [
    'a rule without action',
    `${HEAD}policies:\n  - match: {namespace: ci}\n`,
    'policies[0]',
    3,
    /says nothing/,
    /add process, file, socket or all/,
  ],
  [
    'an action that is none',
    `${HEAD}policies:\n  - match: {}\n    file: drop\n`,
    'policies[0].file',
    4,
    /'drop' is no action/,
    /trace, off or/,
  ],
  [
    'sampling of none',
    `${HEAD}policies:\n  - match: {}\n    file: {sample: 0}\n`,
    'policies[0].file.sample',
    4,
    /from 2 to/,
    /in that range/,
  ],
  [
    'a host in a namespace',
    `${HEAD}policies:\n  - match: {host: true, namespace: a}\n    all: off\n`,
    'policies[0].match',
    3,
    /never matches/,
    /leave out host/,
  ],
  [
    'an override for nobody',
    `${HEAD}overrides:\n  - match: {}\n    set: {failedOpens: true}\n`,
    'overrides[0].match',
    3,
    /names no nodes/,
    /nodePercent/,
  ],
  [
    'a wrong override that is for others',
    `${HEAD}overrides:\n  - match: {nodePercent: 0}\n    set: {sensitivePaths: [/*/x]}\n`,
    'overrides[0].set.sensitivePaths[0]',
    4,
    /cannot be a wildcard/,
    /write \/dir/,
  ],
  [
    'an override of overrides',
    `${HEAD}overrides:\n  - match: {nodePercent: 1}\n    set: {overrides: []}\n`,
    'overrides[0].set.overrides',
    4,
    /unknown key/,
    /remove it|did you mean/,
  ],
  [
    'a key file that is not there',
    `${HEAD}argv:\n  redact: {keyFile: /nowhere/key}\n`,
    'argv.redact.keyFile',
    3,
    /ENOENT/,
    /16 bytes/,
  ],
  ['a key without value', `${HEAD}clusterName:\n`, 'clusterName', 2, /has no value/, /remove the key/],
  ['a key twice', `${HEAD}failedOpens: true\nfailedOpens: false\n`, 'failedOpens', 3, /must be unique/, /keep one/],
  ['a bracket left open', `${HEAD}probes: {file.open: off\n`, 'probes.file.open', 3, /Flow map/, /./],
  ['a tab', `${HEAD}tail:\n\tenabled: true\n`, 'tail', 3, /Tabs/, /spaces/],
  ['two documents', `${HEAD}---\n${HEAD}`, '(file)', 2, /more than one document/, /without ---/],
  [
    'an alias',
    `${HEAD}sensitivePaths: &x [/etc]\nsensitiveSockets: *x\n`,
    'sensitiveSockets',
    3,
    /is an alias/,
    /write the value/,
  ],
  ['a bomb of aliases', HEAD + bomb, 'a', 2, /unknown key 'a'/, /remove it/],
  ['a foreign tag', `${HEAD}clusterName: !!js/function x\n`, 'clusterName', 2, /tag/i, /leave out the tag/],
  ['brackets without end', '['.repeat(100_000), '(file)', 1, /nested deeper/, /remove the brackets/],
  ['huge', `${HEAD}#${'x'.repeat(CONFIG_BYTES_MAX)}`, '(file)', 1, /more than 262144/, /is this the right file/],
  ['binary', Buffer.from([0x7f, 0x45, 0x4c, 0x46, 0, 0, 1]), '(file)', 1, /NUL byte/, /right file/],
  ['not UTF-8', Buffer.from([0x61, 0x3a, 0xff, 0xfe]), '(file)', 1, /not UTF-8/, /save it as UTF-8/],
  ['control characters', `${HEAD}"a\\e[31mb": 1\n`, 'a\u{fffd}[31mb', 2, /unknown key 'a\u{fffd}\[31mb'/u, /remove it/],
];

describe('a broken configuration', () => {
  it.each(BROKEN)('%s: is refused with key, line and remedy', (_, text, key, line, message, remedy) => {
    const bytes = typeof text === 'string' ? Buffer.from(text) : text;
    const [first] = problems(() => parseConfig(bytes, 'k.yaml', context));
    expect(first).toMatchObject({ key, line, message: expect.stringMatching(message) });
    expect(first?.remedy).toMatch(remedy);
  });

  it('names every problem, each on a line of its own', () => {
    const text = `${HEAD}probes: {file.opn: off}\nfailedOpens: maybe\nbudgets: {cpuCores: -1}\n`;
    const found = problems(() => parseConfig(Buffer.from(text), 'k.yaml', context));
    expect(found.map(({ key, line }) => `${line} ${key}`)).toEqual([
      '2 probes.file.opn',
      '3 failedOpens',
      '4 budgets.cpuCores',
    ]);
    expect(new ConfigError('k.yaml', found).message.split('\n')[1]).toBe(
      "k.yaml:3:14: failedOpens: 'maybe' is not true or false; write true or false",
    );
  });

  it('has no control characters in its message', () => {
    const text = `${HEAD}"\\e[31mx\\n\\u202e": 1\nclusterName: "\\e]0;x"\n`;
    const found = problems(() => parseConfig(Buffer.from(text), 'k.yaml', context));
    expect(new ConfigError('k.yaml', found).message.replaceAll('\n', '')).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  });
});

describe('a file that cannot be read', () => {
  const dir = mkdtempSync(join(tmpdir(), 'kerntap-config-'));
  afterAll(() => rmSync(dir, { recursive: true, force: true }));

  it('says so: missing, a folder', () => {
    expect(problems(() => loadConfig(join(dir, 'none'), context))[0]).toMatchObject({ message: 'is not there' });
    expect(problems(() => loadConfig(dir, context))[0]).toMatchObject({ message: 'is not a regular file' });
  });

  it('says so: no permission', () => {
    const file = join(dir, 'secret.yaml');
    writeFileSync(file, HEAD);
    chmodSync(file, 0);
    const root = process.geteuid?.() === 0;
    if (root) process.seteuid?.(65_534);
    try {
      expect(problems(() => loadConfig(file, context))[0]).toMatchObject({
        key: '(file)',
        message: 'may not be read',
        remedy: expect.stringMatching(/chmod/),
      });
    } finally {
      if (root) process.seteuid?.(0);
    }
  });
});
