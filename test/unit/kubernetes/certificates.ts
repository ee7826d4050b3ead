import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Certificate {
  readonly certFile: string;
  readonly keyFile: string;
  readonly cert: string;
  readonly key: string;
}

/** A certificate authority of its own in a temporary folder, made with openssl. */
export class Authority {
  readonly dir = mkdtempSync(join(tmpdir(), 'kerntap-pki-'));
  readonly caFile = join(this.dir, 'ca.crt');
  #serial = 0;

  constructor() {
    this.#openssl(
      'req',
      '-x509',
      ...NEW_KEY,
      '-keyout',
      'ca.key',
      '-out',
      'ca.crt',
      '-days',
      '2',
      '-subj',
      '/CN=test-ca',
    );
  }

  /** Signed by this authority; `san` as openssl writes it, `DNS:node-a,IP:127.0.0.1`; '' : a common name only. */
  issue(commonName: string, san: string, days = 2): Certificate {
    const name = `leaf${++this.#serial}`;
    this.#openssl(
      'req',
      '-new',
      ...NEW_KEY,
      '-keyout',
      `${name}.key`,
      '-out',
      `${name}.csr`,
      '-subj',
      `/CN=${commonName}`,
    );
    writeFileSync(join(this.dir, `${name}.ext`), san === '' ? 'basicConstraints=CA:FALSE' : `subjectAltName=${san}`);
    const from = [
      '-in',
      `${name}.csr`,
      '-CA',
      'ca.crt',
      '-CAkey',
      'ca.key',
      '-CAcreateserial',
      '-extfile',
      `${name}.ext`,
    ];
    this.#openssl('x509', '-req', ...from, '-days', String(days), '-out', `${name}.crt`);
    return this.#read(name);
  }

  /** As a kubelet makes its own: signed by itself. */
  selfSigned(commonName: string, san: string): Certificate {
    const name = `self${++this.#serial}`;
    const to = ['-keyout', `${name}.key`, '-out', `${name}.crt`];
    this.#openssl(
      'req',
      '-x509',
      ...NEW_KEY,
      ...to,
      '-days',
      '2',
      '-subj',
      `/CN=${commonName}`,
      '-addext',
      `subjectAltName=${san}`,
    );
    return this.#read(name);
  }

  #read(name: string): Certificate {
    const certFile = join(this.dir, `${name}.crt`);
    const keyFile = join(this.dir, `${name}.key`);
    return { certFile, keyFile, cert: readFileSync(certFile, 'utf8'), key: readFileSync(keyFile, 'utf8') };
  }

  #openssl(...args: string[]): void {
    execFileSync('openssl', args, { cwd: this.dir, stdio: ['ignore', 'ignore', 'ignore'] });
  }
}

const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];
