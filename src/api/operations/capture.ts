// What passes one endpoint, as a capture file.

import { z } from 'zod';
import type { EndpointRow } from '../../directory/rows';
import type { RunningCapture } from '../../host/host';
import type { WantedCapture } from '../../observe/seeing';
import { name, queryNumber, text } from '../fields';
import { endpointIn, findContainer } from '../find-container';
import { contentOperation, directoryOf, type ApiAgent } from '../operation';

/** Another host's agent, as far as it is asked here. */
export interface RemoteContent {
  content(path: string, options?: { readonly signal?: AbortSignal }): Promise<AsyncIterable<Uint8Array>>;
}

export interface CaptureAgent extends ApiAgent {
  status(): { readonly state: string; readonly host: string };
  readonly seeing: { capture(endpoint: EndpointRow, wanted: WantedCapture): Promise<RunningCapture> };
  remote(host: string): RemoteContent;
}

const DEFAULT_SECONDS = 60;
const MAX_SECONDS = 3_600;
const MAX_PACKETS = 1_000_000_000;

export const CAPTURE_TYPE = 'application/vnd.tcpdump.pcap';

export const captureOperations = [
  contentOperation({
    id: 'captureEndpoint',
    method: 'get',
    path: '/v1/capture',
    tag: 'seeing',
    summary: 'What passes a container’s interface, both ways, as a pcap file that grows until it ends',
    contentType: CAPTURE_TYPE,
    needsDirectory: true,
    errors: ['not-found', 'conflict', 'exhausted', 'unavailable'],
    query: z.strictObject({
      container: name.meta({ description: 'by name, id or host/name, wherever it runs' }),
      network: name.optional().meta({ description: 'where it is in several' }),
      filter: text.max(1_000, 'is too long').optional().meta({ description: 'in words of pcap-filter(7)' }),
      count: queryNumber(1, MAX_PACKETS).optional().meta({ description: 'ends after so many packets' }),
      seconds: queryNumber(1, MAX_SECONDS)
        .optional()
        .meta({ description: `ends then; default ${DEFAULT_SECONDS}` }),
    }),
    handle: async (agent: CaptureAgent, { query, signal }) => {
      const view = directoryOf(agent);
      const { container, network, filter = '', count, seconds = DEFAULT_SECONDS } = query;
      const endpoint = endpointIn(view, findContainer(view, container), network);
      if (endpoint.host !== agent.status().host) {
        const path = `/v1/capture?${queryAt(endpoint, { filter, count, seconds })}`;
        return agent.remote(endpoint.host).content(path, { signal });
      }
      const capture = await agent.seeing.capture(endpoint, { filter, count, seconds });
      if (signal.aborted) capture.stop();
      signal.addEventListener('abort', () => capture.stop());
      return capture.output;
    },
  }),
];

/** By ids: the other host may know another one of that name. */
function queryAt(
  { host, containerId = '', networkId }: EndpointRow,
  { filter, count, seconds }: WantedCapture,
): string {
  const query = new URLSearchParams({ container: `${host}/${containerId}`, network: networkId, filter });
  query.set('seconds', String(seconds));
  if (count !== undefined) query.set('count', String(count));
  return query.toString();
}
