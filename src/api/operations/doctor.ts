// Whether this host is as it should be.

import { z } from 'zod';
import { examine, type DoctorFacts } from '../../observe/doctor-checks';
import { operation, type ApiAgent } from '../operation';

const FINDING = z
  .object({
    check: z.string().meta({ description: 'what was looked at: "kernel", "fabric", …' }),
    level: z.enum(['ok', 'warning', 'error']),
    what: z.string(),
    remedy: z.string().nullable(),
  })
  .meta({ id: 'Finding' });
export type ShownFinding = Readonly<z.infer<typeof FINDING>>;

const DIAGNOSIS = z.object({ host: z.string(), findings: z.array(FINDING) }).meta({ id: 'Diagnosis' });
export type ShownDiagnosis = Readonly<z.infer<typeof DIAGNOSIS>>;

export interface DoctorAgent extends ApiAgent {
  status(): { readonly state: string; readonly host: string };
  findFacts(): Promise<DoctorFacts>;
}

export const doctorOperations = [
  operation({
    id: 'examineHost',
    method: 'get',
    path: '/v1/doctor',
    tag: 'seeing',
    summary:
      'Kernel, Open vSwitch, Docker, directory, fabric, clocks and leaks of this host, each with a remedy; in any state',
    answer: DIAGNOSIS,
    handle: async (agent: DoctorAgent) => ({
      host: agent.status().host,
      findings: examine(await agent.findFacts()),
    }),
  }),
];
