// Which containers can go to another host, and what somebody should know before. Pure.

import { DaoliError } from '../base/errors';
import type { DescribedMount } from '../docker/container-description';
import type { MovingContainer } from './move-host';

const SWARM_SERVICE = 'com.docker.swarm.service.name';
const SWARM_TASK = 'com.docker.swarm.task.id';
const COMPOSE_PROJECT = 'com.docker.compose.project';

/** Throws where the container can go nowhere, saying why and what to do. */
export function refuseImmovable({ container, networks }: MovingContainer, host: string): void {
  const label = `container ${host}/${container.name}`;
  const refuse = (why: string): never => {
    throw new DaoliError('conflict', `${label} ${why}`, container.name);
  };
  const { labels, state, hostConfig } = container;
  if (SWARM_TASK in labels) {
    const service = labels[SWARM_SERVICE] ?? 'SERVICE';
    refuse(
      `is a task of swarm service ${service}: swarm places those (docker service update --constraint-add … ${service})`,
    );
  }
  refuseSharing(hostConfig, refuse);
  if (state === 'paused') refuse(`is paused: docker unpause ${container.name}, then move it`);
  if (state === 'restarting') refuse('starts again and again: stop it, and it is moved stopped');
  if (state === 'removing' || state === 'dead') refuse('is being removed');
  if (Object.keys(networks).length === 0) {
    const names = container.attachments.map(({ network }) => network).join(', ');
    refuse(`is in no DaoliNet network${names === '' ? '' : `, but in ${names}`}: it would not keep its address`);
  }
}

/** With what stays on this host it cannot be where it was. */
function refuseSharing(hostConfig: Readonly<Record<string, unknown>>, refuse: (why: string) => never): void {
  const modes = { NetworkMode: 'network', PidMode: 'process ids', IpcMode: 'memory' } as const;
  for (const [key, what] of Object.entries(modes)) {
    const mode = hostConfig[key];
    if (typeof mode === 'string' && mode.startsWith('container:')) {
      refuse(
        `has the ${what} of another container, ${mode.slice('container:'.length, 'container:'.length + 12)}, and goes with that alone`,
      );
    }
  }
  if (hostConfig['NetworkMode'] === 'host')
    refuse('has its host’s own network (--network host): it has no address of its own');
  if (isFull(hostConfig['VolumesFrom'])) refuse('has the volumes of another container (--volumes-from), which stays');
  if (isFull(hostConfig['Links'])) refuse('has links (--link) to containers that stay: give it networks instead');
}

const isFull = (value: unknown) => Array.isArray(value) && value.length > 0;

/** What is refused unless somebody insists (`--force`). */
export function objectionsOf({ container }: MovingContainer): string[] {
  if (!container.autoRemove || container.state !== 'running') return [];
  return [
    'it was started with --rm: Docker removes it when it stops, so if the move fails it is made anew, without its own files',
  ];
}

/** What stays behind, or is not as before. */
export function warningsOf({ container, changedFiles }: MovingContainer, from: string, isKept: boolean): string[] {
  const { mounts, labels, autoRemove } = container;
  const anonymous = mounts.filter(({ isAnonymous }) => isAnonymous);
  const warnings = mounts.filter(isVolume).map(volumeWarning(from));
  if (anonymous.length > 0) {
    const where = anonymous.map(({ destination }) => destination).join(', ');
    const fate = autoRemove ? 'goes with the container' : `stays on ${from}`;
    warnings.push(`what is in its unnamed volumes (${where}) ${fate}`);
  }
  if (changedFiles > 0) {
    const fate =
      isKept && !autoRemove
        ? `stay in the old container on ${from}`
        : 'are lost with the old container (--keep keeps that)';
    warnings.push(`${changedFiles} of its own files were changed since it was made, and ${fate}`);
  }
  if (COMPOSE_PROJECT in labels) {
    warnings.push(
      `it is of compose project ${labels[COMPOSE_PROJECT]}: docker compose up on ${from} would make another`,
    );
  }
  return warnings;
}

const isVolume = ({ type, isAnonymous }: DescribedMount) => type === 'volume' && !isAnonymous;

function volumeWarning(from: string) {
  return ({ source, driver }: DescribedMount): string =>
    driver === 'local'
      ? `volume ${source} stays on ${from} with what is in it`
      : `volume ${source} is of driver ${driver}: what is in it comes along only if that driver brings it`;
}
