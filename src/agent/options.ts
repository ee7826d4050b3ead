import type { ConfigContext } from '../config/load.ts';
import type { Settings } from '../config/schema.ts';
import type { ClientTls } from '../tls/client-settings.ts';

/** What the agent is to do: checked values, from flags and the configuration file. Sizes in bytes. */
export interface AgentOptions {
  readonly version: string;
  /** Embedded collector on the loopback interface; no kubelet is needed. */
  readonly standalone: boolean;
  /** HOST:PORT of the collector's replicas, in their order; none in standalone, or where OTLP is the only way out. */
  readonly endpoints: readonly string[];
  /** Undefined: the stream to it is not encrypted. */
  readonly tls: ClientTls | undefined;
  /** Where standalone's collector writes. */
  readonly outDir: string;
  /** Base URL; undefined: HTTPS /pods is not asked. */
  readonly kubelet: string | undefined;
  /** Folder of the Pods API's socket; undefined: it is not asked. With neither of them nothing is held. */
  readonly podsApiDir: string | undefined;
  readonly kubeletTokenFile: string | undefined;
  readonly kubeletCaFile: string | undefined;
  readonly kubeletInsecure: boolean;
  /** By flag or file; undefined: as the environment or the service account's token says. */
  readonly nodeName: string | undefined;
  readonly clusterName: string;
  /** What may change while it runs, as it is at the start; what is above came from the same sources. */
  readonly settings: Settings;
  /** The file that the settings follow. */
  readonly config: ConfigFile | undefined;
  /** Where metrics and health are served, HOST:PORT or :PORT; undefined: nowhere. */
  readonly metricsListen: string | undefined;
  /** Where `kerntap tail` and others ask this agent; undefined: nowhere. */
  readonly socketPath: string | undefined;
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

/** A configuration file and how it becomes settings. */
export interface ConfigFile {
  readonly file: string;
  /** Of the content that the first settings came from. */
  readonly hash: string;
  readonly context: ConfigContext;
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
