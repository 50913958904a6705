// This host's half of a move, with its own Docker. Which host a container comes from or goes to, and in which order all is done, is
// mover.ts.

import { DaoliError } from '../base/errors';
import type { NetworkId } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import {
  connectRequest,
  createRequest,
  hasMacPerNetwork,
  ownChanges,
  takesMac,
  type Attachment,
  type ContainerDescription,
  type Keeping,
} from '../docker/container-description';
import type { Containers } from '../docker/containers';
import { isDockers } from '../directory/hand-over';
import { Inspector, type Premises } from './inspector';
import {
  interimName,
  type Findings,
  type MadeContainer,
  type MoveHost,
  type MovingContainer,
  type Standing,
} from './move-host';

export interface LocalHostParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host'>;
  readonly docker: Containers;
  readonly premises: Premises;
}

/** What Docker says where a network was made without --subnet. */
const NO_CHOICE = /user configured subnets/;
const PREDEFINED = 'bridge';

export class LocalHost implements MoveHost {
  private readonly inspector: Inspector;

  constructor(private readonly parts: LocalHostParts) {
    this.inspector = new Inspector(parts);
  }

  get name(): string {
    return this.parts.store.host;
  }

  async describe(wanted: string): Promise<MovingContainer | undefined> {
    const { docker, store } = this.parts;
    const container = await docker.readContainer(wanted);
    if (container === undefined) return undefined;
    const isRunning = container.state === 'running';
    // Those of one that does not run have no id.
    const found = container.attachments.flatMap(({ network, networkId }) => {
      const row = networkId === '' ? this.networkNamed(network) : store.view.networkOfDocker(networkId)?.id;
      return row === undefined ? [] : [[network, row] as const];
    });
    return {
      container,
      networks: Object.fromEntries(found),
      image: await docker.readImage(container.imageId),
      memory: isRunning ? await docker.memoryInUse(container.id).catch(() => 0) : 0,
      changedFiles: ownChanges(container, await docker.changedFiles(container.id).catch(() => [])).length,
    };
  }

  check(moving: MovingContainer): Promise<Findings> {
    return this.inspector.inspect(moving);
  }

  async make(moving: MovingContainer): Promise<MadeContainer> {
    const { docker } = this.parts;
    const { container } = moving;
    const name = interimName(container);
    await this.removeLeftOver(name);
    const version = await docker.apiVersion();
    const isWithMac = ({ network, mac }: Attachment) => mac !== undefined && takesMac(container, network, version);
    const networksWithMac = container.attachments.filter(isWithMac).map(({ network }) => network);
    const isNew = hasMacPerNetwork(version);
    const id = isNew
      ? await this.createConnected(name, moving, version)
      : await this.createAndConnect(name, moving, version);
    return { id, networksWithMac };
  }

  rename(id: string, name: string): Promise<void> {
    return this.parts.docker.rename(id, name);
  }

  start(id: string): Promise<void> {
    return this.parts.docker.start(id);
  }

  stop(id: string, stopSeconds: number): Promise<void> {
    return this.parts.docker.stop(id, stopSeconds);
  }

  remove(id: string): Promise<void> {
    return this.parts.docker.remove(id);
  }

  async look(id: string): Promise<Standing> {
    const { docker } = this.parts;
    const container = await docker.readContainer(id);
    const isRunning = container?.state === 'running';
    const output = isRunning ? '' : await docker.lastOutput(id).catch(() => '');
    return { isRunning, exitCode: container?.exitCode ?? 0, output };
  }

  async revive(moving: MovingContainer): Promise<Readonly<Record<string, string>>> {
    const { docker } = this.parts;
    const { container } = moving;
    const left = await docker.readContainer(container.id);
    let { id } = container;
    // One that was to be removed when it stops.
    if (left === undefined) {
      ({ id } = await this.make(moving));
      await docker.rename(id, container.name);
    } else if (left.state !== 'running') {
      await this.giveBackAddresses(moving);
    }
    await docker.start(id);
    const attachments = (await docker.readContainer(id))?.attachments ?? [];
    return Object.fromEntries(attachments.map(({ network, address }) => [network, address ?? '']));
  }

  async keep(id: string, name: string): Promise<string> {
    const { docker } = this.parts;
    // It would come back with its host, and want its address.
    await docker.forgetRestartPolicy(id);
    const isTaken = (await docker.readContainer(name))?.name === name;
    const free = isTaken ? `${name}-${id.slice(0, 12)}` : name;
    await docker.rename(id, free);
    return free;
  }

  private networkNamed(name: string): NetworkId | undefined {
    const { view, host } = this.parts.store;
    for (const network of view.networks()) {
      if (network.name === name && view.replicaOn(host, network.id) !== undefined) return network.id;
    }
    return undefined;
  }

  /** Made for a move that was cut off: it never ran. */
  private async removeLeftOver(name: string): Promise<void> {
    const { docker } = this.parts;
    const left = await docker.readContainer(name);
    if (left?.name !== name) return;
    if (left.state !== 'created') {
      throw new DaoliError(
        'conflict',
        `container ${name} is left of an earlier move and has run: look at it, and remove it`,
        name,
      );
    }
    await docker.remove(left.id);
  }

