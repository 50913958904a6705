// The plugin's HTTP server on its unix sockets: the one that Docker gives a managed plugin, and the host's, by which
// the bare driver name is found. Opens before anything else is ready; keeps its sockets open; drains when it stops.

import type { Server } from 'node:http';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { CALL_LIMIT_MS } from './call-queue';
import { createPluginHttpServer, type EarlyServer } from './early-server';
import { PluginApp, type PluginCall, type PluginHandlers } from './plugin-app';
import { UnixSocket } from './unix-socket';

export interface PluginServerOptions {
  /** Socket files. One that cannot be opened is tried again every second; the others work meanwhile. */
  readonly paths: readonly string[];
  /** One of them that was opened already. */
  readonly early?: EarlyServer;
  readonly handlers: PluginHandlers;
  readonly logger: Logger;
  readonly clock: Clock;
  /** Default CALL_LIMIT_MS. */
  readonly callLimitMs?: number;
  readonly onCall?: (call: PluginCall) => void;
}

const MAX_CALLS = 1_024;
const WATCH_MS = 1_000;
/** How long a stopping server still reads what Docker had sent before the socket's name was gone. */
const LINGER_MS = 50;

const ACTIVATION: PluginHandlers = {
  'Plugin.Activate': () => ({ Implements: ['NetworkDriver', 'IpamDriver'] }),
};

export class PluginServer {
  private readonly app: PluginApp;
  private readonly sockets: readonly UnixSocket[];
  private readonly servers = new Set<Server>();
  private readonly pathOf = new WeakMap<Server, string>();
  private readonly failing = new Set<string>();
  private state: 'stopped' | 'running' | 'stopping' = 'stopped';
  private cancelWatch: () => void = () => undefined;
  private watching: Promise<void> = Promise.resolve();
  private stopped: Promise<void> = Promise.resolve();

  constructor(private readonly options: PluginServerOptions) {
    const { handlers, logger, clock, onCall } = options;
    this.app = new PluginApp({
      handlers: { ...ACTIVATION, ...handlers },
      logger,
      clock,
      callLimitMs: options.callLimitMs ?? CALL_LIMIT_MS,
      maxCalls: MAX_CALLS,
      ...(onCall === undefined ? {} : { onCall }),
    });
    const { early } = options;
    this.sockets = options.paths.map((path) => (path === early?.socket.path ? early.socket : new UnixSocket(path)));
  }

  /** Opens the sockets. Throws where none could be opened. Idempotent. */
  async start(): Promise<void> {
    if (this.state !== 'stopped') return;
    this.state = 'running';
    this.app.closing = false;
    this.adopt();
    const opened = await Promise.allSettled(this.sockets.map((socket) => this.openIfLost(socket)));
    const refused = opened.find((result) => result.status === 'rejected');
    if (refused !== undefined && opened.every((result) => result.status === 'rejected')) {
      this.state = 'stopped';
      throw refused.reason;
    }
    this.watch();
  }

  /**
   * Takes the names away, answers what was already sent, and closes. No connection whose request was read is dropped,
   * because Docker would repeat the call with an empty body. Takes at most a call's limit. Idempotent.
   */
  stop(): Promise<void> {
    if (this.state === 'running') {
      this.state = 'stopping';
      this.stopped = this.drain();
    }
    return this.stopped;
  }

  private async drain(): Promise<void> {
    this.cancelWatch();
    await this.watching;
    await Promise.all(this.sockets.map((socket) => socket.remove()));
    this.app.closing = true;
    await new Promise((resolve) => setTimeout(resolve, LINGER_MS));
    const closed = [...this.servers].map((server) => new Promise((resolve) => server.close(resolve)));
    await Promise.race([this.app.onIdle(), this.longestCall()]);
    for (const server of this.servers) server.closeAllConnections();
    await Promise.all(closed);
    this.state = 'stopped';
  }

  private longestCall(): Promise<void> {
    return new Promise((resolve) =>
      this.options.clock.after((this.options.callLimitMs ?? CALL_LIMIT_MS) + 500, resolve),
    );
  }

  private watch(): void {
    this.cancelWatch = this.options.clock.after(WATCH_MS, () => {
      this.watching = Promise.allSettled(this.sockets.map((socket) => this.openIfLost(socket))).then(() => {
        if (this.state === 'running') this.watch();
      });
    });
  }

  private adopt(): void {
    const { early, logger } = this.options;
    if (early?.server.listening !== true || this.servers.has(early.server)) return;
    early.serve(this.app.express);
    this.keep(early.server, early.socket.path);
    logger.info('listening', { socket: early.socket.path });
  }

  private async openIfLost(socket: UnixSocket): Promise<void> {
    const { logger } = this.options;
    try {
      if (await socket.isOurs()) return;
      const server = createPluginHttpServer(this.app.express);
      await socket.open(server);
      this.failing.delete(socket.path);
      this.keep(server, socket.path);
      logger.info('listening', { socket: socket.path });
    } catch (error) {
      if (!this.failing.has(socket.path)) logger.warn(`cannot listen: ${messageOf(error)}`, { socket: socket.path });
      this.failing.add(socket.path);
      throw error;
    }
  }

  /** The server that listened on the same name before ends with its last connection. */
  private keep(server: Server, path: string): void {
    for (const older of this.servers) if (this.pathOf.get(older) === path) older.close();
    this.pathOf.set(server, path);
    this.servers.add(server);
    server.once('close', () => this.servers.delete(server));
  }
}
