import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest';
import { TlsFiles } from '../../../src/tls/files.ts';
import { readMaterial, TlsFileError, type TlsPaths } from '../../../src/tls/material.ts';
import { Authority, type Certificate } from '../kubernetes/certificates.ts';
import { until } from '../stream/collector-double.ts';
import { SecretVolume } from './secret-volume.ts';

let authority: Authority;
let ca: string;
let first: Certificate;
let second: Certificate;

beforeAll(() => {
  authority = new Authority();
  ca = readFileSync(authority.caFile, 'utf8');
  first = authority.issue('agent-1', 'DNS:agent-1', 2);
  second = authority.issue('agent-2', 'DNS:agent-2', 9);
});

const closers: (() => unknown)[] = [];
afterEach(() => {
  for (const close of closers.splice(0).reverse()) close();
});
afterAll(() => rmSync(authority.dir, { recursive: true, force: true }));

function volume(certificate: Pick<Certificate, 'cert' | 'key'> = first): SecretVolume {
  const made = new SecretVolume(ca, certificate);
  closers.push(() => made.remove());
  return made;
}

const pathsOf = ({ caFile, certFile, keyFile }: SecretVolume): TlsPaths => ({
  ca: { path: caFile, setting: 'collector.tls.caFile' },
  cert: { path: certFile, setting: 'collector.tls.certFile' },
  key: { path: keyFile, setting: 'collector.tls.keyFile' },
});

function refusal(paths: TlsPaths): string {
  try {
    readMaterial(paths);
  } catch (error) {
    if (error instanceof TlsFileError) return error.message;
    throw error;
  }
  throw new Error('was taken');
}

describe('certificates on disk', () => {
  it('are read with whose they are and until when', () => {
    const { own, authority: signer } = readMaterial(pathsOf(volume()));
    expect(own).toMatchObject({ subject: 'CN=agent-1', issuer: 'CN=test-ca' });
    expect((own?.notAfterMs ?? 0) - Date.now()).toBeGreaterThan(86_400_000);
    expect((own?.notAfterMs ?? 0) - Date.now()).toBeLessThan(2.1 * 86_400_000);
    expect(signer).toMatchObject({ subject: 'CN=test-ca' });
  });

  it('of several authorities the one that ends first is told', () => {
    const other = new Authority();
    closers.push(() => rmSync(other.dir, { recursive: true, force: true }));
    const leaf = authority.issue('soon', 'DNS:soon', 1);
    const files = volume();
    files.swap(`${ca}${readFileSync(other.caFile, 'utf8')}${leaf.cert}`, first);
    expect(readMaterial(pathsOf(files)).authority?.subject).toBe('CN=soon');
  });

  it.each<[string, (files: SecretVolume) => void, RegExp]>([
    ['is not there', (files) => rmSync(files.certFile), /^collector\.tls\.certFile \S+tls\.crt: is not there: mount/],
    ['is empty', (files) => files.swap('', first), /^collector\.tls\.caFile \S+ca\.crt: holds no certificate: PEM/],
    [
      'is cut in the middle',
      (files) => files.swap(ca, { ...first, cert: first.cert.slice(0, first.cert.length / 2) }),
      /^collector\.tls\.certFile .*holds no certificate/,
    ],
    [
      'is damaged',
      (files) =>
        files.swap(ca, {
          ...first,
          cert: first.cert
            .replace(/[A-Z]/g, 'A')
            .replaceAll('AAAAA AAAAAAAAAAA', 'BEGIN CERTIFICATE')
            .replaceAll('AAA AAAAAAAAAAA', 'END CERTIFICATE'),
        }),
      /^collector\.tls\.certFile .*cannot be read/,
    ],
    [
      'is the key of another',
      (files) => files.swap(ca, { ...first, key: second.key }),
      /^collector\.tls\.keyFile .*is not the key of the certificate in \S+tls\.crt: both have to be of one issue/,
    ],
    [
      'is no key',
      (files) => files.swap(ca, { ...first, key: first.cert }),
      /^collector\.tls\.keyFile .*holds no private key/,
    ],
    ['is huge', (files) => files.swap(ca.repeat(3000), first), /^collector\.tls\.caFile .*larger than/],
  ])('are refused where one %s, by setting, file and remedy', (_, spoil, message) => {
    const files = volume();
    spoil(files);
    expect(refusal(pathsOf(files))).toMatch(message);
  });

  it('never have a key in what is told of them', () => {
    const files = volume();
    files.swap(ca, { ...first, key: `${first.key.slice(0, 120)}\nspoilt` });
    const words = refusal(pathsOf(files));
    for (const line of first.key.split('\n').filter((text) => text.length > 20 && !text.startsWith('-'))) {
      expect(words).not.toContain(line.slice(0, 20));
    }
  });
});

