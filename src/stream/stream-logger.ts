/** pino's calls, as far as streams and spool need them. */
export interface StreamLogger {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
}
