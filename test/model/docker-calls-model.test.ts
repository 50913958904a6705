// Random lives of networks and containers as Docker leads them, call by call, with calls that come twice, twice at once or
// without their answer, steps that fail, processes that are killed, and a Docker that dies half way: what there is in the
// end is what Docker believes there is, and no more.
import * as fc from 'fast-check';
import type { EndpointId } from '../../src/directory/rows';
import { linkNamesOf } from '../../src/driver/link-names';
import { DriverWorld, networkBody, publish, type Accident } from '../fakes/driver-world';
import { DockerSide, stateOf, type Reply } from '../fakes/docker-calls';

/** What happens to one call. */
type Mishap =
  | { readonly kind: 'none' | 'again' | 'at once' | 'answer lost' }
  /** At the `step`-th thing that the plugin does for it; then it is said again, or Docker goes on as it does. */
  | { readonly kind: Accident; readonly step: number; readonly isRepeated: boolean };

interface Network {
  readonly id: string;
  readonly cidr: string;
  readonly isDockers: boolean;
}

interface Container {
  readonly network: Network;
  readonly endpointId: string;
  readonly address: string;
  readonly mac: string;
  readonly port: number | undefined;
}

const NETWORKS: readonly Omit<Network, 'id'>[] = [
  { cidr: '10.1.0.0/24', isDockers: false },
  { cidr: '10.2.0.0/24', isDockers: false },
  { cidr: '10.3.0.0/24', isDockers: true },
];
const CONTAINERS = 4;
const NEVER: Mishap = { kind: 'none' };

/** Docker, as it believes the world to be. */
class Docker {
  readonly networks = new Map<number, Network>();
  readonly containers = new Map<number, Container>();
  /** Whether something happened since the last look that the reconciler has to see to. */
  isDisturbed = false;
  private made = 0;
  private said = 0;

  constructor(
    readonly side: DockerSide,
    private readonly mishaps: readonly Mishap[],
  ) {}

  async createNetwork(slot: number): Promise<void> {
    if (this.networks.has(slot)) return;
    const spec = NETWORKS[slot]!;
    const network = { ...spec, id: this.newId() };
    const pool = { AddressSpace: 'daolinet', Pool: spec.cidr, SubPool: '', Options: {}, V6: false };
    if (!spec.isDockers) {
      if (!(await this.isDone('IpamDriver.RequestPool', pool))) return;
      const Options = { RequestAddressType: 'com.docker.network.gateway' };
      const isGiven = await this.isDone('IpamDriver.RequestAddress', { PoolID: poolOf(spec), Address: '', Options });
      if (!isGiven) return this.ignore('IpamDriver.ReleasePool', { PoolID: poolOf(spec) });
    }
    const space = spec.isDockers ? { addressSpace: 'LocalDefault' } : {};
    if (await this.isDone('NetworkDriver.CreateNetwork', networkBody(network.id, { cidr: spec.cidr, ...space }))) {
      this.networks.set(slot, network);
    } else if (!spec.isDockers) await this.releasePool(spec);
  }

  async removeNetwork(slot: number): Promise<void> {
    const network = this.networks.get(slot);
    if (network === undefined || [...this.containers.values()].some((each) => each.network === network)) return;
    this.networks.delete(slot);
    if (!network.isDockers) await this.releasePool(network);
    await this.ignore('NetworkDriver.DeleteNetwork', { NetworkID: network.id });
  }

  async start(slot: number, networkSlot: number, port: number | undefined): Promise<void> {
    const container = await this.prepare(slot, networkSlot, port);
    if (container === undefined) return;
    const { isDockers } = container.network;
    if (!(await this.isDone('NetworkDriver.CreateEndpoint', creation(container)))) {
      if (!isDockers) await this.ignore('IpamDriver.ReleaseAddress', addressIn(container));
      return;
    }
    if (!(await this.isDone('NetworkDriver.Join', joining(container)))) return this.remove(container, 'DeleteEndpoint');
    const isPublished = await this.isDone('NetworkDriver.ProgramExternalConnectivity', programming(container));
    if (!isPublished) return this.remove(container, 'Leave', 'DeleteEndpoint');
    this.containers.set(slot, container);
  }

