// The Docker engine's API on a unix socket, as far as the product asks: recorded answers, events that the test sends, and faults.

import { mkdtempSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import recorded from './docker-20.10.json';

interface Network {
  Driver: string;
}

export class FakeEngine {
  /** GET path → body. A test may change it. */
  answers: Record<string, unknown> = structuredClone(recorded.answers);
  /** Paths (without query) that get this status, or none at all ("hang"). */
  readonly faults = new Map<string, number | 'hang'>();
  readonly requests: string[] = [];
  /** What was sent with POST, by path. */
  readonly sent: Record<string, unknown> = {};
  readonly socketPath: string;
  private readonly directory = mkdtempSync(join(tmpdir(), 'daolinet-engine-'));
  private server: Server | undefined;
  private readonly streams = new Set<ServerResponse>();

  constructor() {
    this.socketPath = join(this.directory, 'docker.sock');
  }

  start(): Promise<void> {
    this.server = createServer((request, response) => void this.take(request, response));
    return new Promise((resolve) => this.server?.listen(this.socketPath, resolve));
  }

  /** As when dockerd is killed: connections break, the socket refuses. */
  stop(): Promise<void> {
    this.streams.clear();
    const { server } = this;
    this.server = undefined;
    return new Promise((resolve) => {
      if (server === undefined) return resolve();
      server.close(() => resolve());
      server.closeAllConnections();
    });
  }

  async remove(): Promise<void> {
    await this.stop();
    rmSync(this.directory, { recursive: true });
  }

  /** Sends bytes to whoever follows the events. */
  send(text: string | Buffer): void {
    for (const stream of this.streams) stream.write(text);
  }

  get listeners(): number {
    return this.streams.size;
  }

  private async take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const { pathname } = new URL(request.url ?? '/', 'http://engine');
    if (request.method === 'POST') this.sent[pathname] = JSON.parse(Buffer.concat(chunks).toString());
    this.serve(request, response);
  }

  private serve(request: IncomingMessage, response: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? '/', 'http://engine');
    this.requests.push(pathname);
    const fault = this.faults.get(pathname);
    if (fault === 'hang') return;
    if (fault !== undefined) return answer(response, fault, { message: 'told to fail' });
    if (pathname === '/events') {
      response.writeHead(200, { 'content-type': 'application/json' }).flushHeaders();
      this.streams.add(response.on('close', () => this.streams.delete(response)));
      return;
    }
    const body = this.answers[pathname];
    if (body === undefined) return answer(response, 404, { message: `no such thing: ${pathname}` });
    const filters = JSON.parse(searchParams.get('filters') ?? '{}') as { driver?: string[] };
    const wanted = (network: Network): boolean => filters.driver?.includes(network.Driver) ?? true;
    answer(response, 200, pathname === '/networks' ? (body as Network[]).filter(wanted) : body);
  }
}

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
}
