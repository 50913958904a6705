// A process that is killed, or a step that fails, anywhere in the life of a container or a network: after the reconciler
// nothing is left that Docker does not have, and what Docker has still works.
import { formatMac, parseIpv4 } from '../../src/base/addresses';
import { deleteEndpoint } from '../../src/directory/endpoint-operations';
import type { EndpointId, PoolId } from '../../src/directory/rows';
import { linkNamesOf } from '../../src/driver/link-names';
import { holderOf } from '../../src/driver/port-holders';
import { ENDPOINT_GRACE_MS } from '../../src/driver/reconcile';
import {
  AgentProcess,
  containerIn,
  DockerActor,
  DriverWorld,
  Failpoint,
  publish,
  type Container,
} from '../fakes/driver-world';

const POOL = 'default/10.1.0.0/24' as PoolId;
const NETWORK = { cidr: '10.1.0.0/24' };
const OTHER = { cidr: '10.2.0.0/24' };
const DOCKERS = { cidr: '10.3.0.0/24', addressSpace: 'LocalDefault' };
const GRACE_MS = 120_000;

interface Survivor {
  readonly networkId: string;
  readonly container: Container;
}

/** A container with a published port, started before anything goes wrong. */
async function startSurvivor(world: DriverWorld): Promise<Survivor> {
  const agent = await new AgentProcess(world).boot();
  const docker = new DockerActor(world, agent);
  const networkId = await docker.createNetwork(NETWORK);
  const container = containerIn(networkId, POOL, '10.1.0.100', [publish(9000, 90)]);
  await docker.startContainer(container);
  return { networkId, container };
}

/** Networks and containers come and go; what fails is undone by Docker as far as it does. */
async function live(docker: DockerActor, networkId: string): Promise<void> {
  const attempt = async (task: Promise<unknown>): Promise<void> => void (await task.catch(() => undefined));
  const container = containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80), publish(0, 443)]);
  await attempt(docker.startContainer(container));
  for (const spec of [OTHER, DOCKERS]) {
    await attempt(
      docker.createNetwork(spec).then(async (id) => {
        const inOther = containerIn(id, undefined, spec.cidr.replace('0/24', '7'));
        await attempt(docker.startContainer(inOther));
        await docker.stopContainer(inOther);
        await docker.removeNetwork(id, spec);
      }),
    );
  }
  await docker.stopContainer(container);
}

/** A new process reconciles until the grace time is over. */
async function recover(world: DriverWorld): Promise<AgentProcess> {
  const agent = await new AgentProcess(world).boot();
  await reconcile(agent);
  return agent;
}

async function reconcile(agent: AgentProcess): Promise<void> {
  for (let look = 0; look < 3; look += 1) {
    const { failed, askedDocker } = await agent.reconciler.run();
    expect({ failed, askedDocker }).toEqual({ failed: 0, askedDocker: true });
    agent.world.clock.advance(GRACE_MS / 2);
  }
}

function expectWorking(agent: AgentProcess, { container }: Survivor): void {
  const { endpointId } = container;
  const row = agent.store.view.endpoint(endpointId as EndpointId);
  expect(agent.flows.endpoints.get(endpointId)).toMatchObject({ locator: row?.locator });
  expect(agent.world.switch.table.get(linkNamesOf(endpointId).host)?.portNo).toBe(row?.portNo);
  expect(agent.world.host.links.table.has(linkNamesOf(endpointId).host)).toBe(true);
  expect(agent.ports.list()).toMatchObject([{ endpointId, hostPort: 9000 }]);
  expect(agent.world.host.firewall.published.get(endpointId)?.ports).toMatchObject([{ hostPort: 9000 }]);
}

/** What there is when only the survivor is left. */
async function baseline(): Promise<string[]> {
  const world = new DriverWorld();
  await startSurvivor(world);
  const agent = await recover(world);
  return withoutIds(world.leftovers(agent));
}

/** Ids differ from world to world. */
function withoutIds(lines: readonly string[]): string[] {
  return lines.map((line) => line.replace(/ (d[lc])?[0-9a-f]{4}$/, ' $1#')).sort();
}

