import type { Exposition } from './exposition.ts';
import type { TLS_METRICS } from './metrics.ts';
import type { TlsReading } from './readings.ts';

/** What the certificates of a process tell; nothing where it speaks no TLS. */
export function addTls(out: Pick<Exposition<typeof TLS_METRICS>, 'add'>, tls: TlsReading | undefined): void {
  if (tls === undefined) return;
  const { ownNotAfterMs, authorityNotAfterMs, applied, refused, lastSuccessful } = tls;
  for (const [certificate, ms] of [
    ['own', ownNotAfterMs],
    ['authority', authorityNotAfterMs],
  ] as const) {
    if (ms !== undefined) out.add('kerntap_certificate_expiry_timestamp_seconds', ms / 1000, certificate);
  }
  out.add('kerntap_certificate_reloads_total', applied, 'applied');
  out.add('kerntap_certificate_reloads_total', refused, 'refused');
  out.add('kerntap_certificate_last_reload_successful', lastSuccessful ? 1 : 0);
}
