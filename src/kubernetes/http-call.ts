/** One small HTTP call, bounded in time and size: for the API server and the clouds' metadata services. */
import { type IncomingHttpHeaders, request as requestHttp } from 'node:http';
import { type RequestOptions, request as requestHttps } from 'node:https';

export interface HttpCall {
  readonly url: URL;
  readonly method?: 'GET' | 'PUT';
  readonly headers?: Readonly<Record<string, string>>;
  /** PEM; https only. */
  readonly ca?: string;
  /** For the whole of it. */
  readonly timeoutMs: number;
  /** Of the reply's body; a longer one is refused. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpReply {
  readonly status: number;
  readonly headers: IncomingHttpHeaders;
  readonly body: string;
}

/** Rejects with an Error that names the host and what went wrong; a status other than 200 is a reply like any other. */
export function callHttp(call: HttpCall): Promise<HttpReply> {
  const { url, timeoutMs, maxBytes } = call;
  return new Promise((resolve, reject) => {
    const options: RequestOptions = {
      method: call.method ?? 'GET',
      headers: {
        'user-agent': 'kerntap',
        ...call.headers,
        ...(call.method === 'PUT' ? { 'content-length': '0' } : {}),
      },
      // A connection of its own: what is asked every ten minutes keeps none, and environment proxies are not for it.
      agent: false,
      ...(call.ca === undefined ? {} : { ca: call.ca }),
      ...(call.signal === undefined ? {} : { signal: call.signal }),
    };
    const request = url.protocol === 'https:' ? requestHttps : requestHttp;
    const req = request(url, options, (res) => {
      const chunks: Buffer[] = [];
      let bytes = 0;
      res.on('data', (chunk: Buffer) => {
        bytes += chunk.length;
        if (bytes > maxBytes) req.destroy(new Error(`the reply is over ${maxBytes} bytes`));
        else chunks.push(chunk);
      });
      res.on('error', fail);
      res.on('end', () => {
        const body = Buffer.concat(chunks).toString('utf8');
        resolve({ status: res.statusCode ?? 0, headers: res.headers, body });
      });
    });
    const deadline = setTimeout(() => req.destroy(new Error(`no whole reply in ${timeoutMs} ms`)), timeoutMs);
    function fail(error: Error): void {
      reject(new Error(`${url.host}: ${error.message || String((error as NodeJS.ErrnoException).code)}`));
    }
    req.on('error', fail);
    req.on('close', () => clearTimeout(deadline));
    req.end();
  });
}
