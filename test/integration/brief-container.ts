import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { PODS } from './control-group.ts';
import { type Act, parseAct, programPath } from './truth-program.ts';

/** Where a container runs and what shares its network. */
export interface BriefOptions {
  readonly podUid: string;
  /** Default: random. */
  readonly id?: string;
  /** Of its control group; default: as the kubelet's cgroupfs driver places it. */
  readonly cgroupPath?: string;
  /** Network namespace, by its file; default: the host's, as a hostNetwork pod has. */
  readonly netns?: string;
  /** IP:PORT that it connects to, or IP that it serves at. */
  readonly ip: string;
  readonly port: number;
  /** Default: act. */
  readonly part?: Part;
}

/** What it does: acts at once, waits to be told, or serves one connection. */
export type Part = 'act' | 'wait' | 'serve';

/** First program, second program, open, connect; or listen and accept. */
const ACTS = { act: 4, wait: 4, serve: 2 } as const;

/** What a container said it did. */
export interface BriefTruth {
  readonly podUid: string;
  readonly containerId: string;
  readonly mark: string;
  readonly acts: readonly Act[];
}

/** A container's id as runtimes make them. */
export function randomId(): string {
  return randomBytes(32).toString('hex');
}

/** The control group of a container as the kubelet's systemd driver names it. */
export function systemdPath(podUid: string, id: string): string {
  const slice = `kubepods-burstable-pod${podUid.replaceAll('-', '_')}.slice`;
  return `/kerntap-test/kubepods.slice/kubepods-burstable.slice/${slice}/cri-containerd-${id}.scope`;
}

// Reads container ids; the last line of each is of its own making. Beside the test's process, which would stand still
// while each of twenty at once is spawned, and with it what stands in the kubelet's place.
const LAUNCHER = `
while read -r id; do
  (runc --root "$0/state" run --bundle "$0/$id" "$id" </dev/null 2>"$0/$id/err"; echo "ended $id $?") &
done`;

/**
 * Real containers by runc that run test/truth/brief.c and end. They share one root file system with nothing else in it,
 * so that starting one costs little more than runc does.
 */
export class BriefContainers {
  readonly #dir = mkdtempSync(join(tmpdir(), 'kt-brief-'));
  readonly #rootfs = join(this.#dir, 'rootfs');
  readonly #launcher = spawn('sh', ['-c', LAUNCHER, this.#dir], { stdio: ['pipe', 'pipe', 'inherit'] });
  /** By mark and by id. */
  readonly #running = new Map<string, BriefContainer>();

  constructor() {
    for (const dir of ['proc', 'dev', 'work']) mkdirSync(join(this.#rootfs, dir), { recursive: true });
    copyFileSync(programPath('brief'), join(this.#rootfs, 'brief'));
    onLines(this.#launcher.stdout, (line) => {
      const [, id, code] = /^ended (\w+) (\d+)$/.exec(line) ?? [];
      if (id === undefined) this.#running.get(String(parseAct(line)['mark']))?.said(parseAct(line));
      else this.#running.get(id)?.end(Number(code));
    });
  }

  /** `ended` rejects where it did not do all its acts. */
  start(options: BriefOptions): BriefContainer {
    const container = new BriefContainer(this.#dir, this.#rootfs, options);
    if (container.part !== 'act') return container.spawn();
    this.#running.set(container.mark, container).set(container.id, container);
    this.#launcher.stdin.write(`${container.id}\n`);
    return container;
  }

  /** After the last container's end. */
  remove(): void {
    this.#launcher.stdin.end();
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

export class BriefContainer {
  readonly podUid: string;
  readonly id: string;
  readonly mark = `brief-${randomBytes(8).toString('hex')}`;
  readonly part: Part;
  /** It waits to be told, or for a connection at this port. */
  readonly ready: Promise<number>;
  readonly ended: Promise<BriefTruth>;
  readonly #dir: string;
  readonly #acts: Act[] = [];
  #child: ChildProcess | undefined;
  #isReady = (_port: number) => {};
  #resolve: (truth: BriefTruth) => void = () => {};
  #reject: (error: Error) => void = () => {};

  constructor(dir: string, rootfs: string, options: BriefOptions) {
    this.#dir = dir;
    this.part = options.part ?? 'act';
    this.podUid = options.podUid;
    this.id = options.id ?? randomId();
    mkdirSync(join(dir, this.id));
    writeFileSync(join(dir, this.id, 'config.json'), JSON.stringify(this.#config(rootfs, options)));
    this.ready = new Promise((resolve) => {
      this.#isReady = resolve;
    });
    this.ended = new Promise((resolve, reject) => {
      this.#resolve = resolve;
      this.#reject = reject;
    });
  }

  /** Starts it as a child of the test. */
  spawn(): this {
    const args = ['--root', join(this.#dir, 'state'), 'run', '--bundle', join(this.#dir, this.id), this.id];
    this.#child = spawn('runc', args, { stdio: ['pipe', 'pipe', 'inherit'] });
    onLines(this.#child.stdout, (line) => this.said(parseAct(line)));
    this.#child.on('close', (code) => this.end(code ?? -1));
    return this;
  }

  /** Tells one that waits to act. */
  go(): void {
    this.#child?.stdin?.end('!');
  }

  said(act: Act): void {
    if (act.act === 'ready' || act.act === 'listen') this.#isReady(Number(act['local_port'] ?? 0));
    if (act.act !== 'ready') this.#acts.push(act);
  }

  end(code: number): void {
    const acts = this.#acts;
    if (code === 0 && acts.length === ACTS[this.part]) {
      this.#resolve({ podUid: this.podUid, containerId: this.id, mark: this.mark, acts });
      rmSync(join(this.#dir, this.id), { recursive: true });
    } else {
      this.#reject(new Error(`container ${this.id} ended with ${code} after ${acts.length} acts: see ${this.#dir}`));
    }
  }

  #config(rootfs: string, options: BriefOptions): object {
    const network = options.netns === undefined ? [] : [{ type: 'network', path: options.netns }];
    const parts = {
      act: [this.mark, options.ip, String(options.port)],
      wait: ['wait', this.mark, options.ip, String(options.port)],
      serve: ['serve', this.mark, options.ip],
    };
    const args = ['/brief', ...parts[this.part]];
    return {
      ociVersion: '1.0.2',
      process: { terminal: false, user: { uid: 0, gid: 0 }, args, env: [], cwd: '/work' },
      root: { path: rootfs, readonly: false },
      mounts: [
        { destination: '/proc', type: 'proc', source: 'proc' },
        { destination: '/dev', type: 'tmpfs', source: 'tmpfs' },
      ],
      linux: {
        cgroupsPath: options.cgroupPath ?? `${PODS}/pod${this.podUid}/${this.id}`,
        namespaces: [{ type: 'mount' }, { type: 'pid' }, { type: 'ipc' }, ...network],
      },
    };
  }
}

function onLines(stream: Readable | null, onLine: (line: string) => void): void {
  let rest = '';
  stream?.setEncoding('latin1');
  stream?.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
}
