// The process that a lab lives in: it starts the hosts, makes them one cluster, and does what the command line asks until it is
// told to end. However it ends, the hosts end with it.

import express from 'express';
import { rmSync } from 'node:fs';
import { createServer } from 'node:http';
import * as path from 'node:path';
import { z } from 'zod';
import { joinAll, joinSites, startHosts, startSites, stopCluster, type LabCluster } from './cluster';
import type { Host, HostOptions } from './host';
import { Internet } from './internet';
import { Site } from './site';
import type { Wiring } from './wiring';

export const LAB_FOLDER = process.env['DAOLINET_LAB'] ?? '/run/daolinet-lab';
export const LAB_SOCKET = path.join(LAB_FOLDER, 'lab.sock');
/** What `kill` takes. */
export const KILLABLE = ['daolinetd', 'dockerd', 'ovs-vswitchd', 'ovsdb-server'] as const;

/** What a lab is to be. */
export interface LabRequest {
  /** So many on one L2, or else at sites. */
  readonly hosts: number;
  readonly sites?: Readonly<Record<string, number>>;
  readonly nat?: readonly string[];
  readonly noL2?: readonly string[];
  readonly dropMacs?: readonly string[];
  readonly hubs?: readonly string[];
  /** The hosts have a network and nothing that runs, and are in no cluster. */
  readonly areBare?: boolean;
}

/** A host as the command line needs it. */
export interface LabHost {
  readonly name: string;
  readonly address: string;
  /** Where there are several: the site, and the address that other sites see. */
  readonly place?: { readonly site: string; readonly seen: string };
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

const CUT = z.object({ host: z.string(), other: z.string(), isOneWay: z.boolean().default(false) });
const ROAM = z.object({ host: z.string(), site: z.string().optional() });
const LINK = z
  .object({
    site: z.string(),
    lossPercent: z.number().int().min(0).max(100).optional(),
    mtu: z.number().int().min(576).max(1500).optional(),
    delayMs: z.number().int().min(1).max(10_000).optional(),
  })
  .refine(({ site: _site, ...changes }) => Object.values(changes).some((change) => change !== undefined));
const KILL = z.object({ host: z.string(), daemon: z.enum(KILLABLE) });

/** Starts a lab and serves it. Resolves when it is told to end. */
export async function serve(request: LabRequest): Promise<void> {
  const cluster = await start(request);
  try {
    await answerCommands(cluster);
  } finally {
    rmSync(LAB_FOLDER, { recursive: true, force: true });
    await stopCluster(cluster);
  }
}

/** Starts the hosts and makes one cluster of them. Nothing stays behind when that fails. */
async function start(request: LabRequest): Promise<LabCluster> {
  const { hosts, sites, hubs = [], nat = [], noL2 = [], dropMacs = [], areBare = false } = request;
  const options: HostOptions = { isBare: areBare };
  if (sites === undefined) {
    const lab = await startHosts(hosts, options);
    return areBare ? lab : joined(lab, joinAll(lab.hosts));
  }
  const lab = await startSites(sites, { nat, noL2, dropMacs, ...options });
  return areBare ? lab : joined(lab, joinSites(lab, { hubs }));
}

async function joined(lab: LabCluster, joining: Promise<void>): Promise<LabCluster> {
  try {
    await joining;
    return lab;
  } catch (error) {
    await stopCluster(lab);
    throw error;
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
    const { host, other, isOneWay } = CUT.parse(request.body);
    const others = hostsCalled(cluster, other);
    for (const one of hostsCalled(cluster, host)) {
      for (const away of others.filter((each) => each !== one)) {
        const [from, to] = [hostOf(one).name, hostOf(away).name];
        await (isOneWay ? oneL2(site).cutOneWay(from, to) : site.cut(from, to));
      }
    }
    response.json({});
  });
  serveSites(app, site, hostOf);
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

/** The hosts of a site, or one host. */
function hostsCalled({ site, hosts }: LabCluster, name: string): string[] {
  const ofSite = site instanceof Internet ? hosts.filter((host) => site.siteOf(host.name) === name) : [];
  return ofSite.length === 0 ? [name] : ofSite.map((host) => host.name);
}

/** The wiring of hosts that are on one L2. */
function oneL2(site: Wiring): Site {
  if (site instanceof Site) return site;
  throw new Error('this lab has sites: one way alone, and with a delay, wires can be bad on one L2 only');
}

/** What there is for several sites, or differs there. */
function serveSites(app: express.Express, site: Wiring, hostOf: (name: string) => Host): void {
  const internet = (): Internet => {
    if (site instanceof Internet) return site;
    throw new Error('this lab is one L2, without sites: npm run lab -- up --sites makes one with several');
  };
  app.get('/internet', (_request, response) => void response.json(internet().entry()));
  app.post('/roam', async (request, response) => {
    const { host, site: to } = ROAM.parse(request.body);
    const net = internet();
    if (to === undefined) await net.changePublicAddress(net.siteOf(host));
    else await net.moveHost(host, to);
    response.json({ site: net.siteOf(host), address: net.addressOf(host), seen: net.addressSeen(host) });
  });
  app.post('/link', async (request, response) => {
    const { success, data } = LINK.safeParse(request.body);
    if (!success)
      throw new Error('give --loss from 0 to 100, --mtu from 576 to 1500, --delay from 1 to 10000, or some of them');
    const { site: name, lossPercent, mtu, delayMs } = data;
    if (site instanceof Internet && delayMs === undefined) {
      const loss = lossPercent === undefined ? {} : { lossPercent };
      await site.setLink(name, { ...loss, ...(mtu === undefined ? {} : { mtu }) });
    } else {
      if (mtu !== undefined) throw new Error('--mtu is for the wires of sites');
      const host = hostOf(name);
      if (lossPercent !== undefined) await oneL2(site).setLoss(host.name, lossPercent);
      if (delayMs !== undefined) await oneL2(site).delay(host.name, delayMs);
    }
    response.json({});
  });
}

function kill(host: Host, daemon: (typeof KILLABLE)[number]): Promise<void> {
  switch (daemon) {
    case 'daolinetd':
      return host.replaceAgent();
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
    ...(site instanceof Internet && { place: { site: site.siteOf(host.name), seen: site.addressSeen(host.name) } }),
    daemons: KILLABLE.filter((daemon) => host.runs(daemon)),
    cut: site.cutFrom(host.name),
    ...host.entry(),
    daolictl: host.daolictlCommand(),
  };
}
