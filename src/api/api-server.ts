// The management API's unix socket, which only root can open. An API that cannot be served is logged and missed; networks
// work without it.

import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type RequestListener, type Server } from 'node:http';
import { join } from 'node:path';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { HTTP_LIMITS, limit, limitedOptions, type HttpLimits } from './http-limits';

export class ApiServer {
  private readonly server: Server;

  /** `folder` is made where it does not exist; the socket in it is api.sock. */
  constructor(
    private readonly folder: string,
    app: RequestListener,
    private readonly logger: Logger,
    limits: HttpLimits = HTTP_LIMITS,
  ) {
    this.server = createServer(limitedOptions(limits), app);
    limit(this.server, limits);
    this.server.on('error', (error) => this.report(error));
  }

  /** Idempotent. */
  start(): void {
    if (this.server.listening) return;
    try {
      const path = join(this.folder, 'api.sock');
      mkdirSync(this.folder, { recursive: true, mode: 0o700 });
      rmSync(path, { force: true });
      this.server.listen(path, () => chmodSync(path, 0o600));
    } catch (error) {
      this.report(error);
    }
  }

  /** Idempotent. */
  stop(): void {
    this.server.close();
    this.server.closeAllConnections();
  }

  private report(error: unknown): void {
    this.logger.error('the management API cannot be served', { error: messageOf(error) });
  }
}