async function countSteps(): Promise<number> {
  const world = new DriverWorld();
  const { networkId } = await startSurvivor(world);
  const failpoint = new Failpoint(0, 'fail');
  const agent = await new AgentProcess(world, { failpoint }).boot();
  await live(new DockerActor(world, agent), networkId);
  return failpoint.steps.length;
}

test('the scenario passes all kinds of steps, and leaves nothing by itself', async () => {
  const world = new DriverWorld();
  const { networkId } = await startSurvivor(world);
  const failpoint = new Failpoint(0, 'fail');
  const agent = await new AgentProcess(world, { failpoint }).boot();
  await agent.reconciler.run();
  const before = world.leftovers(agent);
  await live(new DockerActor(world, agent), networkId);
  expect(world.leftovers(agent)).toEqual(before);
  expect(new Set(failpoint.steps)).toEqual(
    new Set([
      'directory.transact',
      'flows.setNetwork',
      'flows.removeNetwork',
      'flows.addEndpoint',
      'flows.removeEndpoint',
      'switch.addPort',
      'switch.removePort',
      'links.createVeth',
      'links.deleteLink',
      'firewall.publish',
      'firewall.withdraw',
      'firewall.flushConnections',
      'ports.reserve',
      'ports.release',
    ]),
  );
});

test.each(['killed-before', 'killed-after'] as const)(
  '%s any step: nothing is left, and the others work',
  async (mode) => {
    const expected = await baseline();
    const steps = await countSteps();
    expect(steps).toBeGreaterThan(50);
    for (let at = 1; at <= steps; at += 1) {
      const world = new DriverWorld();
      const survivor = await startSurvivor(world);
      const failpoint = new Failpoint(at, mode);
      const dying = await new AgentProcess(world, { failpoint }).boot();
      await live(new DockerActor(world, dying), survivor.networkId);
      const step = `${failpoint.steps.at(-1)} (${at})`;
      const agent = await recover(world);
      expect([step, ...withoutIds(world.leftovers(agent))]).toEqual([step, ...expected]);
      expectWorking(agent, survivor);
    }
  },
);

test('any step fails while the process lives on: nothing is left, and the others work', async () => {
  const expected = await baseline();
  const steps = await countSteps();
  for (let at = 1; at <= steps; at += 1) {
    const world = new DriverWorld();
    const survivor = await startSurvivor(world);
    const failpoint = new Failpoint(at, 'fail');
    const agent = await new AgentProcess(world, { failpoint }).boot();
    await live(new DockerActor(world, agent), survivor.networkId);
    const step = `${failpoint.steps[at - 1]} (${at})`;
    world.clock.advance(GRACE_MS);
    await reconcile(agent);
    expect([step, ...withoutIds(world.leftovers(agent))]).toEqual([step, ...expected]);
    expectWorking(agent, survivor);
  }
});

test('Docker removed a container while the plugin was dead', async () => {
  const world = new DriverWorld();
  const survivor = await startSurvivor(world);
  world.docker.removeEndpoint(survivor.container.endpointId);
  world.giveBack(survivor.container.endpointId);
  world.docker.dropNetwork(survivor.networkId);
  world.docker.subnets.clear();
  const agent = await recover(world);
  expect(world.leftovers(agent)).toEqual([]);
});

test('nothing is taken away while Docker does not answer, nor before the grace time is over', async () => {
  const world = new DriverWorld();
  const survivor = await startSurvivor(world);
  world.docker.removeEndpoint(survivor.container.endpointId);
  world.giveBack(survivor.container.endpointId);
  const agent = await new AgentProcess(world).boot();
  world.docker.setAvailable(false);
  for (let look = 0; look < 5; look += 1) {
    expect((await agent.reconciler.run()).askedDocker).toBe(false);
    world.clock.advance(GRACE_MS);
  }
  expectWorking(agent, survivor);
  world.docker.setAvailable(true);
  await agent.reconciler.run(); // suspected from here on
  world.clock.advance(ENDPOINT_GRACE_MS - 1);
  await agent.reconciler.run();
  expectWorking(agent, survivor);
  world.clock.advance(1);
  await agent.reconciler.run();
  expect(agent.store.view.endpointCount()).toBe(0);
});

