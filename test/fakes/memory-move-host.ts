// One host of a move, over a directory in memory: what it is asked is written down, its containers have endpoints as Docker and the
// driver would make them, and each step can be told to fail, before or after it was done.

import { DaoliError } from '../../src/base/errors';
import { parseIpv4, parseMac } from '../../src/base/addresses';
import {
  deleteEndpoint,
  insertEndpoint,
  releaseAddress,
  updateEndpoint,
} from '../../src/directory/endpoint-operations';
import type { EndpointId, NetworkId } from '../../src/directory/rows';
import type { ContainerDescription, ContainerState } from '../../src/docker/container-description';
import { AddressCursors, planAddress } from '../../src/ipam/addresses';
import type { Findings, MadeContainer, MoveHost, MovingContainer, Standing } from '../../src/move/move-host';
import type { MemoryDirectory } from './memory-directory';

export type Step = Exclude<keyof MoveHost, 'name'>;

interface Held {
  name: string;
  state: ContainerState;
  moving: MovingContainer;
}

export class MemoryMoveHost implements MoveHost {
  readonly containers = new Map<string, Held>();
  readonly asked: string[] = [];
  findings: Findings = { obstacles: [], objections: [], warnings: [] };
  /** Steps that fail, and whether after they were done. */
  readonly faults = new Map<Step, 'before' | 'after'>();
  /** What it makes ends at once. */
  endsAtOnce = false;
  private made = 0;

  constructor(readonly store: MemoryDirectory) {}

  get name(): string {
    return this.store.host;
  }

  /** A container that is there already. */
  async add(moving: MovingContainer, state: ContainerState = 'running'): Promise<void> {
    const { id, name } = moving.container;
    this.containers.set(id, { name, state: 'created', moving });
    if (state === 'running') await this.run(id);
    this.held(id).state = state;
  }

  named(name: string): ContainerState | undefined {
    return [...this.containers.values()].find((each) => each.name === name)?.state;
  }

  describe(container: string): Promise<MovingContainer | undefined> {
    return this.do('describe', async () => {
      const found = [...this.containers].find(([id, { name }]) => name === container || id === container)?.[1];
      if (found === undefined) return undefined;
      const { moving, name, state } = found;
      return { ...moving, container: { ...moving.container, name, state } };
    });
  }

  check(): Promise<Findings> {
    return this.do('check', async () => this.findings);
  }

  make(moving: MovingContainer): Promise<MadeContainer> {
    return this.do('make', async () => {
      const id = `${this.name}${(this.made += 1)}`.replace('h', 'a').padEnd(64, '0');
      this.containers.set(id, { name: `interim-${moving.container.name}`, state: 'created', moving });
      return { id, networksWithMac: moving.container.attachments.map(({ network }) => network) };
    });
  }

  rename(id: string, name: string): Promise<void> {
    return this.do('rename', async () => void (this.held(id).name = name));
  }

  start(id: string): Promise<void> {
    return this.do('start', () => this.run(id));
  }

  look(id: string): Promise<Standing> {
    return this.do('look', async () => {
      if (this.endsAtOnce) await this.end(id);
      const isRunning = this.held(id).state === 'running';
      return { isRunning, exitCode: isRunning ? 0 : 1, output: isRunning ? '' : 'no configuration' };
    });
  }

  stop(id: string): Promise<void> {
    return this.do('stop', () => this.end(id));
  }

  revive(moving: MovingContainer): Promise<Readonly<Record<string, string>>> {
    return this.do('revive', async () => {
      await this.run(moving.container.id);
      return Object.fromEntries(moving.container.attachments.map(({ network, address }) => [network, address ?? '']));
    });
  }

  remove(id: string): Promise<void> {
    return this.do('remove', async () => {
      await this.end(id);
      this.containers.delete(id);
    });
  }

  keep(id: string, name: string): Promise<string> {
    return this.do('keep', async () => (this.held(id).name = name));
  }

  private async do<T>(step: Step, act: () => Promise<T>): Promise<T> {
    this.asked.push(step);
    const fault = this.faults.get(step);
    if (fault === 'before') throw new DaoliError('unavailable', `told to fail at ${step}`);
    const result = await act();
    if (fault === 'after') throw new DaoliError('unavailable', `told to fail after ${step}`);
    return result;
  }

  private held(id: string): Held {
    const held = this.containers.get(id);
    if (held === undefined) throw new DaoliError('conflict', `Docker refuses it: no such container: ${id}`);
    return held;
  }

  /** RequestAddress and CreateEndpoint for each of its networks. */
  private async run(id: string): Promise<void> {
    const held = this.held(id);
    if (held.state === 'running') return;
    const { container, networks } = held.moving;
    for (const [index, attachment] of container.attachments.entries()) {
      const networkId = networks[attachment.network] as NetworkId;
      const address = parseIpv4(attachment.address!);
      const mac = parseMac(attachment.mac!);
      const [pool] = this.store.view.poolsOfNetwork(networkId);
      const request = { poolId: pool!.id, address, use: 'endpoint', mac } as const;
      // Docker's own IPAM asks nobody.
      if (this.store.view.network(networkId)?.ipam === 'daolinet') {
        await this.store.transact((context) => planAddress(context, request, new AddressCursors()));
      }
      const endpointId = `${id.slice(0, 60)}${index}`.padEnd(64, '0') as EndpointId;
      const interfaceName = `dl${endpointId.slice(0, 4)}`;
      const endpoint = { id: endpointId, networkId, address, mac, interfaceName };
      await this.store.transact((context) => ({ ops: insertEndpoint(context, endpoint), result: undefined }));
      const changes = { sandbox: '/x', containerId: id, containerName: held.name };
      await this.store.transact((context) => ({
        ops: updateEndpoint(context, endpointId, changes),
        result: undefined,
      }));
    }
    held.state = 'running';
  }

  /** DeleteEndpoint and ReleaseAddress. */
  private async end(id: string): Promise<void> {
    const held = this.containers.get(id);
    if (held === undefined) return;
    for (const endpoint of [...this.store.view.endpointsOn(this.name)]) {
      if (endpoint.containerId !== id) continue;
      await this.store.transact((context) => ({ ops: deleteEndpoint(context, endpoint.id), result: undefined }));
      const release = { pool: endpoint.poolId, address: endpoint.address };
      await this.store.transact((context) => ({
        ops: releaseAddress(context, release.pool, release.address),
        result: undefined,
      }));
    }
    held.state = 'exited';
  }
}

/** A container of these networks, each with its address and MAC address. */
export function movingContainer(
  name: string,
  networks: Readonly<Record<string, { readonly id: string; readonly address: string; readonly mac: string }>>,
  more: Partial<ContainerDescription> = {},
): MovingContainer {
  const names = Object.keys(networks);
  return {
    container: {
      id: Buffer.from(name).toString('hex').padEnd(64, '0'),
      name,
      state: 'running',
      exitCode: 0,
      image: 'busybox',
      imageId: 'sha256:1234',
      primary: names[0],
      config: { Image: 'busybox' },
      hostConfig: { NetworkMode: names[0] },
      attachments: Object.entries(networks).map(([network, { address, mac }]) => ({
        network,
        networkId: '',
        address,
        mac,
        isChosen: false,
        settings: {},
      })),
      mounts: [],
      ports: [],
      labels: {},
      autoRemove: false,
      stopSeconds: 10,
      ...more,
    },
    networks: Object.fromEntries(Object.entries(networks).map(([network, { id }]) => [network, id])),
    memory: 0,
    changedFiles: 0,
  };
}
