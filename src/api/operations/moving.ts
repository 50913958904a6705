// One host's half of a container's move, step by step: asked by the server of the cluster that moves it.

import { z } from 'zod';
import type { ErrorCode } from '../../base/errors';
import type { MoveHost } from '../../move/move-host';
import { DESCRIBED, KEPT, REVIVED, STEP_PATH } from '../../move/remote-host';
import { CONTAINER_ID, CONTAINER_NAME, FINDINGS, MADE_CONTAINER, MOVING, STANDING } from '../../move/step-shapes';
import { name, nothing } from '../fields';
import { operation, type ApiAgent } from '../operation';

export interface MovingAgent extends ApiAgent {
  /** This host's own half. */
  readonly moveHost: MoveHost;
}

const ERRORS: readonly ErrorCode[] = ['conflict', 'unavailable'];
const at = (step: string) =>
  ({ method: 'post', path: `${STEP_PATH}${step}`, tag: 'moving', errors: ERRORS, needsDirectory: true }) as const;

const byId = z.strictObject({ id: CONTAINER_ID });
const bySelf = z.strictObject({ moving: MOVING });

export const movingOperations = [
  operation({
    ...at('describe'),
    id: 'describeMoving',
    summary: 'All that makes a container what it is; null where this host has none of that name',
    body: z.strictObject({ container: name }),
    answer: DESCRIBED,
    handle: async (agent: MovingAgent, { body }) => ({
      moving: (await agent.moveHost.describe(body.container)) ?? null,
    }),
  }),
  operation({
    ...at('check'),
    id: 'checkMoving',
    summary: 'Whether this host could have a container of another one',
    body: bySelf,
    answer: FINDINGS,
    handle: (agent: MovingAgent, { body }) => agent.moveHost.check(body.moving),
  }),
  operation({
    ...at('make'),
    id: 'makeMoving',
    summary: 'Makes a container of another host here, without starting it',
    body: bySelf,
    answer: MADE_CONTAINER,
    handle: (agent: MovingAgent, { body }) => agent.moveHost.make(body.moving),
  }),
  operation({
    ...at('rename'),
    id: 'renameMoving',
    summary: 'Gives what was made its name',
    body: z.strictObject({ id: CONTAINER_ID, name: CONTAINER_NAME }),
    answer: nothing,
    handle: async (agent: MovingAgent, { body }) => {
      await agent.moveHost.rename(body.id, body.name);
      return {};
    },
  }),
  operation({
    ...at('start'),
    id: 'startMoving',
    summary: 'Starts what was made',
    body: byId,
    answer: nothing,
    handle: async (agent: MovingAgent, { body }) => {
      await agent.moveHost.start(body.id);
      return {};
    },
  }),
  operation({
    ...at('look'),
    id: 'lookAtMoving',
    summary: 'Whether it runs',
    body: byId,
    answer: STANDING,
    handle: (agent: MovingAgent, { body }) => agent.moveHost.look(body.id),
  }),
  operation({
    ...at('stop'),
    id: 'stopMoving',
    summary: 'Stops a container that is to go to another host',
    body: z.strictObject({ id: CONTAINER_ID, stopSeconds: z.number({ error: 'is not a number' }) }),
    answer: nothing,
    handle: async (agent: MovingAgent, { body }) => {
      await agent.moveHost.stop(body.id, body.stopSeconds);
      return {};
    },
  }),
  operation({
    ...at('revive'),
    id: 'reviveMoving',
    summary: 'Starts it again, with the addresses that it had: it does not go',
    body: bySelf,
    answer: REVIVED,
    handle: async (agent: MovingAgent, { body }) => ({ addresses: await agent.moveHost.revive(body.moving) }),
  }),
  operation({
    ...at('remove'),
    id: 'removeMoving',
    summary: 'Removes a container, and not its volumes',
    body: byId,
    answer: nothing,
    handle: async (agent: MovingAgent, { body }) => {
      await agent.moveHost.remove(body.id);
      return {};
    },
  }),
  operation({
    ...at('keep'),
    id: 'keepMoved',
    summary: 'The old one stays, stopped, under another name',
    body: z.strictObject({ id: CONTAINER_ID, name: CONTAINER_NAME }),
    answer: KEPT,
    handle: async (agent: MovingAgent, { body }) => ({ name: await agent.moveHost.keep(body.id, body.name) }),
  }),
];
