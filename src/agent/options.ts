export type OpenMode = 'off' | 'writes' | 'sensitive' | 'all';
export type UnixMode = 'off' | 'sensitive' | 'all';

/** What the agent is to do: checked values, from flags today and from a file later. Sizes in bytes. */
export interface AgentOptions {
  readonly version: string;
  /** Embedded collector on the loopback interface; no kubelet is needed. */
  readonly standalone: boolean;
  /** HOST:PORT of the collector; not used in standalone. */
  readonly collector: string;
  /** Where standalone's collector writes. */
  readonly outDir: string;
  /** Base URL; undefined: no kubelet is asked and nothing is held. */
  readonly kubelet: string | undefined;
  readonly kubeletTokenFile: string | undefined;
  readonly kubeletCaFile: string | undefined;
  /** By flag; undefined: as the environment or the service account's token says. */
  readonly nodeName: string | undefined;
  readonly clusterName: string;
  /** Names of KERNEL_KINDS. */
  readonly kinds: readonly string[];
  readonly openMode: OpenMode;
  readonly failedOpens: boolean;
  readonly unixMode: UnixMode;
  readonly argvCap: number;
  readonly tail: boolean;
  readonly tailKinds: readonly string[] | undefined;
  /** Lines a second; 0: no limit. */
  readonly tailRate: number;
  /** Bytes a second; 0: no limit. */
  readonly tailBytes: number;
  /** NDJSON also on a terminal. */
  readonly json: boolean;
  readonly ringBytes: number;
  readonly processRingBytes: number;
  readonly procDir: string;
  /** Mount point of the cgroup v2 hierarchy; undefined: found in procDir's mounts. */
  readonly cgroupDir: string | undefined;
  /** Folder of the BPF objects; undefined: the one that was built with this program. */
  readonly bpfDir: string | undefined;
}

/** The agent cannot run here: what is missing and what to do about it. Exit 1. */
export class StartError extends Error {
  override name = 'StartError';
  readonly remedy: string;

  constructor(message: string, remedy: string, options?: ErrorOptions) {
    super(message, options);
    this.remedy = remedy;
  }
}
