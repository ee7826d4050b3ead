import type { Loss, Sparse } from '../../proto/contract.ts';
import type { LossRecord } from '../telemetry/losses.ts';

/** A loss as kerntap.loss says it. */
export function lossMessage({
  count,
  total,
  firstSeq,
  lastSeq,
  ofRun,
  ...rest
}: Omit<LossRecord, 'stage'> & { readonly stage: string }): Sparse<Loss> {
  return {
    ...rest,
    count: BigInt(count),
    total: BigInt(total),
    firstSeq: BigInt(firstSeq),
    lastSeq: BigInt(lastSeq),
    ofRunId: ofRun === undefined ? undefined : Buffer.from(ofRun, 'hex'),
  };
}
