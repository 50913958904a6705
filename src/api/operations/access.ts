// By which ways this API itself can be reached.

import { z } from 'zod';
import { name } from '../fields';
import { operation, type ApiAgent } from '../operation';
import type { Certificates, TcpAccessStatus } from '../tcp-access';

/** See TcpAccess. */
export interface AccessAgent extends ApiAgent {
  readonly access: {
    status(): TcpAccessStatus;
    install(certificates: Certificates): Promise<TcpAccessStatus>;
  };
}

const ACCESS = z
  .object({
    address: z.string().nullable().meta({ description: 'null where DAOLINET_API is not set' }),
    isListening: z.boolean(),
    problem: z.string().nullable().meta({ description: 'why it does not listen' }),
    certificate: z.object({ subject: z.string(), validUntil: z.string() }).nullable(),
  })
  .meta({ id: 'TcpAccess' });
export type ShownAccess = z.infer<typeof ACCESS>;

const pem = name.max(48 * 1024, 'is too long');

export const accessOperations = [
  operation({
    id: 'getAccess',
    method: 'get',
    path: '/v1/access',
    tag: 'access',
    summary: 'Whether this API listens on TCP, and with which certificate',
    answer: ACCESS,
    handle: (agent: AccessAgent) => agent.access.status(),
  }),
  operation({
    id: 'putCertificates',
    method: 'put',
    path: '/v1/access/certificates',
    tag: 'access',
    summary: 'Gives this API certificates for TCP; who came in with those before is put out',
    body: z.strictObject({
      ca: pem.meta({ description: 'PEM; of those that may come in' }),
      certificate: pem.meta({ description: 'PEM' }),
      key: pem.meta({ description: 'PEM' }),
    }),
    answer: ACCESS,
    handle: (agent: AccessAgent, { body }) => agent.access.install(body),
  }),
];
