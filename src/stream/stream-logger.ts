/** pino's calls, as far as streams and spool need them. */
export interface StreamLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}

/**
 * The stream tries again and again; its log says only what changed: a warning is told once until something else is said.
 */
export function onceUntilChange(log: StreamLogger): StreamLogger {
  let last = '';
  return {
    info: (fields: object, message: string) => {
      last = '';
      log.info(fields, message);
    },
    warn: (fields: object, message: string) => {
      const state = `${message} ${'reason' in fields ? String(fields.reason) : ''}`;
      if (state === last) return;
      last = state;
      log.warn(fields, message);
    },
  };
}
