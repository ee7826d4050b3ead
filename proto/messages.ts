// The decoded shapes of kerntap/v1/events.proto, where every field's unit, source and absence is written down.
// 64-bit numbers are bigint. Absent: 0, 0n, '', empty bytes, []; a message or a field marked `optional` is null.
// Enums are numbers: a newer agent may send values that are not named here.

export interface PublishRequest {
  readonly hello: Hello | null;
  readonly batch: Batch | null;
}

export interface PublishResponse {
  readonly ackedStreamSeq: bigint;
  readonly rejected: readonly Rejected[];
}

export interface Rejected {
  readonly streamSeq: bigint;
  readonly reason: string;
  /** 0n: the whole batch. */
  readonly events: bigint;
}

export interface Hello {
  readonly schema: number;
  readonly node: NodeFacts | null;
  readonly agentVersion: string;
}

export interface NodeFacts {
  readonly runId: Uint8Array;
  readonly bootId: string;
  readonly clusterName: string;
  readonly nodeName: string;
  readonly hostName: string;
  readonly kernelRelease: string;
  readonly architecture: string;
  readonly machineId: string;
  readonly nodeUid: string;
  readonly nodeIps: readonly string[];
  readonly clusterUid: string;
  readonly hostId: string;
  readonly cloudProvider: string;
  readonly cloudAccountId: string;
  readonly cloudRegion: string;
  readonly cloudAvailabilityZone: string;
  readonly osDescription: string;
  /** By the field's name in the contract. */
  readonly sources: Readonly<Record<string, string>>;
}

export interface Batch {
  readonly streamSeq: bigint;
  readonly runId: Uint8Array;
  readonly firstSeq: bigint;
  readonly baseTimeNs: bigint;
  readonly wallOffsetNs: bigint;
  readonly workloads: readonly Workload[];
  readonly processes: readonly Process[];
  readonly events: readonly Event[];
  readonly node: NodeFacts | null;
}

export interface Workload {
  readonly cgroupId: bigint;
  readonly cgroupPath: Uint8Array;
  readonly state: number;
  readonly metadataReason: string;
  readonly containerId: string;
  readonly containerName: string;
  readonly containerRuntime: string;
  readonly imageName: string;
  readonly imageDigest: string;
  readonly podUid: string;
  readonly podName: string;
  readonly namespaceName: string;
  readonly podLabels: Readonly<Record<string, string>>;
  readonly serviceAccount: string;
  readonly ownerKind: string;
  readonly ownerName: string;
  readonly ownerDerived: boolean;
}

export interface Process {
  readonly workload: number;
  readonly tgid: number;
  readonly startTimeNs: bigint;
  readonly execId: bigint;
  readonly parentTgid: number;
  readonly parentStartTimeNs: bigint;
  readonly parentExecId: bigint;
  readonly nsTgid: number;
  readonly uid: number;
  readonly gid: number;
  readonly euid: number;
  readonly mntNs: number;
  readonly netNs: number;
  readonly comm: Uint8Array;
  readonly entry: number;
  readonly exe: Uint8Array;
  readonly exeUnknown: boolean;
  readonly imageTgid: number;
  readonly imageStartTimeNs: bigint;
}

export interface Event {
  readonly timeDeltaNs: bigint;
  readonly process: number;
  readonly tid: number;
  readonly actor: number;
  readonly tier: number;
  readonly existing: boolean;
  readonly sampleWeight: number;
  readonly processExec: ProcessExec | null;
  readonly processExit: ProcessExit | null;
  readonly processIoUring: ProcessIoUring | null;
  readonly fileOpen: FileOpen | null;
  readonly fileClose: FileClose | null;
  readonly fileRename: FileRename | null;
  readonly fileUnlink: FileUnlink | null;
  readonly fileChmod: FileChmod | null;
  readonly socketConnect: SocketConnect | null;
  readonly socketAccept: SocketAccept | null;
  readonly socketListen: SocketListen | null;
  readonly socketClose: SocketClose | null;
  readonly loss: Loss | null;
  readonly pod: Pod | null;
  readonly probe: Probe | null;
}

export interface Path {
  readonly path: Uint8Array;
  readonly state: number;
  readonly source: number;
}

export interface ProcessExec {
  readonly exe: Path | null;
  readonly filename: Uint8Array;
  readonly argv: readonly Uint8Array[];
  readonly argc: number | null;
  readonly argvLength: number;
  readonly argvTruncated: boolean;
  readonly cwd: Path | null;
  readonly exeInode: bigint;
  readonly exeDev: number;
  readonly exeUpperLayer: boolean;
  readonly exeMemfd: boolean;
  readonly exeDeleted: boolean;
  readonly secureexec: boolean;
  readonly capPermitted: bigint;
  readonly capEffective: bigint;
  readonly capInheritable: bigint;
  readonly interpreter: Uint8Array;
  readonly loginuid: number | null;
  readonly sessionId: number | null;
  readonly tty: Uint8Array;
  readonly env: readonly Uint8Array[];
  readonly argvFault: boolean;
}