interface Followed {
  readonly files: TlsFiles;
  readonly applied: string[];
  readonly refused: string[];
}

function follow(paths: TlsPaths, take: () => void = () => {}): Followed {
  const applied: string[] = [];
  const refused: string[] = [];
  const files = new TlsFiles({
    paths,
    settleMs: 5,
    // The folder is to tell: a poll would hide that it does not.
    pollMs: 3_600_000,
    onApplied: ({ own }) => applied.push(own?.subject ?? ''),
    onRefused: ({ message }) => refused.push(message),
  });
  files.onChange(take);
  closers.push(() => files.stop());
  files.start();
  return { files, applied, refused };
}

describe('certificates that are renewed', () => {
  it('are in force after the swap of the mounted Secret, again and again', async () => {
    const secret = volume();
    const { files, applied, refused } = follow(pathsOf(secret));
    for (const certificate of [second, first, second]) {
      const before = applied.length;
      secret.swap(ca, certificate);
      await until(() => applied.length > before);
      expect(files.current.cert?.toString()).toBe(certificate.cert);
      expect(files.current.key?.toString()).toBe(certificate.key);
    }
    expect(refused).toEqual([]);
    expect(files.status).toMatchObject({ applied: 3, refused: 0, lastSuccessful: true, problem: '' });
  });

  it('stay the last good ones while a pair is half written, which is told once; the other half mends it', async () => {
    const secret = volume();
    const { files, applied, refused } = follow(pathsOf(secret));
    secret.swap(ca, { cert: second.cert, key: first.key });
    await until(() => refused.length === 1);
    files.check();
    expect(files.current.cert?.toString()).toBe(first.cert);
    expect(files.status).toMatchObject({ applied: 0, refused: 1, lastSuccessful: false });
    expect(files.status.problem).toMatch(/is not the key/);
    secret.swap(ca, second);
    await until(() => applied.length === 1);
    expect(refused).toHaveLength(1);
    expect(files.status).toMatchObject({ applied: 1, lastSuccessful: true, problem: '' });
  });

  it('stay the last good ones when the files are taken away', async () => {
    const secret = volume();
    const { files, refused } = follow(pathsOf(secret));
    rmSync(secret.keyFile);
    await until(() => refused.length === 1);
    expect(files.current.key?.toString()).toBe(first.key);
  });

  it('stay the last good ones where nobody can use the new ones', async () => {
    const secret = volume();
    let good = true;
    const { files, refused } = follow(pathsOf(secret), () => {
      if (!good) throw new Error('not these');
    });
    good = false;
    secret.swap(ca, second);
    await until(() => refused.includes('not these'));
    expect(files.current.cert?.toString()).toBe(first.cert);
  });

  it('may come later than the process', async () => {
    const secret = volume();
    rmSync(secret.certFile);
    const { files, refused } = follow(pathsOf(secret));
    expect(refused).toHaveLength(1);
    expect(() => files.current).toThrow(TlsFileError);
    writeFileSync(join(secret.dir, 'tls.crt'), first.cert);
    await until(() => files.status.lastSuccessful);
    expect(files.current.cert?.toString()).toBe(first.cert);
  });
});
