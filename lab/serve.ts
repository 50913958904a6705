// The process that a lab lives in: it starts the hosts, makes them one cluster, and does what the command line asks until it is
// told to end. However it ends, the hosts end with it.

import express from 'express';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import * as path from 'node:path';
import { z } from 'zod';
import { joinAll, startHosts, stopCluster, type LabCluster } from './cluster';
import type { Host } from './host';

export const LAB_FOLDER = process.env['DAOLINET_LAB'] ?? '/run/daolinet-lab';
export const LAB_SOCKET = path.join(LAB_FOLDER, 'lab.sock');
/** What `kill` takes. */
export const KILLABLE = ['daolinetd', 'dockerd', 'ovs-vswitchd', 'ovsdb-server'] as const;

/** A host as the command line needs it. */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  /** Those of KILLABLE that run. */
  readonly daemons: readonly string[];
  /** Hosts that nothing passes to or from. */
  readonly cut: readonly string[];
  /** What stands before a command that is to run there, and its environment. */
  readonly enter: readonly string[];
  readonly environment: Readonly<Record<string, string>>;
  /** The same for daolictl, which runs on this machine. */
  readonly daolictl: readonly string[];
}

const PAIR = z.object({ host: z.string(), other: z.string() });
const KILL = z.object({ host: z.string(), daemon: z.enum(KILLABLE) });

/** Starts a lab and serves it. Resolves when it is told to end. */
export async function serve(count: number): Promise<void> {
  const cluster = await startHosts(count);
  try {
    await joinAll(cluster.hosts);
    await answerCommands(cluster);
  } finally {
    rmSync(LAB_FOLDER, { recursive: true, force: true });
    await stopCluster(cluster);
  }
}

/** Resolves when somebody asks for the end, or a signal does. */
function answerCommands(cluster: LabCluster): Promise<void> {
  const { site, hosts } = cluster;
  const hostOf = (name: string): Host => {
    const host = hosts.find((each) => each.name === name);
    if (host !== undefined) return host;
    throw new Error(`there is no host ${name}; there are ${hosts.map((each) => each.name).join(', ')}`);
  };
  const app = express();
  app.use(express.json());
  app.get('/hosts', (_request, response) => void response.json(hosts.map((host) => describe(host, cluster))));
  app.post('/cut', async (request, response) => {
    const { host, other } = PAIR.parse(request.body);
    await site.cut(hostOf(host).name, hostOf(other).name);
    response.json({});
  });
  app.post('/heal', async (_request, response) => {
    await site.heal();
    response.json({});
  });
  app.post('/kill', async (request, response) => {
    const { success, data } = KILL.safeParse(request.body);
    if (!success) throw new Error(`the lab can kill ${KILLABLE.join(', ')}`);
    await kill(hostOf(data.host), data.daemon);
    response.json({});
  });
  return new Promise((resolve) => {
    app.post('/down', (_request, response) => {
      // Answered when all is gone.
      void stopCluster(cluster).then(() => response.json({}).on('close', resolve));
    });
    app.use((error: unknown, _request: express.Request, response: express.Response, _next: express.NextFunction) => {
      response.status(400).json({ message: error instanceof Error ? error.message : String(error) });
    });
    createServer((request, response) => void app(request, response)).listen(LAB_SOCKET);
    for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => resolve());
  });
}

function kill(host: Host, daemon: (typeof KILLABLE)[number]): Promise<void> {
  switch (daemon) {
    case 'daolinetd':
      return host.killAgent();
    case 'dockerd':
      return host.restartDockerd({ signal: 'SIGKILL' });
    case 'ovs-vswitchd':
      return host.restartVswitchd('SIGKILL');
    case 'ovsdb-server':
      return host.restartOvsdb('SIGKILL');
  }
}

function describe(host: Host, { site }: LabCluster): LabHost {
  return {
    name: host.name,
    address: host.address,
    daemons: KILLABLE.filter((daemon) => host.runs(daemon)),
    cut: site.cutFrom(host.name),
    ...host.entry(),
    daolictl: host.daolictlCommand(),
  };
}
