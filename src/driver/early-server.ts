// The server of the socket on which Docker looks for the plugin, opened before the rest of the program is even loaded. Docker
// looks half a second after it has started the plugin, and if nobody is there it comes back after three more. Imports little.

import { createServer, type IncomingMessage, type RequestListener, type Server, type ServerResponse } from 'node:http';
import { UnixSocket } from './unix-socket';

/** A server of Docker's calls, on no socket yet. */
export function createPluginHttpServer(handler: RequestListener): Server {
  const server = createServer({ requireHostHeader: false, noDelay: true }, handler);
  server.keepAliveTimeout = 0; // Docker keeps connections; one that we close at the wrong moment costs it a call
  server.requestTimeout = 10_000;
  return server;
}

export class EarlyServer {
  readonly server = createPluginHttpServer((request, response) => this.take(request, response));
  readonly socket: UnixSocket;
  private handler: RequestListener | undefined;
  private waiting: [request: IncomingMessage, response: ServerResponse][] = [];

  constructor(path: string) {
    this.socket = new UnixSocket(path);
  }

  /** Throws as UnixSocket.open() does. */
  open(): Promise<void> {
    return this.socket.open(this.server);
  }

  /** Answers what has come, and whatever comes from now on. */
  serve(handler: RequestListener): void {
    this.handler = handler;
    for (const [request, response] of this.waiting) handler(request, response);
    this.waiting = [];
  }

  private take(request: IncomingMessage, response: ServerResponse): void {
    if (this.handler === undefined) this.waiting.push([request, response]);
    else this.handler(request, response);
  }
}
