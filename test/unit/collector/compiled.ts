import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { cpSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';

const ROOT = resolve(import.meta.dirname, '../../..');

/** The collector's command compiled into a folder of its own, so that tests can run it as a process and kill it. */
export class CompiledCollector {
  readonly #folder: string;

  constructor() {
    this.#folder = mkdtempSync(join(tmpdir(), 'kerntap-compiled-'));
    symlinkSync(join(ROOT, 'node_modules'), join(this.#folder, 'node_modules'));
    const config = {
      extends: join(ROOT, 'tsconfig.json'),
      compilerOptions: { rootDir: ROOT, outDir: '.', sourceMap: false },
      include: [join(ROOT, 'src/cli/collector.ts')],
    };
    writeFileSync(join(this.#folder, 'tsconfig.json'), JSON.stringify(config));
    writeFileSync(join(this.#folder, 'package.json'), '{"type":"module"}');
    execFileSync(join(ROOT, 'node_modules/.bin/tsc'), ['-p', this.#folder], { stdio: 'inherit' });
    cpSync(join(ROOT, 'proto/kerntap'), join(this.#folder, 'proto/kerntap'), { recursive: true });
  }

  #command(args: string[]): string[] {
    const script = `const { run } = await import(${JSON.stringify(join(this.#folder, 'src/cli/collector.js'))});
      run(process.argv.slice(1)).then((code) => process.exit(code), (error) => {
        console.error(String(error)); process.exit(error.name === 'UsageError' ? 2 : 1); });`;
    return [process.execPath, '--input-type=module', '-e', script, '--', ...args];
  }

  run(...args: string[]): CollectorProcess {
    const [file = '', ...rest] = this.#command(args);
    return new CollectorProcess(spawn(file, rest));
  }

  /** With a limit of open files. */
  runLimited(files: number, ...args: string[]): CollectorProcess {
    return new CollectorProcess(spawn('sh', ['-c', `ulimit -n ${files} && exec "$@"`, 'sh', ...this.#command(args)]));
  }

  remove(): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }
}

export class CollectorProcess {
  readonly #child: ChildProcess;
  readonly exit: Promise<{ code: number | null; signal: string | null }>;
  stderr = '';
  stdout = '';

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stderr?.on('data', (chunk) => {
      this.stderr += chunk;
    });
    child.stdout?.on('data', (chunk) => {
      this.stdout += chunk;
    });
    this.exit = new Promise((done) => child.once('close', (code, signal) => done({ code, signal })));
  }

  get pid(): number | undefined {
    return this.#child.pid;
  }

  /** What it listens on. Rejects when it exits before. */
  async address(): Promise<string> {
    const listening = (): string | undefined => this.stderr.match(/"address":"([^"]+)"/)?.[1];
    return new Promise((done, fail) => {
      const check = (): void => {
        const address = listening();
        if (address !== undefined) done(address);
      };
      this.#child.stderr?.on('data', check);
      void this.exit.then(() => fail(new Error(`exited: ${this.stderr}`)));
      check();
    });
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal);
  }
}