  async stop(slot: number): Promise<void> {
    const container = this.containers.get(slot);
    if (container === undefined) return;
    this.containers.delete(slot);
    await this.remove(container, 'RevokeExternalConnectivity', 'Leave', 'DeleteEndpoint');
  }

  /** Dockerd dies after it has sent the `last`-th call of a start, and its successor takes all away at once. */
  async abandon(slot: number, networkSlot: number, last: number): Promise<void> {
    const container = await this.prepare(slot, networkSlot, 8090);
    if (container === undefined) return;
    this.isDisturbed = true;
    const calls = [
      ['NetworkDriver.CreateEndpoint', creation(container)],
      ['NetworkDriver.Join', joining(container)],
      ['NetworkDriver.ProgramExternalConnectivity', programming(container)],
    ] as const;
    for (const [method, body] of calls.slice(0, last)) await this.side.say(method, body);
    const [method, body] = calls[last]!;
    const unheard = this.side.ask(method, body);
    await this.remove(container, 'Leave', 'DeleteEndpoint');
    await unheard;
    // What the plugin made for nobody is the host's.
    this.side.world.giveBack(container.endpointId);
  }

  /** What there has to be. */
  expected(): string[] {
    const networks = [...this.networks.values()].flatMap(({ id, cidr, isDockers }) => [
      `network ${id.slice(0, 4)} of ${isDockers ? 'docker' : 'daolinet'}`,
      `pool default/${cidr} in ${id.slice(0, 4)} by ${isDockers ? '' : 'host1'}`,
      `address ${cidr.replace('0/24', '1')} gateway by host1`,
      `flow network ${id.slice(0, 4)}`,
    ]);
    const containers = [...this.containers.values()].flatMap(({ network, endpointId, address, mac, port }) => {
      const id = endpointId.slice(0, 4);
      const link = linkNamesOf(endpointId).host.slice(0, 6);
      const seen = network.isDockers ? 'any' : mac;
      return [
        `address ${address} endpoint by ${network.isDockers ? '' : 'host1'}`,
        `endpoint ${id} in ${network.id.slice(0, 4)}: ${address} ${seen} ${sandboxOf(endpointId)}`,
        `link ${link}`,
        `port ${link}`,
        `flows ${id}`,
        ...(port === undefined
          ? []
          : [`published ${id} tcp ${port}:80`, `let in ${id} tcp ${port}`, `bound ${id} tcp ${port}`]),
      ];
    });
    return [...(networks.length > 0 ? ['tenant default'] : []), ...networks, ...containers].sort();
  }

  private async prepare(slot: number, networkSlot: number, port?: number): Promise<Container | undefined> {
    const network = this.networks.get(networkSlot);
    if (network === undefined || this.containers.has(slot)) return undefined;
    const endpointId = this.newId();
    const mac = `02:42:00:00:00:${this.made.toString(16).padStart(2, '0')}`;
    const container = { network, endpointId, mac, port };
    if (network.isDockers)
      return { ...container, address: network.cidr.replace('0/24', String((this.made % 250) + 2)) };
    const Options = { 'com.docker.network.endpoint.macaddress': mac };
    const reply = await this.say('IpamDriver.RequestAddress', { PoolID: poolOf(network), Address: '', Options });
    if (reply.kind !== 'answer') return undefined;
    return { ...container, address: String(reply.answer['Address']).replace('/24', '') };
  }

  private async remove(container: Container, ...methods: readonly string[]): Promise<void> {
    for (const method of methods) await this.ignore(`NetworkDriver.${method}`, idsOf(container));
    if (!container.network.isDockers) await this.ignore('IpamDriver.ReleaseAddress', addressIn(container));
  }

