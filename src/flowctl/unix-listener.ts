// A Unix socket that datapaths connect to. A socket file that a dead process left is replaced; one that somebody still
// answers on is not. Where the file vanishes under a listener (Open vSwitch's run directory may be made anew when it is
// restarted), it listens again.

import { chmod, stat, unlink } from 'node:fs/promises';
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';

const MAX_CONNECTIONS = 256;
const CHECK_MS = 2000;

export class UnixListener {
  private server: Server | undefined;
  private isStarted = false;
  private cancelCheck: () => void = () => undefined;

  constructor(
    private readonly path: string,
    private readonly clock: Clock,
    private readonly onSocket: (socket: Socket) => void,
  ) {}

  /** Listens; only root may connect. Idempotent. Throws `conflict` where another process listens there. */
  async start(): Promise<void> {
    if (this.isStarted) return;
    this.isStarted = true;
    try {
      await this.listen();
    } catch (error) {
      this.isStarted = false;
      throw error;
    }
    this.checkLater();
  }

  /** Stops listening; resolves when every connection has ended, which the caller sees to. Idempotent. */
  async stop(): Promise<void> {
    this.isStarted = false;
    this.cancelCheck();
    const { server } = this;
    this.server = undefined;
    if (server !== undefined) await new Promise<void>((resolve) => server.close(() => resolve()));
  }

  private async listen(): Promise<void> {
    await this.removeDeadSocket();
    const server = createServer(this.onSocket);
    server.maxConnections = MAX_CONNECTIONS;
    await listenOn(server, this.path);
    await chmod(this.path, 0o600);
    // Whoever stopped meanwhile had nothing to close yet.
    if (this.isStarted) this.server = server;
    else server.close();
  }

  private async removeDeadSocket(): Promise<void> {
    const code = await probe(this.path);
    if (code === undefined) {
      const problem = `another process listens on ${this.path}: is a second daolinetd running?`;
      throw new DaoliError('conflict', problem, this.path);
    }
    if (code === 'ECONNREFUSED') await unlink(this.path);
  }

  private checkLater(): void {
    this.cancelCheck = this.clock.after(CHECK_MS, () => void this.check());
  }

  private async check(): Promise<void> {
    try {
      if (!(await exists(this.path))) {
        // Its connections live on.
        this.server?.close();
        this.server = undefined;
        if (this.isStarted) await this.listen();
      }
    } catch {
      // The folder is not there yet: looked at again.
    }
    if (this.isStarted) this.checkLater();
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

function listenOn(server: Server, path: string): Promise<void> {
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
