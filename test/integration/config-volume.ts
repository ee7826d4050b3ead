import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A folder as the kubelet mounts a ConfigMap: files are links to `..data`, a link to a folder that one rename swaps. */
export class ConfigVolume {
  readonly dir = mkdtempSync(join(tmpdir(), 'kerntap-volume-'));
  readonly file = join(this.dir, 'kerntap.yaml');
  #version = 0;

  /** `text`: without its apiVersion. */
  constructor(text: string) {
    this.swap(text);
    symlinkSync('..data/kerntap.yaml', this.file);
  }

  swap(text: string): void {
    this.replace(`apiVersion: kerntap.dev/v1alpha1\n${text}`);
  }

  /** With these very bytes. */
  replace(content: string | Uint8Array): void {
    const folder = `..version-${++this.#version}`;
    mkdirSync(join(this.dir, folder));
    writeFileSync(join(this.dir, folder, 'kerntap.yaml'), content);
    symlinkSync(folder, join(this.dir, '..data_tmp'));
    renameSync(join(this.dir, '..data_tmp'), join(this.dir, '..data'));
  }

  /** As when an optional ConfigMap is deleted. */
  empty(): void {
    unlinkSync(join(this.dir, '..data'));
  }

  remove(): void {
    rmSync(this.dir, { recursive: true, force: true });
  }
}
