import type { Exposition } from './exposition.ts';
import type { TLS_METRICS } from './metrics.ts';
import type { TlsReadings } from './readings.ts';

/** What the certificates of a process tell; nothing where it speaks no TLS. */
export function addTls(out: Pick<Exposition<typeof TLS_METRICS>, 'add'>, tls: TlsReadings): void {
  for (const [peer, { ownNotAfterMs, authorityNotAfterMs, applied, refused, lastSuccessful }] of tls) {
    for (const [certificate, ms] of [
      ['own', ownNotAfterMs],
      ['authority', authorityNotAfterMs],
    ] as const) {
      if (ms !== undefined) out.add('kerntap_certificate_expiry_timestamp_seconds', ms / 1000, peer, certificate);
    }
    out.add('kerntap_certificate_reloads_total', applied, peer, 'applied');
    out.add('kerntap_certificate_reloads_total', refused, peer, 'refused');
    out.add('kerntap_certificate_last_reload_successful', lastSuccessful ? 1 : 0, peer);
  }
}