export interface ProcessExit {
  readonly durationNs: bigint;
  readonly code: number;
  readonly signal: number;
  readonly coreDumped: boolean;
}

export interface ProcessIoUring {
  readonly entries: number;
  readonly flags: number;
  readonly result: number;
}

export interface FileOpen {
  readonly path: Path | null;
  readonly asked: Uint8Array;
  readonly askedSource: number;
  readonly openFlags: number;
  readonly mode: number;
  readonly dev: number;
  readonly inode: bigint;
  readonly created: boolean;
  readonly sensitive: boolean;
  readonly result: number;
}

export interface FileClose {
  readonly path: Path | null;
  readonly dev: number;
  readonly inode: bigint;
  readonly size: bigint;
  readonly modified: boolean | null;
  readonly sensitive: boolean;
  readonly mode: number;
}

export interface FileRename {
  readonly path: Path | null;
  readonly newPath: Path | null;
  readonly flags: number;
  readonly result: number;
  readonly sensitive: boolean;
}

export interface FileUnlink {
  readonly path: Path | null;
  readonly result: number;
  readonly sensitive: boolean;
}

export interface FileChmod {
  readonly path: Path | null;
  readonly mode: number;
  readonly result: number;
  readonly dev: number;
  readonly inode: bigint;
  readonly sensitive: boolean;
}

export interface SocketAddress {
  readonly ip: Uint8Array;
  readonly port: number;
}

export interface SocketConnect {
  readonly family: number;
  readonly protocol: number;
  readonly local: SocketAddress | null;
  readonly remote: SocketAddress | null;
  readonly asked: SocketAddress | null;
  readonly result: number;
  readonly connectionStartNs: bigint;
  readonly unixPath: Path | null;
  readonly unixName: Uint8Array;
  readonly unixAbstract: boolean;
}

export interface SocketAccept {
  readonly family: number;
  readonly protocol: number;
  readonly local: SocketAddress | null;
  readonly remote: SocketAddress | null;
  readonly connectionStartNs: bigint;
}

export interface SocketListen {
  readonly family: number;
  readonly protocol: number;
  readonly local: SocketAddress | null;
  readonly backlog: number;
  readonly result: number;
}

export interface SocketClose {
  readonly family: number;
  readonly protocol: number;
  readonly local: SocketAddress | null;
  readonly remote: SocketAddress | null;
  readonly connectionStartNs: bigint;
  readonly durationNs: bigint;
  readonly bytesSent: bigint | null;
  readonly bytesReceived: bigint | null;
  readonly endedBy: number;
  readonly result: number;
  readonly asked: SocketAddress | null;
}

export interface Loss {
  readonly stage: string;
  readonly reason: string;
  readonly kind: string;
  readonly count: bigint;
  readonly total: bigint;
  readonly firstTimeNs: bigint;
  readonly lastTimeNs: bigint;
  readonly unaccountable: boolean;
  readonly ofRunId: Uint8Array;
  readonly firstSeq: bigint;
  readonly lastSeq: bigint;
  readonly blindNs: bigint;
}

export interface Pod {
  readonly state: number;
  readonly uid: string;
  readonly name: string;
  readonly namespaceName: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly ips: readonly string[];
  readonly hostNetwork: boolean;
  readonly hostPid: boolean;
  readonly serviceAccount: string;
  readonly ownerKind: string;
  readonly ownerName: string;
  readonly ownerDerived: boolean;
  readonly containers: readonly Container[];
  readonly phase: string;
  readonly startedAt: string;
  readonly source: string;
  readonly hostPaths: readonly string[];
  readonly annotations: Readonly<Record<string, string>>;
  readonly untoldLabels: number;
  readonly hostIpc: boolean;
  readonly userNamespace: boolean;
  readonly runtimeClass: string;
  readonly controllerKind: string;
  readonly controllerName: string;
  readonly controllerUid: string;
  readonly createdAt: string;
  readonly finishedAt: string;
}

export interface Container {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly imageName: string;
  readonly imageDigest: string;
  readonly runtime: string;
  readonly restartCount: number;
  readonly privileged: boolean;
  readonly addedCapabilities: readonly string[];
  readonly startedAt: string;
  readonly finishedAt: string;
  readonly probeCommands: readonly string[];
  readonly previousIds: readonly string[];
}

export interface Probe {
  readonly kind: string;
  readonly tier: string;
  readonly state: string;
  readonly reason: string;
}
