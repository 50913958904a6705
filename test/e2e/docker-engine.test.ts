// The client of the Docker engine against a real one, restarted under it. Needs root.
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import type { ContainerEvent, DockerHandlers, NetworkEvent } from '../../src/docker/docker';
import { Engine } from '../../src/docker/engine';
import { Host, IMAGE } from '../../lab/host';
import { Namespace, waitFor } from '../../lab/namespace';

jest.setTimeout(120_000);

const host = new Host(Namespace.create('engine'), { ovs: false });
let docker: Engine;

beforeAll(async () => {
  await host.boot();
  await host.importImage();
  docker = new Engine({
    socketPath: host.path('/run/docker.sock'),
    // Docker's bridge plays our driver.
    drivers: ['bridge', 'daolinet', 'daolinet/daolinet:latest'],
    clock: systemClock,
    logger: silentLogger,
    random: Math.random,
  });
});

afterAll(() => host.stop());

class Listener implements DockerHandlers {
  connections = 0;
  losses = 0;
  readonly containers: ContainerEvent[] = [];
  readonly networks: NetworkEvent[] = [];
  onConnected = (): void => void (this.connections += 1);
  onDisconnected = (): void => void (this.losses += 1);
  onContainer = (event: ContainerEvent): void => void this.containers.push(event);
  onNetwork = (event: NetworkEvent): void => void this.networks.push(event);
}

test('networks, endpoints and events are as Docker shows them, also after its restart', async () => {
  const listener = new Listener();
  const watch = docker.watch(listener);
  await waitFor('the first connection', () => listener.connections === 1);

  const networkId = await host.docker('network', 'create', '--internal', '--label', 'team=red', 'demo');
  const containerId = await host.docker(
    ...['run', '-d', '--name', 'web', '--network', 'demo', '--network-alias', 'www', IMAGE, 'sleep', '1000'],
  );
  await host.docker('rename', 'web', 'shop');
  await waitFor('the events', () => listener.containers.length === 2);
  expect(listener.containers).toEqual([
    { action: 'start', containerId, containerName: 'web' },
    { action: 'rename', containerId, containerName: 'shop' },
  ]);
  const network = { networkId, networkName: 'demo', driver: 'bridge' };
  expect(listener.networks).toEqual([
    { action: 'create', ...network },
    { action: 'connect', ...network, containerId },
  ]);

  const list = async (): Promise<unknown> => ({
    networks: (await docker.listNetworks()).filter(({ id }) => id === networkId),
    endpoints: await docker.listEndpoints(),
    bridges: await docker.listBridges(),
  });
  const before = await list();
  expect(before).toEqual({
    networks: [
      { id: networkId, name: 'demo', driver: 'bridge', scope: 'local', internal: true, labels: { team: 'red' } },
    ],
    endpoints: [
      {
        endpointId: expect.stringMatching(/^[0-9a-f]{64}$/) as string,
        networkId,
        containerId,
        containerName: 'shop',
        aliases: expect.arrayContaining(['www']) as string[],
        labels: new Map(),
        interface: {
          address: expect.stringMatching(/^\d+\.\d+\.\d+\.\d+$/) as string,
          mac: expect.stringMatching(/^02:42(:[0-9a-f]{2}){4}$/) as string,
          sandbox: expect.stringMatching(/^\/var\/run\/docker\/netns\//) as string,
        },
      },
    ],
    bridges: expect.arrayContaining(['docker0', `br-${networkId.slice(0, 12)}`]) as string[],
  });
  expect(await docker.listContainerEndpoints(containerId)).toHaveLength(1);

  await host.restartDockerd({ liveRestore: true });
  await waitFor('the connection after the restart', () => listener.connections >= 2, 30_000);
  expect(listener.losses).toBeGreaterThanOrEqual(1);
  expect(await list()).toEqual(before);

  await host.docker('rm', '-f', 'shop');
  await waitFor('the end of the container', () => listener.containers.some(({ action }) => action === 'destroy'));
  expect(await docker.listEndpoints()).toEqual([]);
  expect(await docker.listContainerEndpoints(containerId)).toEqual([]);
  watch.stop();
});
