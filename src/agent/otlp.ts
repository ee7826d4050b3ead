/** The way to an OTLP receiver, as the settings say it. */
import type { Logger } from 'pino';
import type { NodeFacts } from '../../proto/contract.ts';
import type { Settings } from '../config/schema.ts';
import { Endpoints, plaintext } from '../stream/endpoints.ts';
import { readHeaders } from '../stream/otlp/headers.ts';
import { MAX_RECORDS } from '../stream/otlp/log-records.ts';
import { OtlpSink } from '../stream/otlp/sink.ts';
import { onceUntilChange } from '../stream/stream-logger.ts';
import { clientTls } from '../tls/client-settings.ts';
import { CollectorChannel } from './collector-channel.ts';

export interface OtlpParts {
  readonly settings: Settings['stream']['otlp'];
  readonly node: () => NodeFacts;
  readonly version: string;
  readonly log: Logger;
}

export interface OtlpWay {
  readonly sink: OtlpSink;
  /** Undefined: no TLS. */
  readonly channel: CollectorChannel | undefined;
}

/** Undefined: the settings name no receiver. */
export function openOtlp({ settings, node, version, log }: OtlpParts): OtlpWay | undefined {
  const { endpoint, headers, compression, timeoutSeconds, concurrency, maxBatchBytes, queueBytes } = settings;
  if (endpoint === undefined) return undefined;
  const addresses = [endpoint];
  const tls = clientTls(settings.tls, 'stream.otlp.tls');
  const channel = tls && new CollectorChannel({ addresses, tls, log: log.child({ part: 'otlp' }) });
  const sink = new OtlpSink({
    dialer: channel?.dialer ?? new Endpoints({ addresses, security: plaintext('stream.otlp.tls') }),
    exporting: {
      node,
      version,
      communityIdSeed: settings.communityId ? settings.communityIdSeed : null,
      maxRequestBytes: maxBatchBytes,
      maxRecords: MAX_RECORDS,
    },
    log: onceUntilChange(log.child({ part: 'otlp' })),
    headers: () => readHeaders(headers, process.env),
    compression,
    timeoutMs: timeoutSeconds * 1000,
    concurrency,
    queueBytes,
  });
  return { sink, channel };
}
