// What the spool lost, as it tells it.

export type SpoolLossReason =
  /** The oldest segment made room for newer events. */
  | 'evicted'
  /** Likewise, and it had been on a stream: a collector may have it. */
  | 'evicted_unconfirmed'
  /** Its bytes are not those that were written. */
  | 'corrupt';

export interface SpoolLoss {
  /** In hex: the run whose events they were. */
  readonly run: string;
  readonly reason: SpoolLossReason;
  /** By this program's numbers of kinds; slot 0: not known. */
  readonly kinds: ArrayLike<number>;
  /** They are among these; 0: not known. */
  readonly firstSeq: number;
  readonly lastSeq: number;
  /** The count is a lower bound. */
  readonly unaccountable: boolean;
}

/** Nothing says how many events stood in bytes that are spoilt: one at least. */
export const ONE_OF_NO_KIND: ArrayLike<number> = [1];