  private async releasePool(network: Omit<Network, 'id'>): Promise<void> {
    const Address = network.cidr.replace('0/24', '1');
    await this.ignore('IpamDriver.ReleaseAddress', { PoolID: poolOf(network), Address });
    await this.ignore('IpamDriver.ReleasePool', { PoolID: poolOf(network) });
  }

  private async ignore(method: string, body: object): Promise<void> {
    await this.say(method, body);
  }

  private async isDone(method: string, body: object): Promise<boolean> {
    const isDisturbed = this.isDisturbed;
    const reply = await this.say(method, body);
    if (reply.kind === 'error' && !isDisturbed && !this.isDisturbed)
      expect(reply.message).toMatch(/^host port .* already/);
    return reply.kind === 'answer';
  }

  /** What Docker hears in the end. */
  private async say(method: string, body: object): Promise<Reply> {
    const mishap = this.mishaps[(this.said += 1) % Math.max(1, this.mishaps.length)] ?? NEVER;
    switch (mishap.kind) {
      case 'none':
        return this.side.say(method, body);
      case 'again': {
        const reply = await this.side.say(method, body);
        await this.side.say(method, body);
        return reply;
      }
      case 'at once':
        return (await Promise.all([this.side.say(method, body), this.side.say(method, body)]))[0];
      case 'answer lost':
        this.isDisturbed = true;
        return this.side.say(method, body, async () => {
          await this.side.ask(method, body);
          return this.side.ask(method, undefined);
        });
      default: {
        this.isDisturbed = true;
        const first = await this.side.sayWith(mishap.step, mishap.kind, method, body);
        if (first.kind === 'answer' || !mishap.isRepeated) return first;
        return this.side.say(method, body);
      }
    }
  }

  private newId(): string {
    this.made += 1;
    return this.made.toString(16).padStart(4, '0').padEnd(64, '0');
  }
}

const poolOf = ({ cidr }: Omit<Network, 'id'>) => `default/${cidr}`;
const sandboxOf = (endpointId: string) => `/var/run/docker/netns/${endpointId.slice(0, 12)}`;
const idsOf = ({ network, endpointId }: Container) => ({ NetworkID: network.id, EndpointID: endpointId });
const addressIn = ({ network, address }: Container) => ({ PoolID: poolOf(network), Address: address });
const creation = (container: Container) => {
  const MacAddress = container.network.isDockers ? '' : container.mac;
  return { ...idsOf(container), Interface: { Address: `${container.address}/24`, MacAddress }, Options: {} };
};
const joining = (container: Container) => {
  return { ...idsOf(container), SandboxKey: sandboxOf(container.endpointId), Options: {} };
};
const programming = (container: Container) => {
  const map = container.port === undefined ? [] : [publish(container.port, 80)];
  return { ...idsOf(container), Options: { 'com.docker.network.portmap': map } };
};

interface Command {
  readonly text: string;
  /** Docker does one thing after another to the same container. */
  readonly slot: number;
  run(docker: Docker): Promise<void>;
}

const network = fc.nat({ max: NETWORKS.length - 1 });
const slot = fc.nat({ max: CONTAINERS - 1 });
const port = fc.constantFrom(undefined, undefined, 8080, 8081);
const start = fc.tuple(slot, network, port).map(([a, b, c]): Command => ({
  slot: a,
  text: `start ${a} in ${b} -p ${c}`,
  run: (docker) => docker.start(a, b, c),
}));
const stop = slot.map((a): Command => ({ slot: a, text: `stop ${a}`, run: (docker) => docker.stop(a) }));
const abandon = fc.tuple(slot, network, fc.nat({ max: 2 })).map(([a, b, c]): Command => ({
  slot: a,
  text: `abandon ${a} in ${b} at ${c}`,
  run: (docker) => docker.abandon(a, b, c),
}));
const create = network.map((a): Command => ({
  slot: a,
  text: `create ${a}`,
  run: (docker) => docker.createNetwork(a),
}));
const remove = network.map((a): Command => ({
  slot: a,
  text: `remove ${a}`,
  run: (docker) => docker.removeNetwork(a),
}));
const commands = fc.oneof(
  { weight: 3, arbitrary: create },
  { weight: 2, arbitrary: remove },
  { weight: 6, arbitrary: start },
  { weight: 4, arbitrary: stop },
  { weight: 2, arbitrary: abandon },
);
const mishaps = fc.oneof(
  { weight: 4, arbitrary: fc.constant(NEVER) },
  { weight: 2, arbitrary: fc.constantFrom<Mishap>({ kind: 'again' }, { kind: 'at once' }, { kind: 'answer lost' }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom<Accident>('fail', 'killed-before', 'killed-after'),
      step: fc.integer({ min: 1, max: 6 }),
      isRepeated: fc.boolean(),
    }),
  },
);

