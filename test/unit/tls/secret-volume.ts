import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Certificate } from '../kubernetes/certificates.ts';

/** A Secret of type kubernetes.io/tls as the kubelet mounts it: links to `..data`, which one rename swaps. */
export class SecretVolume {
  readonly dir = mkdtempSync(join(tmpdir(), 'kerntap-secret-'));
  readonly caFile = join(this.dir, 'ca.crt');
  readonly certFile = join(this.dir, 'tls.crt');
  readonly keyFile = join(this.dir, 'tls.key');
  #generation = 0;

  constructor(ca: string, certificate: Pick<Certificate, 'cert' | 'key'>) {
    this.swap(ca, certificate);
    for (const name of ['ca.crt', 'tls.crt', 'tls.key']) symlinkSync(join('..data', name), join(this.dir, name));
  }

  /** What the kubelet does after an edit of the Secret. */
  swap(ca: string, { cert, key }: Pick<Certificate, 'cert' | 'key'>): void {
    const next = `..generation-${++this.#generation}`;
    mkdirSync(join(this.dir, next));
    writeFileSync(join(this.dir, next, 'ca.crt'), ca);
    writeFileSync(join(this.dir, next, 'tls.crt'), cert);
    writeFileSync(join(this.dir, next, 'tls.key'), key);
    symlinkSync(next, join(this.dir, '..data_tmp'));
    renameSync(join(this.dir, '..data_tmp'), join(this.dir, '..data'));
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
