import type { PeerCertificate } from 'node:tls';

/** `DNS:a, URI:spiffe://b, IP Address:10.0.0.1`; values with a comma or the like are in JSON quotes (node:tls). */
const ALTERNATIVE = /([A-Za-z ]+):("(?:[^"\\]|\\.)*"|[^,]*)(?:, |$)/gy;

/** Names that a client certificate has: the common name, and its DNS, URI and mail names. Quoted ones are left out. */
export function namesOf(certificate: PeerCertificate): string[] {
  const names: string[] = [];
  const common: unknown = certificate.subject?.CN;
  for (const name of Array.isArray(common) ? common : [common]) if (typeof name === 'string') names.push(name);
  for (const [, kind, value] of (certificate.subjectaltname ?? '').matchAll(ALTERNATIVE)) {
    if (value === undefined || value.startsWith('"')) continue;
    if (kind === 'DNS' || kind === 'URI' || kind === 'email') names.push(value);
  }
  return [...new Set(names)].filter((name) => name !== '');
}

/**
 * A pattern of client names: `*` stands for any characters, `{node}` for the name of the node that the client speaks for,
 * once at most.
 */
export class ClientPattern {
  readonly text: string;
  readonly #regexp: RegExp;

  /** Throws TypeError. */
  constructor(text: string) {
    if (text === '' || text.split('{node}').length > 2) throw new TypeError('a name, with {node} once at most');
    const source = text
      .split(/(\*|\{node\})/)
      .map((part) => (part === '*' ? '.*' : part === '{node}' ? '(?<node>.+)' : escaped(part)));
    this.text = text;
    this.#regexp = new RegExp(`^${source.join('')}$`, 's');
  }

  get namesNode(): boolean {
    return this.text.includes('{node}');
  }

  /** Does this name fit a client that speaks for that node? */
  fits(name: string, nodeName: string): boolean {
    const match = this.#regexp.exec(name);
    return match !== null && (!this.namesNode || match.groups?.['node'] === nodeName);
  }
}

function escaped(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&');
}
