import { status } from '@grpc/grpc-js';
import { type Batch, decodePublishRequest, type Hello, type NodeFacts, SCHEMA } from '../../proto/contract.ts';

const RUN_ID_BYTES = 16;

/** Why a stream, or the connection before it, was refused. */
export type RefusalReason = 'tls' | 'client_name' | 'client_streams' | 'streams' | 'schema' | 'protocol';

/** The peer broke the protocol, or may not publish: the stream ends with this status. */
export class ProtocolError extends Error {
  readonly code: status;
  /** For a counter: of a fixed set. */
  readonly reason: RefusalReason;

  constructor(code: status, message: string, reason: RefusalReason = 'protocol') {
    super(message);
    this.code = code;
    this.reason = reason;
  }
}

/** A batch that can never be taken. */
export class PoisonBatch extends Error {
  /** For a counter: of a fixed set. */
  readonly reason: 'undecodable' | 'run_id' | 'sequence' | 'node_facts';

  constructor(reason: PoisonBatch['reason'], message: string) {
    super(message);
    this.reason = reason;
  }
}

/** A Hello that was accepted. */
export interface Greeting {
  readonly node: NodeFacts;
  readonly agentVersion: string;
}

/** A run id in hex. */
export function runName(runId: Uint8Array): string {
  return Buffer.from(runId).toString('hex');
}

function decodeHello(frame: Uint8Array): Hello | null {
  try {
    return decodePublishRequest(frame).hello;
  } catch {
    return null;
  }
}

/** Reads a stream's first message. Throws ProtocolError (FAILED_PRECONDITION). */
export function readHello(frame: Uint8Array): Greeting {
  const refuse = (message: string): never => {
    throw new ProtocolError(status.FAILED_PRECONDITION, message);
  };
  const hello = decodeHello(frame) ?? refuse('the first message must be a Hello');
  if (hello.schema !== SCHEMA) {
    throw new ProtocolError(
      status.FAILED_PRECONDITION,
      `schema ${hello.schema} is not known here: this collector reads ${SCHEMA}; upgrade the collector before its agents`,
      'schema',
    );
  }
  const { node, agentVersion } = hello;
  if (node === null || node.runId.length !== RUN_ID_BYTES) {
    return refuse(`Hello.node.run_id must have ${RUN_ID_BYTES} bytes`);
  }
  return { node, agentVersion };
}

/**
 * Facts of the run that took the batch: those of the Hello, or its own; `bound`: of this node and no other. Throws
 * PoisonBatch.
 */
export function batchNode(batch: Batch, hello: NodeFacts, bound?: string): NodeFacts {
  if (batch.runId.length !== RUN_ID_BYTES) {
    throw new PoisonBatch('run_id', `run_id has ${batch.runId.length} bytes, not ${RUN_ID_BYTES}`);
  }
  if (batch.firstSeq === 0n) throw new PoisonBatch('sequence', 'first_seq is 0: sequences begin at 1');
  const run = runName(batch.runId);
  if (run === runName(hello.runId)) return hello;
  if (batch.node === null)
    throw new PoisonBatch('node_facts', 'the run is not that of the Hello and the batch has no node facts');
  if (bound !== undefined && batch.node.nodeName !== bound) {
    throw new PoisonBatch('node_facts', `the client certificate is that of node ${bound}, the batch of another`);
  }
  if (runName(batch.node.runId) !== run) throw new PoisonBatch('node_facts', 'the node facts are of another run');
  return batch.node;
}
