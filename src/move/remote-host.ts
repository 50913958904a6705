// Another host's half of a move: each step is a call of that host's agent, through the cluster's door.

import { z } from 'zod';
import { MAX_STOP_SECONDS } from '../docker/containers';
import type { Findings, MadeContainer, MoveHost, MovingContainer, Standing } from './move-host';
import { CONTAINER_NAME, FINDINGS, MADE_CONTAINER, MOVING, STANDING } from './step-shapes';

/** See RemoteAgent: throws what that agent says, and `unavailable` where it does not answer in time. */
export interface StepCaller {
  post<S extends z.ZodType>(
    path: string,
    body: object,
    answer: S,
    options: { readonly timeoutMs: number },
  ): Promise<z.output<S>>;
}

export const STEP_PATH = '/v1/moving/';
/** Docker makes several networks' endpoints at a start, each within 30 s at most. */
const LIMIT_MS = 60_000;

export const DESCRIBED = z.object({ moving: MOVING.nullable() });
export const KEPT = z.object({ name: CONTAINER_NAME });
export const REVIVED = z.object({ addresses: z.record(z.string(), z.string()) });
const DONE = z.object({});

export class RemoteHost implements MoveHost {
  constructor(
    readonly name: string,
    private readonly agent: StepCaller,
  ) {}

  async describe(container: string): Promise<MovingContainer | undefined> {
    return (await this.step('describe', { container }, DESCRIBED)).moving ?? undefined;
  }

  check(moving: MovingContainer): Promise<Findings> {
    return this.step('check', { moving }, FINDINGS);
  }

  make(moving: MovingContainer): Promise<MadeContainer> {
    return this.step('make', { moving }, MADE_CONTAINER);
  }

  async rename(id: string, name: string): Promise<void> {
    await this.step('rename', { id, name }, DONE);
  }

  async start(id: string): Promise<void> {
    await this.step('start', { id }, DONE);
  }

  look(id: string): Promise<Standing> {
    return this.step('look', { id }, STANDING);
  }

  async stop(id: string, stopSeconds: number): Promise<void> {
    const longest = stopSeconds < 0 ? MAX_STOP_SECONDS : Math.min(stopSeconds, MAX_STOP_SECONDS);
    await this.step('stop', { id, stopSeconds }, DONE, LIMIT_MS + longest * 1000);
  }

  async revive(moving: MovingContainer): Promise<Readonly<Record<string, string>>> {
    return (await this.step('revive', { moving }, REVIVED)).addresses;
  }

  async remove(id: string): Promise<void> {
    await this.step('remove', { id }, DONE);
  }

  async keep(id: string, name: string): Promise<string> {
    return (await this.step('keep', { id, name }, KEPT)).name;
  }

  private step<S extends z.ZodType>(step: string, body: object, answer: S, timeoutMs = LIMIT_MS): Promise<z.output<S>> {
    return this.agent.post(`${STEP_PATH}${step}`, body, answer, { timeoutMs });
  }
}
