import {
  KT_PREFIX_FILE,
  KT_PREFIX_NAME,
  KT_PREFIX_UNIX,
  KT_PREFIX_WILDCARD,
  PREFIX_KEY,
  PREFIX_VALUE,
} from './layout.gen.ts';

/** Sensitive by default: matched against the resolved path in its mount namespace. */
export const DEFAULT_SENSITIVE_FILES: readonly string[] = [
  '/etc/shadow',
  '/etc/gshadow',
  '/etc/sudoers',
  '/root/.ssh',
  '/home/*/.ssh',
  '/run/secrets',
  '/var/run/secrets',
  '/var/lib/kubelet/pods',
  '/etc/kubernetes',
  '/proc/*/environ',
  '/proc/*/mem',
  '/root/.aws',
  '/root/.kube',
  '/home/*/.aws',
  '/home/*/.kube',
];

const CONTROL_SOCKETS = ['containerd/containerd.sock', 'docker.sock', 'crio/crio.sock'];

/** AF_UNIX sockets whose owner controls the node's containers. */
export const DEFAULT_SENSITIVE_SOCKETS: readonly string[] = [
  ...CONTROL_SOCKETS.flatMap((name) => [`/run/${name}`, `/var/run/${name}`]),
  '/var/lib/kubelet/device-plugins/kubelet.sock',
  '/var/lib/kubelet/pod-resources/kubelet.sock',
  '/var/lib/kubelet/pods-api/pods-api.sock',
];

export interface SensitivePrefixes {
  /** Each matches itself and everything below, for file events. */
  readonly files: readonly string[];
  /** Each matches one socket. */
  readonly sockets: readonly string[];
}

export const DEFAULT_SENSITIVE: SensitivePrefixes = {
  files: DEFAULT_SENSITIVE_FILES,
  sockets: DEFAULT_SENSITIVE_SOCKETS,
};

/** Components from the root that the kernel side looks at (bpf/path.h, KT_COMPONENTS_KEPT). */
export const PREFIX_DEPTH_MAX = 8;
/** Half of map kt_prefixes: the old trie stays in it while the new one is written. */
export const PREFIX_ENTRIES_MAX = 512;

export interface TrieEntry {
  readonly key: Uint8Array;
  readonly value: Uint8Array;
  /** An edge of the root: written last, it switches a whole new trie on. */
  readonly root: boolean;
}

interface Pattern {
  readonly components: readonly string[];
  readonly mark: number;
}

/** A pattern and how many of its components are matched. */
interface Position {
  readonly pattern: Pattern;
  readonly matched: number;
}

/**
 * Patterns as entries of map kt_prefixes. `*` stands for one whole component, not the first. The kernel tries a name
 * and then the wildcard, and never goes back: so each node stands for every pattern that can still match there.
 *
 * @param firstNode number of the first node below the root; a later trie takes numbers that the present one does not use
 * @throws RangeError for a pattern that the kernel side cannot match, or too many of them
 */
export function encodePrefixes({ files, sockets }: SensitivePrefixes, firstNode = 1): TrieEntry[] {
  const patterns = [
    ...files.map((text) => parse(text, KT_PREFIX_FILE)),
    ...sockets.map((text) => parse(text, KT_PREFIX_UNIX)),
  ];
  const entries: TrieEntry[] = [];
  const waiting = [{ node: 0, positions: patterns.map((pattern): Position => ({ pattern, matched: 0 })) }];
  let nextNode = firstNode;
  for (let state = waiting.shift(); state !== undefined; state = waiting.shift()) {
    for (const name of new Set(state.positions.flatMap(({ pattern, matched }) => pattern.components[matched] ?? []))) {
      const positions = advance(state.positions, name);
      const open = positions.some(({ pattern, matched }) => matched < pattern.components.length);
      const node = open ? nextNode++ : 0;
      if (entries.length === PREFIX_ENTRIES_MAX) throw new RangeError('too many sensitive prefixes');
      entries.push(encodeEntry(state.node, name, node, marksOf(positions)));
      if (open) waiting.push({ node, positions });
    }
  }
  return entries;
}

function parse(text: string, mark: number): Pattern {
  const components = text.split('/').slice(1);
  const fail = (why: string) => new RangeError(`sensitive prefix ${JSON.stringify(text)}: ${why}`);
  if (!text.startsWith('/')) throw fail('not absolute');
  if (components.some((name) => name === '' || name === '.' || name === '..')) throw fail('not a normal path');
  if (components.length > PREFIX_DEPTH_MAX) throw fail(`more than ${PREFIX_DEPTH_MAX} components`);
  if (components[0] === '*') throw fail('its first component cannot be a wildcard');
  for (const name of components) {
    if (name !== '*' && name.includes('*')) throw fail('a wildcard stands for a whole component');
    if (Buffer.byteLength(name) > KT_PREFIX_NAME) throw fail(`a component has more than ${KT_PREFIX_NAME} bytes`);
  }
  return { components, mark };
}

/** Where the patterns stand after a component that is called `name`; '*': one that no literal edge takes. */
function advance(positions: readonly Position[], name: string): Position[] {
  return positions
    .filter(({ pattern, matched }) => {
      const next = pattern.components[matched];
      return next === name || next === '*';
    })
    .map(({ pattern, matched }) => ({ pattern, matched: matched + 1 }));
}

function marksOf(positions: readonly Position[]): number {
  let marks = 0;
  for (const { pattern, matched } of positions) {
    if (matched === pattern.components.length) marks |= pattern.mark;
    else if (pattern.components[matched] === '*') marks |= KT_PREFIX_WILDCARD;
  }
  return marks;
}

function encodeEntry(node: number, name: string, next: number, marks: number): TrieEntry {
  const key = new Uint8Array(PREFIX_KEY.SIZE);
  const keyView = new DataView(key.buffer);
  keyView.setUint32(PREFIX_KEY.node, node, true);
  if (name !== '*') {
    const bytes = Buffer.from(name);
    keyView.setUint32(PREFIX_KEY.len, bytes.length, true);
    key.set(bytes, PREFIX_KEY.name);
  }
  const value = new Uint8Array(PREFIX_VALUE.SIZE);
  const valueView = new DataView(value.buffer);
  valueView.setUint32(PREFIX_VALUE.next, next, true);
  valueView.setUint32(PREFIX_VALUE.marks, marks, true);
  return { key, value, root: node === 0 };
}
