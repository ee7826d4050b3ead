export interface Owner {
  /** '' : the pod has no controller. */
  readonly kind: string;
  readonly name: string;
  /** Computed from names, not read. */
  readonly derived: boolean;
}

/** The controller among a pod's ownerReferences. */
export interface Controller {
  /** '' : the pod has none. */
  readonly kind: string;
  readonly name: string;
  readonly uid: string;
}

/** How long after the scheduled minute a CronJob's pod may have been made (late start, retries) to be told as such. */
const CRON_WINDOW_MINUTES = 60;

/**
 * The workload behind a pod, as far as its own record tells, without asking the API server: its controller; a
 * ReplicaSet named after the pod's template hash is a Deployment's (deployment controller), a Job
 * whose name ends in the minute of its schedule is a CronJob's (cronjob controller v2: minutes since 1970).
 */
export function ownerOf(
  { kind, name }: Controller,
  labels: Readonly<Record<string, string>>,
  creationTimestamp: unknown,
): Owner {
  if (kind === '' || name === '') return { kind: '', name: '', derived: false };
  const hash = labels['pod-template-hash'];
  if (kind === 'ReplicaSet' && hash !== undefined && hash !== '' && name.endsWith(`-${hash}`)) {
    const deployment = name.slice(0, -hash.length - 1);
    if (deployment !== '') return { kind: 'Deployment', name: deployment, derived: true };
  }
  if (kind === 'Job') {
    const cronJob = cronJobOf(name, creationTimestamp);
    if (cronJob !== '') return { kind: 'CronJob', name: cronJob, derived: true };
  }
  return { kind, name, derived: false };
}

function cronJobOf(job: string, creationTimestamp: unknown): string {
  const [, name = '', suffix = ''] = /^(.+)-(\d{8,10})$/.exec(job) ?? [];
  const created = typeof creationTimestamp === 'string' ? Date.parse(creationTimestamp) / 60_000 : Number.NaN;
  const lateMinutes = created - Number(suffix);
  return name !== '' && lateMinutes >= 0 && lateMinutes <= CRON_WINDOW_MINUTES ? name : '';
}
