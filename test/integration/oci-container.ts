import { execFileSync } from 'node:child_process';
import { randomBytes, randomUUID } from 'node:crypto';
import {
  closeSync,
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { CGROUP_ROOT, PODS } from './control-group.ts';

const BUSYBOX = '/usr/bin/busybox';

export interface ContainerOptions {
  /** What its first process executes. */
  readonly args: readonly string[];
  /** Process whose pid namespace it shares. */
  readonly pidNamespaceOf?: number;
  readonly podUid?: string;
}

/** A real container by runc, from a bundle with nothing but a static busybox; its cgroup lies where a kubelet puts it. */
export class OciContainer {
  readonly id = randomBytes(32).toString('hex');
  readonly podUid: string;
  readonly rootfs: string;
  readonly #bundle: string;
  readonly #state: string;

  private constructor(options: ContainerOptions) {
    this.podUid = options.podUid ?? randomUUID();
    this.#bundle = mkdtempSync(join(tmpdir(), 'kt-bundle-'));
    this.#state = join(this.#bundle, 'state');
    this.rootfs = join(this.#bundle, 'rootfs');
    for (const dir of ['bin', 'proc', 'dev', 'tmp']) mkdirSync(join(this.rootfs, dir), { recursive: true });
    copyFileSync(BUSYBOX, join(this.rootfs, 'bin/busybox'));
    symlinkSync('busybox', join(this.rootfs, 'bin/sh'));
    writeFileSync(join(this.#bundle, 'config.json'), JSON.stringify(this.#config(options)));
  }

  static start(options: ContainerOptions, prepare: (rootfs: string) => void = () => {}): OciContainer {
    const container = new OciContainer(options);
    prepare(container.rootfs);
    try {
      container.#runc('run', '--detach', '--bundle', container.#bundle, container.id);
    } catch (error) {
      container.remove();
      throw error;
    }
    return container;
  }

  get cgroupPath(): string {
    return `${PODS}/pod${this.podUid}/${this.id}`;
  }

  get cgroupId(): number {
    return statSync(join(CGROUP_ROOT, this.cgroupPath)).ino;
  }

  /** Its first process, as this namespace numbers it. */
  get pid(): number {
    const state: unknown = JSON.parse(this.#runc('state', this.id));
    const pid = typeof state === 'object' && state !== null && 'pid' in state ? state.pid : 0;
    if (typeof pid !== 'number' || pid === 0) throw new Error('the container does not run');
    return pid;
  }

  /** As `kubectl exec`: a process from outside; waits for its end. */
  exec(...args: string[]): void {
    this.#runc('exec', this.id, ...args);
  }

  remove(): void {
    try {
      this.#runc('delete', '--force', this.id);
    } catch {
      // It never ran.
    }
    rmSync(this.#bundle, { recursive: true, force: true });
  }

  // Its streams are files: a detached container keeps them, and a pipe would never end.
  #runc(...args: string[]): string {
    const outPath = join(this.#bundle, 'runc.out');
    const errPath = join(this.#bundle, 'runc.err');
    const out = openSync(outPath, 'w');
    const err = openSync(errPath, 'w');
    try {
      execFileSync('runc', ['--root', this.#state, ...args], { stdio: ['ignore', out, err] });
    } catch (error) {
      throw new Error(`runc ${args[0]}: ${readFileSync(errPath, 'utf8')}`, { cause: error });
    } finally {
      closeSync(out);
      closeSync(err);
    }
    return readFileSync(outPath, 'utf8');
  }

  #config(options: ContainerOptions): object {
    return {
      ociVersion: '1.0.2',
      process: { terminal: false, user: { uid: 0, gid: 0 }, args: options.args, env: ['PATH=/bin'], cwd: '/' },
      root: { path: 'rootfs', readonly: false },
      hostname: 'test',
      mounts: [{ destination: '/proc', type: 'proc', source: 'proc' }],
      linux: {
        cgroupsPath: this.cgroupPath,
        namespaces: [
          { type: 'mount' },
          { type: 'ipc' },
          { type: 'uts' },
          options.pidNamespaceOf === undefined
            ? { type: 'pid' }
            : { type: 'pid', path: `/proc/${options.pidNamespaceOf}/ns/pid` },
        ],
      },
    };
  }
}
