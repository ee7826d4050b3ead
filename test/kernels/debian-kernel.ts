import { execFile } from 'node:child_process';
import { mkdir, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

const run = promisify(execFile);

export type Suite = 'bullseye' | 'bookworm' | 'trixie' | 'sid';

export type Architecture = 'amd64' | 'arm64';

export interface DebianKernel {
  /** As `uname -r` says, e.g. `6.12.117+deb13-cloud-amd64`. */
  readonly release: string;
  /** Path of the bzImage, or of arm64's Image. */
  readonly image: string;
}

/** ${XDG_CACHE_HOME:-~/.cache}/kerntap-kernels: one folder per suite and architecture, kept between runs. */
export const cacheFolder = join(process.env['XDG_CACHE_HOME'] || join(homedir(), '.cache'), 'kerntap-kernels');

/**
 * The newest cloud kernel of a Debian release, from the mirror that this machine's apt already uses, checked by apt
 * against Debian's archive keys. Downloaded once; afterwards no network is needed. Remove the cache to get a newer one.
 */
export async function debianKernel(suite: Suite, architecture: Architecture = 'amd64'): Promise<DebianKernel> {
  const name = architecture === 'amd64' ? suite : `${suite}-${architecture}`;
  const folder = join(cacheFolder, name);
  const cached = await findKernel(folder);
  if (cached) return cached;

  const work = join(cacheFolder, `.${name}.${process.pid}`);
  await rm(work, { recursive: true, force: true });
  try {
    const apt = await privateApt(work, suite, architecture);
    await run('apt-get', [...apt, '-qq', 'update']);
    const { stdout } = await run('apt-cache', [...apt, 'depends', `linux-image-cloud-${architecture}`]);
    const image = /Depends: (linux-image-\d\S+-cloud-\S+)/.exec(stdout)?.[1];
    if (!image) throw new Error(`${name}: linux-image-cloud-${architecture} depends on no kernel image:\n${stdout}`);
    await run('apt-get', [...apt, '-qq', 'download', image], { cwd: work });
    const deb = (await readdir(work)).find((file) => file.endsWith('.deb'));
    if (!deb) throw new Error(`${name}: apt-get download ${image} left no package`);
    await run('dpkg-deb', ['-x', join(work, deb), join(work, 'package')]);
    await rm(folder, { recursive: true, force: true });
    await rename(join(work, 'package', 'boot'), folder);
  } finally {
    await rm(work, { recursive: true, force: true });
  }
  const kernel = await findKernel(folder);
  if (!kernel) throw new Error(`${name}: the kernel package holds no boot/vmlinuz-*`);
  return kernel;
}

async function findKernel(folder: string): Promise<DebianKernel | undefined> {
  const files = await readdir(folder).catch(() => []);
  const image = files.find((file) => file.startsWith('vmlinuz-'));
  return image ? { release: image.slice('vmlinuz-'.length), image: join(folder, image) } : undefined;
}

/** An apt of its own for one release, which leaves the machine's untouched: its options. */
export async function privateApt(work: string, suite: Suite, architecture: Architecture): Promise<string[]> {
  await Promise.all(
    ['lists/partial', 'archives/partial'].map((folder) => mkdir(join(work, folder), { recursive: true })),
  );
  const { main, security } = await mirrors();
  const keys = `[signed-by=/usr/share/keyrings/debian-archive-keyring.gpg arch=${architecture}]`;
  const sources = [`deb ${keys} ${main} ${suite} main`];
  if (suite !== 'sid') sources.push(`deb ${keys} ${security} ${suite}-security main`);
  await writeFile(join(work, 'sources.list'), `${sources.join('\n')}\n`);
  await writeFile(join(work, 'status'), '');
  const options = {
    'Dir::Etc::sourcelist': join(work, 'sources.list'),
    'Dir::Etc::sourceparts': '/dev/null',
    'Dir::State': work,
    'Dir::State::lists': join(work, 'lists'),
    'Dir::State::status': join(work, 'status'),
    'Dir::Cache': work,
    'Dir::Cache::archives': join(work, 'archives'),
    'APT::Architecture': architecture,
    // _apt cannot write below a home folder
    'APT::Sandbox::User': 'root',
    'Acquire::Retries': '3',
  };
  return Object.entries(options).flatMap(([name, value]) => ['-o', `${name}=${value}`]);
}

/** Where this machine gets Debian from; on another distribution, Debian's own address. */
async function mirrors(): Promise<{ main: string; security: string }> {
  const { stdout } = await run('apt-get', ['indextargets', '--format', '$(LABEL) $(REPO_URI)', 'Created-By: Packages']);
  const find = (label: string) =>
    stdout
      .split('\n')
      .find((line) => line.startsWith(`${label} `))
      ?.slice(label.length + 1);
  return {
    main: find('Debian') ?? 'http://deb.debian.org/debian/',
    security: find('Debian-Security') ?? 'http://deb.debian.org/debian-security/',
  };
}
