// Whether other hosts of the site can be answered over the fabric. Any host of the cluster may ask that: see OPEN_CALL.

import { z } from 'zod';
import { OPEN_CALL } from '../../cluster/front';
import { operation, type ApiAgent } from '../operation';

export const FABRIC = z
  .object({
    standsMs: z.number().nullable().meta({
      description:
        'for how long the datapath has answered others over the fabric; null where it does not at this moment',
    }),
  })
  .meta({ id: 'Fabric' });

export interface FabricAgent extends ApiAgent {
  fabricStandsMs(): Promise<number | undefined>;
}

export const fabricOperations = [
  operation({
    id: 'getFabric',
    method: 'get',
    path: OPEN_CALL,
    tag: 'seeing',
    summary: 'For how long this host’s datapath has answered others over the fabric; any host of the cluster may ask',
    answer: FABRIC,
    handle: async (agent: FabricAgent) => ({ standsMs: (await agent.fabricStandsMs()) ?? null }),
  }),
];
