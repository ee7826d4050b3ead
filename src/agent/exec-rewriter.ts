/**
 * Rewrites process.exec records before anything else sees them: secrets in the command line are replaced, and of the
 * environment only what is allowed stays. Execs are rare enough for strings; every other record passes untouched.
 */
import { EXEC, HEAD, KT_ARGV_CAP_MAX, KT_ENV_CAP_MAX, KT_RECORD_MAX, PATH } from '../kernel/layout.gen.ts';
import type { Redaction } from './redaction.ts';

export interface ExecRules {
  /** Undefined: command lines stay as they are. */
  readonly redaction: Redaction | undefined;
  /** Names of variables that stay; `*` at the end stands for any rest. */
  readonly allowEnv: readonly string[];
}

const BODY = HEAD.SIZE;

export class ExecRewriter {
  /** Holds the last rewritten record, from its start. */
  readonly buf: Uint8Array = new Uint8Array(KT_RECORD_MAX);
  readonly view: DataView = new DataView(this.buf.buffer);
  /** Records in which a secret was replaced. */
  redacted = 0;
  #rules: ExecRules;

  constructor(rules: ExecRules) {
    this.#rules = rules;
  }

  /** Other rules from now on. */
  configure(rules: ExecRules): void {
    this.#rules = rules;
  }

  /** The block of a command line, arguments NUL-separated, without its secrets. */
  commandLine(block: string): string {
    return this.#argv(block);
  }

  /** Bytes of the record as it now stands in `buf`; 0: it stays as it is, or its lengths do not add up. */
  rewrite(record: Uint8Array, view: DataView, offset: number, length: number): number {
    const fixed = BODY + EXEC.SIZE;
    if (length < fixed || length > KT_RECORD_MAX) return 0;
    const u16 = (at: number): number => view.getUint16(offset + BODY + at, true);
    const argvLength = view.getUint32(offset + BODY + EXEC.argv_len, true);
    const envLength = view.getUint32(offset + BODY + EXEC.env_len, true);
    const paths = [EXEC.exe, EXEC.cwd].map((path) => u16(path + PATH.comps_len) + u16(path + PATH.str_len));
    const strings = u16(EXEC.filename_len) + u16(EXEC.interp_len) + u16(EXEC.tty_len);
    const argvAt = fixed + (paths[0] ?? 0) + (paths[1] ?? 0) + strings;
    if (argvAt + argvLength + envLength !== length) return 0;

    const bytes = Buffer.from(record.buffer, record.byteOffset + offset, length);
    const argv = bytes.toString('latin1', argvAt, argvAt + argvLength);
    const env = bytes.toString('latin1', argvAt + argvLength, length);
    const newArgv = this.#argv(argv);
    const newEnv = env === '' ? env : this.#env(env);
    if (newArgv !== argv) this.redacted++;
    else if (newEnv === env) return 0;

    this.buf.set(bytes.subarray(0, argvAt));
    const out = Buffer.from(this.buf.buffer);
    // What was cut stays marked as cut, and the original length does not tell how long a secret was.
    const written = out.write(newArgv.slice(0, KT_ARGV_CAP_MAX), argvAt, 'latin1');
    const original = view.getUint32(offset + BODY + EXEC.argv_orig_len, true);
    const missing = Math.max(0, original - argvLength) + (newArgv.length - written);
    const envWritten = out.write(newEnv.slice(0, KT_ENV_CAP_MAX), argvAt + written, 'latin1');
    const total = argvAt + written + envWritten;
    this.view.setUint32(HEAD.len, total, true);
    this.view.setUint32(BODY + EXEC.argv_len, written, true);
    if (newArgv !== argv) this.view.setUint32(BODY + EXEC.argv_orig_len, written + missing, true);
    this.view.setUint32(BODY + EXEC.env_len, envWritten, true);
    return total;
  }

  #argv(block: string): string {
    const { redaction } = this.#rules;
    if (redaction === undefined || block === '' || !redaction.mayHold(block)) return block;
    const ended = block.endsWith('\0');
    const args = (ended ? block.slice(0, -1) : block).split('\0');
    const replaced = redaction.args(args);
    return replaced.every((arg, index) => arg === args[index]) ? block : replaced.join('\0') + (ended ? '\0' : '');
  }

  #env(block: string): string {
    const { allowEnv, redaction } = this.#rules;
    const kept = block.split('\0').filter((entry) => {
      const end = entry.indexOf('=');
      // The last one may have been cut within its name.
      if (end <= 0) return false;
      const name = entry.slice(0, end);
      return allowEnv.some((rule) => (rule.endsWith('*') ? name.startsWith(rule.slice(0, -1)) : name === rule));
    });
    return kept.map((entry) => `${redaction === undefined ? entry : redaction.argument(entry)}\0`).join('');
  }
}
