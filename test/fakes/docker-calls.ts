// Docker's side of its calls to the plugin, in memory: what it does itself before and after each (the container's end of a
// veth pair, what it lists), how the plugin's answer looks to it, and what the host is like afterwards, in words.

import { formatIpv4, formatMac } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import type { EndpointRow } from '../../src/directory/rows';
import { linkNamesOf } from '../../src/driver/link-names';
import { AgentProcess, Killed, type Accident, type DriverWorld } from './driver-world';

/** One call that a real Docker made, with what it was answered; see test/golden/capture-docker-calls.ts. */
export interface RecordedCall {
  /** During which command of Docker's it came. */
  readonly command: string;
  /** As in "NetworkDriver.Join". */
  readonly method: string;
  /** Null where it had none. */
  readonly body: object | null;
  readonly status: number;
  readonly answer: object | null;
}

/** What Docker reads: an object, or an error, or nothing since the process is gone. */
export type Reply =
  | { readonly kind: 'answer'; readonly answer: Readonly<Record<string, unknown>> }
  | { readonly kind: 'error'; readonly message: string }
  | { readonly kind: 'gone' };

interface Ids {
  readonly NetworkID: string;
  readonly EndpointID: string;
  readonly Pool: string;
  readonly PoolID: string;
}

/** Docker, which says one thing after another to the plugin, whichever process that is at the time. */
export class DockerSide {
  private constructor(
    readonly world: DriverWorld,
    public agent: AgentProcess,
  ) {}

  static async start(world: DriverWorld): Promise<DockerSide> {
    return new DockerSide(world, await new AgentProcess(world).boot());
  }

  /** The plugin's process is gone, if it is not yet, and another one is there. */
  async restart(): Promise<void> {
    this.agent.failpoint.isDead = true;
    this.agent = await new AgentProcess(this.world).boot();
  }

  /** Says something, and does what Docker does around it. `ask` is how the plugin's answer comes about. */
  async say(method: string, body: unknown, ask = () => this.ask(method, body)): Promise<Reply> {
    const ids = (body ?? {}) as Ids;
    if (method === 'NetworkDriver.DeleteEndpoint') this.world.giveBack(ids.EndpointID);
    const reply = await ask();
    this.note(method, ids, reply);
    return reply;
  }

  /** The same, and the plugin's process, which may have answered by then, meets an accident at the `step`-th thing that it does for it. */
  async sayWith(step: number, accident: Accident, method: string, body: unknown): Promise<Reply> {
    const { failpoint } = this.agent;
    failpoint.arm(step, accident);
    const reply = await this.say(method, body);
    await this.settle();
    failpoint.disarm();
    if (failpoint.isDead) await this.restart();
    return reply;
  }

  /** Resolves when nothing that earlier calls began is under way. */
  async settle(): Promise<void> {
    while (this.agent.driver.calls.size > 0) await new Promise((resolve) => setImmediate(resolve));
  }

  /** The reconciler looks until all that nobody wants is gone. */
  async reconcile(): Promise<void> {
    for (let look = 0; look < 3; look += 1) {
      const { failed, askedDocker } = await this.agent.reconciler.run();
      if (failed > 0 || !askedDocker) throw new Error(`the reconciler failed ${failed} times`);
      this.world.clock.advance(60_000);
    }
  }

  /** Says something, and nothing else. */
  async ask(method: string, body: unknown): Promise<Reply> {
    try {
      return { kind: 'answer', answer: await this.agent.handle(method, body) };
    } catch (error) {
      if (error instanceof Killed || this.agent.failpoint.isDead) return { kind: 'gone' };
      if (error instanceof DaoliError) return { kind: 'error', message: error.message };
      throw error;
    }
  }

