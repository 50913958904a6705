// A Unix socket that datapaths connect to. A socket file that a dead process left is replaced; one that somebody still
// answers on is not.

import { chmod, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import { DaoliError } from '../base/errors';

const MAX_CONNECTIONS = 256;

export class UnixListener {
  private server: Server | undefined;

  constructor(
    private readonly path: string,
    private readonly onSocket: (socket: Socket) => void,
  ) {}

  /** Listens; only root may connect. Idempotent. Throws `conflict` where another process listens there. */
  async start(): Promise<void> {
    if (this.server !== undefined) return;
    const server = createServer(this.onSocket);
    this.server = server;
    server.maxConnections = MAX_CONNECTIONS;
    try {
      await this.removeDeadSocket();
      await listen(server, this.path);
      await chmod(this.path, 0o600);
    } catch (error) {
      this.server = undefined;
      server.close();
      throw error;
    }
  }

  /** Stops listening. Connections are the caller's to end. Idempotent. */
  async stop(): Promise<void> {
    const { server } = this;
    this.server = undefined;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  private async removeDeadSocket(): Promise<void> {
    const code = await probe(this.path);
    if (code === undefined) {
      throw new DaoliError(
        'conflict',
        `another process listens on ${this.path}: is a second daolinetd running?`,
        this.path,
      );
    }
    if (code === 'ECONNREFUSED') await unlink(this.path);
  }
}

function listen(server: Server, path: string): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, () => {
      server.off('error', reject);
      resolve();
    });
  });
}

/** The error of connecting, or undefined where somebody answers. */
function probe(path: string): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = connect(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(undefined);
    });
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code ?? 'unknown'));
  });
}
