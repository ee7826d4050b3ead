/** CPU time and memory of this process, as /proc tells them. */
export interface ProcessReading {
  readonly version: string;
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** Since 1970. */
  readonly startSeconds: number;
}

const startSeconds = Math.round(Date.now() / 1000 - process.uptime());

export function readProcess(version: string): ProcessReading {
  const { user, system } = process.cpuUsage();
  return { version, cpuSeconds: (user + system) / 1e6, residentBytes: process.memoryUsage.rss(), startSeconds };
}
