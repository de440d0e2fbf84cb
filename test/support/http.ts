/** Plain HTTP, and ports for servers, with nothing of overns in the way. */
import { request as httpRequest } from 'node:http';
import { createServer } from 'node:net';
import type { Netns } from './netns.js';

export interface HttpResult {
  readonly status: number;
  readonly body: string;
}

/** Ports of the loopback that were free a moment ago. */
export async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer();
      await new Promise<void>((resolve, reject) => {
        server.once('error', reject);
        server.listen(0, '127.0.0.1', resolve);
      });
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as { port: number }).port);
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

/** One plain HTTP request from inside a namespace (or from here), with nothing of overns in its way. */
export async function http(
  netns: Netns | undefined,
  method: string,
  url: string,
  body?: string | Buffer,
  headers: Readonly<Record<string, string>> = {},
): Promise<HttpResult> {
  if (!netns) return httpFromHere(method, url, body ?? '', headers);
  const script = `
    const [method, url, headers] = JSON.parse(process.argv[1]);
    const chunks = [];
    for await (const chunk of process.stdin) chunks.push(chunk);
    const body = Buffer.concat(chunks);
    const request = (await import('node:http')).request(url, { method, headers: { ...headers, 'Content-Length': body.length } }, async (response) => {
      const parts = [];
      for await (const part of response) parts.push(part);
      process.stdout.write(JSON.stringify({ status: response.statusCode, body: Buffer.concat(parts).toString() }));
    });
    request.on('error', (error) => { console.error(error.message); process.exitCode = 1; });
    request.end(body);`;
  const args = ['--input-type=module', '-e', script, JSON.stringify([method, url, headers])];
  const { stdout } = await netns.exec(process.execPath, args, { input: body ?? '' });
  return JSON.parse(stdout) as HttpResult;
}

function httpFromHere(
  method: string,
  url: string,
  body: string | Buffer,
  headers: Readonly<Record<string, string>>,
): Promise<HttpResult> {
  return new Promise((resolve, reject) => {
    const options = {
      method,
      headers: { ...headers, 'Content-Length': Buffer.byteLength(body) },
      // A connection of its own: a kept one may be to an agent that has ended.
      agent: false,
      signal: AbortSignal.timeout(10_000),
    };
    const request = httpRequest(url, options, (response) => {
      const parts: Buffer[] = [];
      response.on('data', (part: Buffer) => parts.push(part));
      response.on('error', reject);
      response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(parts).toString() }));
    });
    request.on('error', reject);
    request.end(body);
  });
}
