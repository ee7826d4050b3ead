import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

/** One entry of a layer; directories are made as needed. */
export type LayerEntry =
  | { readonly path: string; readonly content: Uint8Array; readonly mode?: number }
  | { readonly path: string; readonly link: string };

export interface ImageOptions {
  /** Fully qualified, docker.io/library/x:tag. */
  readonly name: string;
  readonly entries: readonly LayerEntry[];
  readonly command: readonly string[];
}

export interface Image {
  /** sha256:... of the configuration: the image id, which runtimes report where there is no manifest of a registry. */
  readonly id: string;
}

/** Writes a one-layer image as a docker-archive, which docker, containerd, podman and kind load. Reproducible. */
export function writeImage(file: string, { name, entries, command }: ImageOptions): Image {
  const layer = tar(entries);
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const config = Buffer.from(
    JSON.stringify({
      architecture,
      os: 'linux',
      config: { Cmd: command, Env: ['PATH=/bin'] },
      rootfs: { type: 'layers', diff_ids: [digest(layer)] },
    }),
  );
  const manifest = [{ Config: 'config.json', RepoTags: [name], Layers: ['layer.tar'] }];
  const archive = tar([
    { path: 'manifest.json', content: Buffer.from(JSON.stringify(manifest)) },
    { path: 'config.json', content: config },
    { path: 'layer.tar', content: layer },
  ]);
  writeFileSync(file, archive);
  return { id: digest(config) };
}

/** /bin with a static busybox and its applets. Throws where this machine has none. */
export function busyboxEntries(): LayerEntry[] {
  const busybox = [process.env['TEST_BUSYBOX'], '/bin/busybox', '/usr/bin/busybox'].find(
    (file) => file && existsSync(file),
  );
  if (busybox === undefined || !isStatic(readFileSync(busybox))) {
    throw new Error('no static busybox: install the package busybox-static, or name one in TEST_BUSYBOX');
  }
  const applets = execFileSync(busybox, ['--list'], { encoding: 'utf8' }).split('\n');
  const links = applets.filter((applet) => applet !== '' && applet !== 'busybox');
  return [
    { path: 'bin/busybox', content: readFileSync(busybox), mode: 0o755 },
    ...links.map((applet) => ({ path: `bin/${applet}`, link: 'busybox' })),
  ];
}

// A static ELF file has no PT_INTERP (3) among its program headers (elf(5), 64 bit, little-endian).
function isStatic(elf: Buffer): boolean {
  const offset = Number(elf.readBigUInt64LE(32));
  const size = elf.readUInt16LE(54);
  const count = elf.readUInt16LE(56);
  return !Array.from({ length: count }, (_, i) => elf.readUInt32LE(offset + i * size)).includes(3);
}

function digest(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function tar(entries: readonly LayerEntry[]): Buffer {
  const blocks: Buffer[] = [];
  const made = new Set<string>();
  for (const entry of entries) {
    const parts = entry.path.split('/').slice(0, -1);
    for (let i = 1; i <= parts.length; i++) {
      const directory = `${parts.slice(0, i).join('/')}/`;
      if (!made.has(directory)) blocks.push(header(directory, '5', 0o755, 0, ''));
      made.add(directory);
    }
    if ('link' in entry) {
      blocks.push(header(entry.path, '2', 0o777, 0, entry.link));
      continue;
    }
    const { content } = entry;
    blocks.push(header(entry.path, '0', entry.mode ?? 0o644, content.length, ''), Buffer.from(content));
    blocks.push(Buffer.alloc((512 - (content.length % 512)) % 512));
  }
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

// POSIX ustar (tar(5)). Times and owners are 0: the same content gives the same digest.
function header(path: string, type: string, mode: number, size: number, link: string): Buffer {
  if (path.length > 100 || link.length > 100) throw new RangeError(`name too long for this tar: ${path}`);
  const block = Buffer.alloc(512);
  const octal = (value: number, digits: number) => `${value.toString(8).padStart(digits, '0')}\0`;
  block.write(path, 0);
  block.write(octal(mode, 7) + octal(0, 7) + octal(0, 7) + octal(size, 11) + octal(0, 11), 100);
  block.write(`        ${type}`, 148);
  block.write(link, 157);
  block.write('ustar\x0000', 257);
  block.write(
    `${block
      .reduce((sum, byte) => sum + byte, 0)
      .toString(8)
      .padStart(6, '0')}\0 `,
    148,
  );
  return block;
}