async function check(docker: Docker): Promise<void> {
  await docker.side.settle();
  if (docker.isDisturbed) await docker.side.reconcile();
  docker.isDisturbed = false;
  const [is, wanted] = [stateOf(docker.side), docker.expected()];
  if (is.join() !== wanted.join()) expect(is).toEqual(wanted);
  for (const { endpointId } of docker.containers.values()) expectWorking(docker.side, endpointId);
}

/** Flows and port are those of the endpoint as the directory has it. */
function expectWorking({ agent, world }: DockerSide, endpointId: string): void {
  const row = agent.store.view.endpoint(endpointId as EndpointId)!;
  const port = world.switch.table.get(linkNamesOf(endpointId).host)?.portNo;
  const locator = agent.flows.endpoints.get(endpointId)?.locator;
  if (port !== row.portNo || locator !== row.locator) expect({ port, locator }).toEqual(row);
}

/** As many of Docker's commands at once as the engine takes, each step of theirs in any order. */
async function atOnce(scheduler: fc.Scheduler, docker: Docker, all: readonly Command[]): Promise<void> {
  const { failpoint, reconciler } = docker.side.agent;
  failpoint.pause = scheduler.scheduleFunction(() => Promise.resolve());
  const bySlot = new Map<number, Promise<void>>();
  for (const command of all) {
    const before = bySlot.get(command.slot) ?? Promise.resolve();
    bySlot.set(
      command.slot,
      before.then(() => command.run(docker)),
    );
  }
  await scheduler.waitFor(Promise.all([...bySlot.values(), reconciler.run()]));
  await scheduler.waitFor(docker.side.settle());
  failpoint.pause = undefined;
}

test('one command of Docker after another: there is what Docker believes, and no more', async () => {
  const lives = fc.tuple(
    fc.array(commands, { minLength: 1, maxLength: 20, size: 'max' }),
    fc.array(mishaps, { maxLength: 30, size: 'max' }),
  );
  await fc.assert(
    fc.asyncProperty(lives, async ([life, accidents]) => {
      const docker = new Docker(await DockerSide.start(new DriverWorld()), accidents);
      for (const command of life) {
        await command.run(docker);
        await check(docker);
      }
    }),
    { numRuns: 60 },
  );
}, 120_000);

test('commands for several containers at once, in any order of their steps: the same', async () => {
  const twice = fc.constantFrom<Mishap>(NEVER, { kind: 'again' }, { kind: 'at once' });
  const lives = fc.tuple(
    fc.array(fc.oneof(start, start, stop, abandon), { minLength: 2, maxLength: 10, size: 'max' }),
    fc.array(twice, { maxLength: 10 }),
  );
  await fc.assert(
    fc.asyncProperty(lives, fc.scheduler(), async ([life, mishapsOfLife], scheduler) => {
      const docker = new Docker(await DockerSide.start(new DriverWorld()), mishapsOfLife);
      for (const each of NETWORKS.keys()) await docker.createNetwork(each);
      await atOnce(scheduler, docker, life);
      await check(docker);
      for (const each of Array(CONTAINERS).keys()) await docker.stop(each);
      for (const each of NETWORKS.keys()) await docker.removeNetwork(each);
      await check(docker);
    }),
    { numRuns: 40 },
  );
}, 120_000);
