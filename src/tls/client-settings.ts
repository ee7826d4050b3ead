/** TLS of a client, as settings with one name for each file say it. */
import type { NamedFile, TlsPaths } from './material.ts';

export interface ClientTlsSettings {
  /** auto: on where one of the others is set. */
  readonly mode: 'auto' | 'on' | 'off';
  readonly caFile: string | undefined;
  readonly certFile: string | undefined;
  readonly keyFile: string | undefined;
  /** Undefined: the host of the endpoint. */
  readonly serverName: string | undefined;
}

export interface ClientTls {
  readonly paths: TlsPaths;
  readonly serverName: string | undefined;
  /** The section of the settings, for messages: collector.tls. */
  readonly section: string;
}

/** Undefined: no TLS. A certificate without its key, or the reverse, is for the settings' own checks. */
export function clientTls(settings: ClientTlsSettings, section: string): ClientTls | undefined {
  const { mode, caFile, certFile, keyFile, serverName } = settings;
  const any = caFile ?? certFile ?? keyFile ?? serverName;
  if (mode === 'off' || (mode === 'auto' && any === undefined)) return undefined;
  const named = (key: string, path: string | undefined): NamedFile | undefined =>
    path === undefined ? undefined : { path, setting: `${section}.${key}` };
  const paths = { ca: named('caFile', caFile), cert: named('certFile', certFile), key: named('keyFile', keyFile) };
  return { paths, serverName, section };
}
