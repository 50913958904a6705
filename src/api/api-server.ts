// The management API's unix socket, which only root can open. An API that cannot be served is logged and missed; networks
// work without it.

import { chmodSync, mkdirSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { join } from 'node:path';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { createManagementApi, type ShownAgent } from './management-api';

export class ApiServer {
  private readonly server: Server;

  /** `folder` is made where it does not exist; the socket in it is api.sock. */
  constructor(
    private readonly folder: string,
    agent: ShownAgent,
    private readonly logger: Logger,
  ) {
    this.server = createServer((request, response) => void app(request, response));
    const app = createManagementApi(agent);
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