  /** Docker goes on after every error of a call that takes something away. */
  private note(method: string, { NetworkID, EndpointID, Pool, PoolID }: Ids, { kind }: Reply): void {
    const { docker, host } = this.world;
    const isDone = kind === 'answer';
    switch (method) {
      case 'IpamDriver.RequestPool':
        if (isDone) docker.subnets.add(Pool);
        return;
      case 'IpamDriver.ReleasePool':
        docker.subnets.delete(PoolID.replace(/^[^/]*\//, ''));
        return;
      case 'NetworkDriver.CreateNetwork':
        if (isDone && !docker.networks.some(({ id }) => id === NetworkID)) docker.addNetwork(NetworkID);
        return;
      case 'NetworkDriver.DeleteNetwork':
        docker.dropNetwork(NetworkID);
        return;
      case 'NetworkDriver.CreateEndpoint':
        if (isDone && !docker.endpoints.some(({ endpointId }) => endpointId === EndpointID)) {
          docker.addEndpoint(EndpointID, NetworkID);
        }
        return;
      case 'NetworkDriver.Join':
        if (isDone) host.links.table.delete(linkNamesOf(EndpointID).container);
        return;
      case 'NetworkDriver.DeleteEndpoint':
        docker.removeEndpoint(EndpointID);
    }
  }
}

/**
 * What there is, in words that are the same in every world: without what is allocated (row ids, locators, numbers of ports
 * and networks), without the MAC addresses that the driver makes up, and without what it prepares for a Join that is to come.
 */
export function stateOf({ world, agent }: DockerSide): string[] {
  const { view } = agent.store;
  const prepared = new Set(
    [...view.endpoints()]
      .filter(({ sandbox }) => sandbox === undefined)
      .flatMap(({ id }) => Object.values(linkNamesOf(id))),
  );
  const isMade = (name: string): boolean => !prepared.has(name);
  const short = (id: string): string => id.slice(0, 4);
  const macOf = (endpoint: EndpointRow): string =>
    view.network(endpoint.networkId)?.ipam === 'docker' ? 'any' : formatMac(endpoint.mac);
  return [
    ...[...view.networks()].map(
      ({ id, internal, ipam }) => `network ${short(id)} of ${ipam}${internal ? ', internal' : ''}`,
    ),
    ...[...view.pools()].map(
      (pool) => `pool ${pool.id} in ${short(pool.networkId ?? 'none')} by ${pool.holders.join()}`,
    ),
    ...[...view.pools()]
      .flatMap((pool) => [...view.addressesOf(pool.id)])
      .map((row) => `address ${formatIpv4(row.address)} ${row.use} by ${row.holders.join()}`),
    ...[...view.endpoints()].map((endpoint) => {
      const { id, networkId, address, sandbox } = endpoint;
      return `endpoint ${short(id)} in ${short(networkId)}: ${formatIpv4(address)} ${macOf(endpoint)} ${sandbox ?? 'not joined'}`;
    }),
    ...[...view.publishedPorts()].map(
      ({ endpoint, port }) => `published ${short(endpoint.id)} ${port.protocol} ${port.hostPort}:${port.containerPort}`,
    ),
    ...[...view.tenants()].map(({ name }) => `tenant ${name}`),
    ...[...world.host.links.table.keys()].filter(isMade).map((name) => `link ${name.slice(0, 6)}`),
    ...[...world.switch.table.keys()].filter(isMade).map((name) => `port ${name.slice(0, 6)}`),
    ...[...world.host.firewall.published.values()].flatMap(({ endpointId, ports }) =>
      ports.map(({ protocol, hostPort }) => `let in ${short(endpointId)} ${protocol} ${hostPort}`),
    ),
    ...agent.ports
      .list()
      .map(({ endpointId, protocol, hostPort }) => `bound ${short(endpointId)} ${protocol} ${hostPort}`),
    ...[...agent.flows.endpoints.keys()].map((id) => `flows ${short(id)}`),
    ...[...agent.flows.networks.keys()].map((id) => `flow network ${short(id)}`),
  ].sort();
}
