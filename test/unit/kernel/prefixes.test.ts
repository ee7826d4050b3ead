import { describe, expect, test } from 'vitest';
import { KT_PREFIX_FILE, KT_PREFIX_UNIX, KT_PREFIX_WILDCARD } from '../../../src/kernel/layout.gen.ts';
import { DEFAULT_SENSITIVE, encodePrefixes, PREFIX_DEPTH_MAX, type TrieEntry } from '../../../src/kernel/prefixes.ts';
import { randomBelow } from './random.ts';

/** What native/bpf/path.h does with the trie: a name, else the wildcard, never back; 8 components at most. */
function marksOf(entries: readonly TrieEntry[], path: string): number {
  const map = new Map(entries.map(({ key, value }) => [Buffer.from(key).toString('latin1'), Buffer.from(value)]));
  const edge = (node: number, name: string) => {
    const key = Buffer.alloc(40);
    key.writeUInt32LE(node, 0);
    key.writeUInt32LE(Buffer.byteLength(name), 4);
    key.write(name, 8);
    return Buffer.byteLength(name) > 32 ? undefined : map.get(key.toString('latin1'));
  };
  let node = 0;
  let marks = 0;
  let wild = false;
  for (const name of path.split('/').filter(Boolean).slice(0, PREFIX_DEPTH_MAX)) {
    const value = edge(node, name) ?? (wild ? edge(node, '') : undefined);
    if (value === undefined) return marks;
    marks |= value.readUInt32LE(4) & (KT_PREFIX_FILE | KT_PREFIX_UNIX);
    wild = (value.readUInt32LE(4) & KT_PREFIX_WILDCARD) !== 0;
    node = value.readUInt32LE(0);
    if (node === 0) return marks;
  }
  return marks;
}

/** The meaning of a pattern, by a regular expression. */
function matches(pattern: string, path: string): boolean {
  const text = pattern.replace(/[.+?^${}()|[\]\\]/g, '\\$&').replaceAll('*', '[^/]+');
  return new RegExp(`^${text}(/|$)`).test(path);
}

test.each([
  ['/etc/shadow', KT_PREFIX_FILE],
  ['/etc/shadow-', 0],
  ['/etc/shado', 0],
  ['/etc', 0],
  ['/', 0],
  ['/home/ann/.ssh/id_rsa', KT_PREFIX_FILE],
  ['/home/ann/.kube', KT_PREFIX_FILE],
  ['/home/ann/.bashrc', 0],
  ['/home/.ssh', 0],
  [`/home/${'n'.repeat(200)}/.aws/credentials`, KT_PREFIX_FILE],
  ['/proc/42/environ', KT_PREFIX_FILE],
  ['/proc/42/status', 0],
  ['/var/lib/kubelet/pods/uid/volumes/x/token', KT_PREFIX_FILE],
  ['/var/lib/kubelet/pod-resources/kubelet.sock', KT_PREFIX_UNIX],
  ['/run/containerd/containerd.sock', KT_PREFIX_UNIX],
  ['/var/run/docker.sock', KT_PREFIX_UNIX],
  ['/run/docker.sock', KT_PREFIX_UNIX],
  ['/run/docker.sockx', 0],
])('by default %s has the marks %i', (path, marks) => {
  expect(marksOf(encodePrefixes(DEFAULT_SENSITIVE), path)).toBe(marks);
});

test('a name that stands beside a wildcard keeps what the wildcard matches', () => {
  const entries = encodePrefixes({
    files: ['/home/*/.ssh', '/home/bob/.config', '/home/*/a/*/c', '/home/bob/a/b/d'],
    sockets: [],
  });
  for (const path of [
    '/home/bob/.ssh/id',
    '/home/bob/.config/x',
    '/home/ann/.ssh',
    '/home/bob/a/b/c',
    '/home/bob/a/b/d',
  ]) {
    expect(marksOf(entries, path), path).toBe(KT_PREFIX_FILE);
  }
  for (const path of ['/home/ann/.config', '/home/bob', '/home/ann/a/b/d'])
    expect(marksOf(entries, path), path).toBe(0);
});

test('random patterns and paths: the trie means what the patterns say', () => {
  const below = randomBelow(3);
  const path = (alphabet: string[]) => {
    const names = Array.from({ length: 1 + below(4) }, () => alphabet[below(alphabet.length)] ?? 'a');
    return `/${names.join('/')}`;
  };
  for (let round = 0; round < 2000; round++) {
    const list = () => Array.from({ length: below(5) }, () => `/r${path(['a', 'b', 'c', '*', '*'])}`);
    const prefixes = { files: list(), sockets: list() };
    const entries = encodePrefixes(prefixes, 1 + below(1000));
    for (let probe = 0; probe < 10; probe++) {
      const asked = `/r${path(['a', 'b', 'c', 'd'])}`;
      const file = prefixes.files.some((pattern) => matches(pattern, asked)) ? KT_PREFIX_FILE : 0;
      const socket = prefixes.sockets.some((pattern) => matches(pattern, asked)) ? KT_PREFIX_UNIX : 0;
      expect(marksOf(entries, asked), `${asked} in ${JSON.stringify(prefixes)}`).toBe(file | socket);
    }
  }
});

test('two tries of different first nodes have only edges of the root in common', () => {
  const below = (first: number) => encodePrefixes(DEFAULT_SENSITIVE, first).filter(({ root }) => !root);
  const keys = new Set(below(1).map(({ key }) => Buffer.from(key).toString('hex')));
  expect(below(513).some(({ key }) => keys.has(Buffer.from(key).toString('hex')))).toBe(false);
});

describe('a pattern that the kernel side cannot match is refused with its reason', () => {
  test.each([
    ['etc/shadow', /not absolute/],
    ['/', /not a normal path/],
    ['', /not absolute/],
    ['/etc//shadow', /not a normal path/],
    ['/etc/../shadow', /not a normal path/],
    ['/etc/', /not a normal path/],
    ['/*/secret', /first component/],
    ['/home/a*/x', /whole component/],
    [`/x/${'n'.repeat(33)}`, /32 bytes/],
    [`/x/${'ü'.repeat(17)}`, /32 bytes/],
    ['/a/b/c/d/e/f/g/h/i', /8 components/],
  ])('%s', (pattern, reason) => {
    expect(() => encodePrefixes({ files: [pattern], sockets: [] })).toThrow(reason);
    expect(() => encodePrefixes({ files: [], sockets: [pattern] })).toThrow(RangeError);
  });

  test('too many of them', () => {
    const files = Array.from({ length: 600 }, (_, index) => `/d${index}`);
    expect(() => encodePrefixes({ files, sockets: [] })).toThrow(/too many/);
  });
});
