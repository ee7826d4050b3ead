/** Certificates and keys as they are on disk: read whole, and only what goes together is handed on. */
import { createHash, createPrivateKey, type KeyObject, X509Certificate } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { createSecureContext } from 'node:tls';

/** One file and the setting that names it, for those who have to mend it. */
export interface NamedFile {
  readonly path: string;
  /** collector.tls.caFile, --tls-cert. */
  readonly setting: string;
}

export interface TlsPaths {
  /** Of the peers; none: those that Node brings along. */
  readonly ca?: NamedFile | undefined;
  /** One's own, with what signed it; both or none. */
  readonly cert?: NamedFile | undefined;
  readonly key?: NamedFile | undefined;
}

export interface CertificateFacts {
  /** For people: CN=..., or the alternative names of a certificate without one. */
  readonly subject: string;
  readonly issuer: string;
  readonly notAfterMs: number;
}

/** PEM that goes together. */
export interface TlsMaterial {
  readonly ca: Buffer | undefined;
  readonly cert: Buffer | undefined;
  readonly key: Buffer | undefined;
  /** Of all three. */
  readonly hash: string;
  /** Of one's own certificate. */
  readonly own: CertificateFacts | undefined;
  /** Of the authority that ends first. */
  readonly authority: CertificateFacts | undefined;
}

/** A file that cannot be used: its message names the setting, the file, and the remedy. */
export class TlsFileError extends Error {
  override name = 'TlsFileError';

  constructor({ setting, path }: NamedFile, message: string) {
    super(`${setting} ${path}: ${message}`);
  }
}

/** A bundle of every public authority has 220 KB. */
const FILE_BYTES_MAX = 1 << 20;

const BLOCK = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g;

/** Throws TlsFileError. */
export function readMaterial(paths: TlsPaths): TlsMaterial {
  const { ca, cert, key } = paths;
  const caPem = ca && read(ca);
  const certPem = cert && read(cert);
  const keyPem = key && read(key);
  const authorities = ca === undefined || caPem === undefined ? [] : certificates(ca, caPem);
  const [own] = cert === undefined || certPem === undefined ? [] : certificates(cert, certPem);
  if (own !== undefined && cert !== undefined && key !== undefined && keyPem !== undefined) {
    if (!own.checkPrivateKey(privateKey(key, keyPem))) {
      throw new TlsFileError(key, `is not the key of the certificate in ${cert.path}: both have to be of one issue`);
    }
    try {
      createSecureContext({ ca: caPem, cert: certPem, key: keyPem });
    } catch (error) {
      // What OpenSSL thinks too weak, mostly.
      throw new TlsFileError(cert, `cannot be used: ${reasonOf(error)}`);
    }
  }
  const hash = createHash('sha256');
  for (const pem of [caPem, certPem, keyPem]) hash.update(String(pem?.length ?? -1)).update(pem ?? '');
  return {
    ca: caPem,
    cert: certPem,
    key: keyPem,
    hash: hash.digest('hex'),
    own: own && factsOf(own),
    authority: authorities.map(factsOf).sort((a, b) => a.notAfterMs - b.notAfterMs)[0],
  };
}

function read(file: NamedFile): Buffer {
  try {
    // No matter what is there: it is not read for ever.
    const stats = statSync(file.path);
    if (!stats.isFile()) throw new TlsFileError(file, 'is not a file');
    if (stats.size > FILE_BYTES_MAX) throw new TlsFileError(file, `is larger than ${FILE_BYTES_MAX} bytes`);
    return readFileSync(file.path);
  } catch (error) {
    if (error instanceof TlsFileError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT')
      throw new TlsFileError(file, 'is not there: mount the Secret that holds it, or correct the path');
    if (code === 'EACCES') throw new TlsFileError(file, 'may not be read by this user');
    throw new TlsFileError(file, reasonOf(error));
  }
}

function certificates(file: NamedFile, pem: Buffer): X509Certificate[] {
  const blocks = pem.toString('latin1').match(BLOCK) ?? [];
  if (blocks.length === 0) throw new TlsFileError(file, 'holds no certificate: PEM with BEGIN CERTIFICATE is wanted');
  return blocks.map((block) => {
    try {
      return new X509Certificate(block);
    } catch (error) {
      throw new TlsFileError(file, `holds a certificate that cannot be read: ${reasonOf(error)}`);
    }
  });
}

function privateKey(file: NamedFile, pem: Buffer): KeyObject {
  try {
    return createPrivateKey(pem);
  } catch {
    // OpenSSL's words could quote what was there.
    throw new TlsFileError(file, 'holds no private key: PEM without a passphrase is wanted');
  }
}

function factsOf(certificate: X509Certificate): CertificateFacts {
  const name = (text: string): string => text.split('\n').reverse().join(', ');
  const subject = name(certificate.subject ?? '') || (certificate.subjectAltName ?? 'no name');
  return { subject, issuer: name(certificate.issuer), notAfterMs: Date.parse(certificate.validTo) };
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
