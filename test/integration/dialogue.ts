import type { ChildProcess } from 'node:child_process';
import { until } from './condition.ts';
import type { ControlGroup } from './control-group.ts';
import { type Act, parseAct, type RunOptions, startTruth } from './truth-program.ts';

/** A program that obeys lines on stdin and answers with acts. */
export class Dialogue {
  readonly acts: Act[] = [];
  readonly #child: ChildProcess;

  private constructor(group: ControlGroup, name: string, options: RunOptions) {
    this.#child = startTruth(group, name, options, (line) => this.acts.push(parseAct(line)));
  }

  /** Starts it; resolves when it has said `ready` (nothing: when its exec was said). */
  static async start(group: ControlGroup, name: string, options: RunOptions, ready = 'start'): Promise<Dialogue> {
    const dialogue = new Dialogue(group, name, options);
    await dialogue.#answer(ready, 0);
    return dialogue;
  }

  get pid(): number {
    const pid = this.acts[0]?.pid;
    if (pid === undefined) throw new Error('it did not start');
    return pid;
  }

  /** Gives a command; the acts it answers with, up to the one called `last`. */
  async tell(command: string, last: string): Promise<Act[]> {
    const from = this.acts.length;
    this.#child.stdin?.write(`${command}\n`);
    return await this.#answer(last, from);
  }

  async #answer(last: string, from: number): Promise<Act[]> {
    await until(
      () =>
        `'${last}'; said: ${this.acts
          .slice(from)
          .map((act) => act.act)
          .join(' ')}`,
      () => this.#child.exitCode !== null || this.acts.slice(from).some((act) => act.act === last),
    );
    const answers = this.acts.slice(from);
    if (!answers.some((act) => act.act === last))
      throw new Error(`it ended (${this.#child.exitCode}) before '${last}'`);
    return answers;
  }

  /** Takes it off its CPU until `resume`. */
  stop(): void {
    process.kill(this.pid, 'SIGSTOP');
  }

  resume(): void {
    process.kill(this.pid, 'SIGCONT');
  }

  /** Ends its stdin, and with it the program. */
  async end(): Promise<void> {
    if (this.acts.length > 0 && this.#child.exitCode === null) process.kill(this.pid, 'SIGCONT');
    this.#child.stdin?.end();
    await until('its end', () => this.#child.exitCode !== null);
  }
}