  private isKept({ container, networks }: MovingContainer, network: string): boolean {
    const attachment = container.attachments.find((each) => each.network === network);
    return networks[network] !== undefined && attachment?.address !== undefined;
  }

  /** An old engine makes a container in one network, and connects it to the others. */
  private async createAndConnect(name: string, moving: MovingContainer, version: string): Promise<string> {
    const { docker } = this.parts;
    const { container } = moving;
    const isKept = container.primary !== undefined && this.isKept(moving, container.primary);
    const id = await docker.createContainer(name, createRequest(container, version, isKept));
    try {
      for (const attachment of container.attachments) await this.attach(id, moving, attachment, version);
      return id;
    } catch (error) {
      await docker.remove(id);
      throw error;
    }
  }

  /** A newer one makes it in all of them, and only so has it the MAC addresses that are asked for. */
  private async createConnected(name: string, moving: MovingContainer, version: string): Promise<string> {
    const { docker } = this.parts;
    const { container } = moving;
    const keepings = new Map<string, Keeping>();
    for (const { network } of container.attachments) {
      keepings.set(network, this.isKept(moving, network) ? 'address' : 'nothing');
    }
    for (;;) {
      const settings = container.attachments.map((attachment) => {
        const keeping = keepings.get(attachment.network) ?? 'nothing';
        return [attachment.network, connectRequest(container, attachment, keeping, version).EndpointConfig] as const;
      });
      const NetworkingConfig = { EndpointsConfig: Object.fromEntries(settings) };
      try {
        return await docker.createContainer(name, { ...createRequest(container, version, true), NetworkingConfig });
      } catch (error) {
        const refused = networkWithoutChoice(error, keepings);
        const attachment = container.attachments.find(({ network }) => network === refused);
        if (attachment === undefined) throw error;
        this.checkKnownByMac(moving, attachment, version, error);
        keepings.set(attachment.network, 'mac');
      }
    }
  }

  private async attach(id: string, moving: MovingContainer, attachment: Attachment, version: string): Promise<void> {
    const { docker } = this.parts;
    const { container } = moving;
    const { network } = attachment;
    const isKept = this.isKept(moving, network);
    if (network === container.primary) {
      // Docker connects a container to its first network when it makes it.
      if (!isKept && network === PREDEFINED) return;
      await docker.disconnect(network, id);
    }
    if (!isKept) return docker.connect(network, id, connectRequest(container, attachment, 'nothing', version));
    await this.connectKeeping(id, moving, attachment, version);
  }

  /** With the address that it has; where Docker lets nobody choose one, by the MAC address with which our IPAM expects it. */
  private async connectKeeping(id: string, moving: MovingContainer, attachment: Attachment, version: string) {
    const connect = (keeping: Keeping) => {
      const request = connectRequest(moving.container, attachment, keeping, version);
      return this.parts.docker.connect(attachment.network, id, request);
    };
    try {
      await connect('address');
    } catch (error) {
      if (!isWithoutChoice(error)) throw error;
      this.checkKnownByMac(moving, attachment, version, error);
      await connect('mac');
    }
  }

  /** Throws where a container can have its address in this network neither by asking for it nor by its MAC address. */
  private checkKnownByMac(
    { container, networks }: MovingContainer,
    attachment: Attachment,
    version: string,
    cause: unknown,
  ) {
    const { store } = this.parts;
    const { network, address, mac } = attachment;
    const isOurs = !isDockers(store.view, (networks[network] ?? '') as NetworkId, store.host);
    if (isOurs && mac !== undefined && takesMac(container, network, version)) return;
    const why = `was made on host ${store.host} without --subnet, and so Docker gives nobody a chosen address there`;
    const message = `network ${network} ${why} (${address}): make it with --subnet, or choose another host`;
    throw new DaoliError('conflict', message, network, { cause });
  }

  /** Docker gives a container that starts again another address, unless it was chosen: now it is. */
  private async giveBackAddresses(moving: MovingContainer): Promise<void> {
    const { docker } = this.parts;
    const version = await docker.apiVersion();
    for (const attachment of moving.container.attachments) {
      const { network, isChosen } = attachment;
      if (isChosen || !this.isKept(moving, network)) continue;
      await docker.disconnect(network, moving.container.id);
      const connected = await this.connectKeeping(moving.container.id, moving, attachment, version).then(
        () => true,
        () => false,
      );
      if (!connected) await this.connectAnyhow(moving.container, attachment, version);
    }
  }

  private connectAnyhow(container: ContainerDescription, attachment: Attachment, version: string): Promise<void> {
    const request = connectRequest(container, attachment, 'nothing', version);
    return this.parts.docker.connect(attachment.network, container.id, request);
  }
}

function isWithoutChoice(error: unknown): error is DaoliError {
  return error instanceof DaoliError && NO_CHOICE.test(error.message);
}

/** Which of those whose address was asked for Docker means. */
function networkWithoutChoice(error: unknown, keepings: ReadonlyMap<string, Keeping>): string | undefined {
  if (!isWithoutChoice(error)) return undefined;
  const asked = [...keepings].filter(([, keeping]) => keeping === 'address').map(([network]) => network);
  return asked.find((network) => error.message.includes(`network ${network}:`));
}