test('a host that was rebooted: Docker forgets its endpoints, or we do', async () => {
  const world = new DriverWorld();
  const survivor = await startSurvivor(world);
  const { host, container } = linkNamesOf(survivor.container.endpointId);
  world.host.links.table.delete(host);
  world.host.links.table.delete(container);
  world.switch.table.clear();
  const agent = await new AgentProcess(world).boot();
  await agent.reconciler.run();
  expect(world.switch.table.size).toBe(0); // nothing to attach
  await new DockerActor(world, agent).stopContainer(survivor.container);
  const kept = ['network', 'pool', 'address', 'tenant', 'flow network'];
  expect(world.leftovers(agent).filter((line) => !kept.some((word) => line.startsWith(word)))).toEqual([]);
});

test('the bridge was made anew: ports come back under their numbers', async () => {
  const world = new DriverWorld();
  const survivor = await startSurvivor(world);
  const agent = await recover(world);
  world.switch.table.clear();
  agent.flows.endpoints.clear();
  await agent.reconciler.run();
  expectWorking(agent, survivor);
});

test('a Docker that lists nothing of ours takes no running container with it', async () => {
  const world = new DriverWorld();
  const survivor = await startSurvivor(world);
  world.docker.removeEndpoint(survivor.container.endpointId);
  world.docker.dropNetwork(survivor.networkId);
  const agent = await recover(world);
  expectWorking(agent, survivor);
  // As soon as the container has ended, everything of it goes.
  world.host.links.table.delete(linkNamesOf(survivor.container.endpointId).host);
  world.docker.subnets.clear();
  await reconcile(agent);
  expect(world.leftovers(agent)).toEqual([]);
});

test('a directory that was lost takes no running container with it', async () => {
  const world = new DriverWorld();
  await startSurvivor(world);
  const [links, ports] = [[...world.host.links.table.keys()], [...world.switch.table.keys()]];
  const empty = new DriverWorld();
  Object.assign(empty, { host: world.host, switch: world.switch });
  await recover(empty);
  expect([...world.host.links.table.keys()]).toEqual(links);
  expect([...world.switch.table.keys()]).toEqual(ports);
});

test('a directory that begins anew with a backup learns of running containers that are younger, from Docker', async () => {
  const world = new DriverWorld();
  const survivor = await startSurvivor(world);
  const agent = await recover(world);
  const docker = new DockerActor(world, agent);
  const younger = containerIn(survivor.networkId, POOL, '10.1.0.7');
  await docker.startContainer(younger);
  const id = younger.endpointId as EndpointId;
  const { mac } = agent.store.view.endpoint(id)!;
  const listed = world.docker.endpoints.find(({ endpointId }) => endpointId === id)!;
  const given = { address: '10.1.0.7', mac: formatMac(mac), sandbox: younger.sandbox };
  world.docker.endpoints = world.docker.endpoints.map((each) =>
    each === listed ? { ...each, interface: given } : each,
  );
  // The rows of before.
  await agent.store.transact((context) => ({ ops: deleteEndpoint(context, id), result: undefined }));
  await agent.releaseAddress(POOL, '10.1.0.7');
  const again = await new AgentProcess(world).boot();
  expect((await again.reconciler.run()).failed).toBe(0);
  const row = again.store.view.endpoint(id);
  expect(row).toMatchObject({ mac, address: parseIpv4('10.1.0.7'), sandbox: younger.sandbox });
  expect(again.flows.endpoints.get(id)).toMatchObject({ locator: row?.locator });
  expect(world.switch.table.get(linkNamesOf(id).host)?.portNo).toBe(row?.portNo);
  expectWorking(again, survivor);
  await reconcile(again);
  await new DockerActor(world, again).stopContainer(younger);
  expect(again.store.view.endpointCount()).toBe(1);
});

test('the port of a firewall rule, which Docker knows nothing of, stays bound', async () => {
  const agent = await new AgentProcess(new DriverWorld()).boot();
  const port = { protocol: 'tcp', hostIp: '', firstPort: 20_080, lastPort: 20_080, containerPort: 80 } as const;
  await agent.ports.reserve({ ...port, endpointId: holderOf('web'), locator: undefined });
  await reconcile(agent);
  expect(agent.ports.list()).toMatchObject([{ endpointId: holderOf('web'), hostPort: 20_080 }]);
});
