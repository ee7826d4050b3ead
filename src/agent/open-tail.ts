import { isatty } from 'node:tty';
import type { Logger } from 'pino';
import { JSON_LINES, prettyLines } from '../tail/render.ts';
import { openSink } from '../tail/stdout.ts';
import { Tail, type TailOptions } from '../tail/tail.ts';
import { BoundedWriter } from '../tail/writer.ts';
import type { AgentOptions } from './options.ts';
import { tailRulesOf } from './tap-settings.ts';

export interface TailParts extends Pick<TailOptions, 'encodeOne' | 'node' | 'wallOffsetNs'> {
  readonly options: Pick<AgentOptions, 'settings' | 'json' | 'config'>;
  /** The reader of stdout is gone. */
  readonly onClosed: () => void;
  readonly log: Logger;
}

/** The tail on stdout: for people at a terminal, else JSON. Undefined: the settings have none, and none can come. */
export function openTail({ options, onClosed, log, ...parts }: TailParts): Tail | undefined {
  const { settings, json, config } = options;
  if (!settings.tail.enabled && config === undefined) return undefined;
  const people = isatty(1) && !json;
  const renderer = people ? prettyLines(!process.env['NO_COLOR'], () => process.stdout.columns ?? 0) : JSON_LINES;
  const writer = new BoundedWriter(openSink(1), {
    onClosed: (error) => {
      log.info({ code: error.code }, 'the reader of stdout is gone');
      onClosed();
    },
  });
  return new Tail({ writer, ...parts, ...renderer, ...tailRulesOf(settings) });
}
