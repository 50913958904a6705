// The part of the management API that makes and removes networks of Docker's swarm mode.

import express, { type NextFunction, type Request, type Response, type Router } from 'express';
import { z } from 'zod';
import { parseCidr, parseIpv4 } from '../base/addresses';
import { parsedUnlessEmpty, parserOf } from '../base/body-schema';
import type { DirectoryView } from '../directory/view';
import type { MadeSwarmNetwork, RemovedSwarmNetwork } from '../driver/swarm-networks';
import type { WantedSwarmNetwork } from '../driver/swarm-plan';

/** See SwarmNetworks. */
export interface SwarmCommands {
  create(wanted: WantedSwarmNetwork): Promise<MadeSwarmNetwork>;
  remove(name: string, isForced: boolean): Promise<RemovedSwarmNetwork>;
}

interface SwarmAgent {
  readonly view: DirectoryView | undefined;
  readonly swarm: SwarmCommands;
  status(): { readonly state: string };
}

const MAX_BODY_BYTES = 64 * 1024;
const text = z.string({ error: 'is not text' });
const flag = z.boolean({ error: 'is not true or false' });

const parseWanted = parserOf(
  z
    .object({
      name: text.min(1, 'is empty'),
      subnet: parsedUnlessEmpty(parseCidr).optional(),
      gateway: parsedUnlessEmpty(parseIpv4).optional(),
      internal: flag.optional(),
      attachable: flag.optional(),
      options: z.record(z.string(), text, { error: 'is not an object' }).optional(),
    })
    .transform(({ name, subnet, gateway, internal = false, attachable = true, options = {} }): WantedSwarmNetwork => ({
      name,
      subnet,
      gateway,
      internal,
      attachable,
      options,
    })),
);

/** Refused until the directory has been read. */
export function swarmRoutes(agent: SwarmAgent): Router {
  const router = express.Router();
  router.use(express.json({ limit: MAX_BODY_BYTES }));
  router.use((_request: Request, response: Response, next: NextFunction) => {
    if (agent.view !== undefined) return next();
    response.status(503).json({ message: agent.status().state, code: 'unavailable' });
  });
  router.post('/networks', async (request, response) => {
    response.json(await agent.swarm.create(parseWanted(request.body ?? {})));
  });
  router.delete('/networks/:name', async (request, response) => {
    const isForced = request.query['force'] === 'true';
    response.json(await agent.swarm.remove(request.params['name'] ?? '', isForced));
  });
  return router;
}
