// A container on its way, as it comes from another host: checked at the door.

import { z } from 'zod';
import type { ContainerDescription } from '../docker/container-description';
import type { MovingContainer } from './move-host';

const text = z.string({ error: 'is not text' });
const flag = z.boolean({ error: 'is not true or false' });
const number = z.number({ error: 'is not a number' });
const json = z.record(text, z.unknown());
const texts = z.record(text, text);

/** What an engine has for an id, and for a container's name. */
export const CONTAINER_ID = text.regex(/^[0-9a-f]{64}$/, 'is not a container id (64 hex digits)');
export const CONTAINER_NAME = text.regex(/^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,253}$/, 'is not a container name');

const DESCRIPTION: z.ZodType<ContainerDescription> = z.object({
  id: CONTAINER_ID,
  name: CONTAINER_NAME,
  state: z.enum(['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead']),
  exitCode: number,
  image: text,
  imageId: text,
  primary: text.optional(),
  chosenMac: text.optional(),
  config: json,
  hostConfig: json,
  attachments: z.array(
    z.object({
      network: text,
      networkId: text,
      address: text.optional(),
      isChosen: flag,
      mac: text.optional(),
      settings: json,
    }),
  ),
  mounts: z.array(z.object({ type: text, source: text, destination: text, driver: text, isAnonymous: flag })),
  ports: z.array(z.object({ protocol: z.enum(['tcp', 'udp', 'sctp']), hostIp: text, hostPort: number })),
  labels: texts,
  autoRemove: flag,
  stopSeconds: number,
});

export const MOVING: z.ZodType<MovingContainer> = z.object({
  container: DESCRIPTION,
  networks: texts,
  image: z.object({ id: text, digests: z.array(text), layers: z.array(text) }).optional(),
  memory: number,
  changedFiles: number,
});

export const FINDINGS = z.object({
  obstacles: z.array(text),
  objections: z.array(text),
  warnings: z.array(text),
});
export const MADE_CONTAINER = z.object({ id: CONTAINER_ID, networksWithMac: z.array(text) });
export const STANDING = z.object({ isRunning: flag, exitCode: number, output: text });
