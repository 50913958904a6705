// What endpoints stand on: bridge, host port, kernel settings, packet filter. Brought up at the start, and again whenever
// Open vSwitch or the bridge were lost; every step is idempotent.

import { existsSync } from 'node:fs';
import {
  cidrHolds,
  cidrsOverlap,
  formatCidr,
  formatIpv4,
  formatMac,
  type Cidr,
  type Ipv4,
  type Mac,
} from './base/addresses';
import type { Clock } from './base/clock';
import { DaoliError, messageOf } from './base/errors';
import type { Logger } from './base/logger';
import { mayShareL2 } from './directory/reach';
import { dnsAddressOf, hostLocator, MAX_ENDPOINT_PORT_NO } from './directory/allocation';
import type { HostRow } from './directory/rows';
import type { DirectoryStore } from './directory/store';
import { KeyedQueue } from './base/keyed-queue';
import { flowHostOf } from './flow-profile';
import type { FlowFabric, FlowHost } from './flowctl/model';
import type { FirewallConfig, Host, HostAddress, HostRoute, PublishedEndpoint } from './host/host';
import { TUNNEL_NAME } from './host/tunnel-plan';
import { FRONT_PORT } from './cluster/front';
import { RelayRoutes } from './relay-routes';
import type { Settings } from './settings';
import type { DatapathType } from './switch/bridge-profile';
import type { Switch } from './switch/switch';

/** The internal port of the bridge that leads into the host's own IP stack. */
export const HOST_INTERFACE = 'daoli0';
/** The port onto the L2 of the site. */
export const FABRIC_INTERFACE = 'daoli-fab';
/** Above those of endpoints, which are given out from 1. */
const HOST_PORT_NO = MAX_ENDPOINT_PORT_NO + 1;
const FABRIC_PORT_NO = MAX_ENDPOINT_PORT_NO + 2;
const FABRIC_RETRY_MS = 5_000;

/** The kernel's datapath where it has one, else OVS's own in user space. */
export function chooseDatapath(setting: Settings['datapath']): Exclude<DatapathType, 'dummy'> {
  if (setting !== 'auto') return setting;
  return existsSync('/sys/module/openvswitch') ? 'system' : 'netdev';
}

export interface UnderlayParts {
  readonly settings: Pick<Settings, 'mtu' | 'locatorRange'>;
  readonly datapath: DatapathType;
  readonly host: Host;
  readonly store: DirectoryStore;
  readonly switch: Pick<Switch, 'ensureBridge' | 'ensureInternalPort' | 'port' | 'addPort' | 'removePort'>;
  readonly controller: { setHost(host: FlowHost): void };
  readonly logger: Logger;
  readonly clock: Clock;
}

/** This host's row, with what is worked out of it. */
interface OwnHost {
  readonly row: HostRow;
  /** The host's own locator, the address of `daoli0`. */
  readonly address: Ipv4;
  /** The block that it is in. */
  readonly block: Cidr;
  /** Where the agent answers for names, in a cluster. */
  readonly dnsAddress: Ipv4 | undefined;
}

export class Underlay {
  private dockerBridges: readonly string[] = [];
  private readonly queue = new KeyedQueue();
  private hostPort: FlowHost['hostPort'];
  private cancelRetry = (): void => undefined;
  /** What the packet filter knows of hosts. */
  private filtered = '';
  /** A refresh that has not begun yet: it will see everything until then. */
  private nextRefresh: Promise<void> | undefined;
  private readonly relayRoutes: RelayRoutes;
  /** What goes to such a locator may not be larger, in bytes: see FlowFabric. */
  private fabricMtu: number | undefined;
  private foreign: readonly HostAddress[] = [];
  /** What keeps the fabric from being there, as logged last. */
  private inTheWay = '';

  constructor(private readonly parts: UnderlayParts) {
    const { links } = parts.host;
    const { locatorRange } = parts.settings;
    this.relayRoutes = new RelayRoutes({ links, device: HOST_INTERFACE, locatorRange });
  }

  /** Brings everything to where it should be. Idempotent. Throws what is in the way. */
  bringUp(): Promise<void> {
    return this.queue.run('underlay', () => this.bringUpNow());
  }

  /** Hosts or networks have changed: their blocks, whether there are peers, what endpoints may send. */
  refresh(): Promise<void> {
    this.nextRefresh ??= this.queue.run('underlay', async () => {
      this.nextRefresh = undefined;
      const own = this.ownHost();
      await this.routeBlocks(own);
      await this.tellController(own);
      await this.routeRelayed(own);
      await this.lookForForeign();
      if (this.filterKey(own.row) !== this.filtered) await this.applyFirewall(own);
    });
    return this.nextRefresh;
  }

  private async bringUpNow(): Promise<void> {
    const { host, switch: ovs, logger } = this.parts;
    await host.kernel.makeWritable();
    if (await host.kernel.enableForwarding()) logger.info('switched on net.ipv4.ip_forward');
    const own = this.ownHost();
    const { row } = own;
    refuseOverlap(row, await host.links.hostRoutes());
    await host.links.refuseUnrouted(this.parts.settings.locatorRange);
    await ovs.ensureBridge();
    const mac = hostPortMac(row.routerMac);
    const portNo = await ovs.ensureInternalPort(HOST_INTERFACE, {
      mac: formatMac(mac),
      ofportRequest: HOST_PORT_NO,
    });
    this.hostPort = { portNo, mac };
    await this.configureHostInterface(own, mac);
    await this.tellController(own);
    await this.routeRelayed(own);
    await this.lookForForeign();
    await this.applyFirewall(own);
  }

  /** Makes the routes to these locators of other hosts, and no others. */
  setRelayed(locators: readonly Ipv4[]): Promise<void> {
    return this.relayRoutes.set(locators) ? this.refresh() : Promise.resolve();
  }

  private async tellController(own: OwnHost): Promise<void> {
    const { controller, settings, datapath, store } = this.parts;
    const fabric = await this.ensureFabric(own).then(
      (made) => this.withFabric(made),
      (error: unknown) => this.withoutFabric(error),
    );
    this.fabricMtu = fabric?.mtu;
    const facts = { fabric, hostPort: this.hostPort, kernelDatapath: datapath === 'system' };
    const flowHost = flowHostOf(store.view, store.host, { ...facts, ...settings });
    if (flowHost !== undefined) controller.setHost(flowHost);
  }

  private withFabric(fabric: FlowFabric | undefined): FlowFabric | undefined {
    if (this.inTheWay !== '') this.parts.logger.info('other hosts are within reach again');
    this.inTheWay = '';
    return fabric;
  }

  /** The host goes on without its peers until what is in the way (an address that is not there yet) is out of it. */
  private withoutFabric(error: unknown): undefined {
    const problem = messageOf(error);
    if (problem !== this.inTheWay) this.parts.logger.error('other hosts are out of reach', { error: problem });
    this.inTheWay = problem;
    this.cancelRetry();
    this.cancelRetry = this.parts.clock.after(FABRIC_RETRY_MS, () => void this.refresh().catch(() => undefined));
  }

  stop(): void {
    this.cancelRetry();
  }

  /** The fabric port is there as long as there are peers that may share the L2; where it was detected that they do not, too. */
  private async ensureFabric({ row }: OwnHost): Promise<FlowFabric | undefined> {
    const { host, switch: ovs, datapath, store } = this.parts;
    const { address: serverAddress } = row;
    if (serverAddress === undefined || !this.hasPeer((other) => mayShareL2(store.view, store.host, other))) {
      if (ovs.port(FABRIC_INTERFACE) === undefined) return undefined;
      await ovs.removePort(FABRIC_INTERFACE);
      await host.links.removeFabric(FABRIC_INTERFACE);
      return undefined;
    }
    const { mtu, isNew } = await host.links.ensureFabric({
      name: FABRIC_INTERFACE,
      mac: row.routerMac,
      address: serverAddress,
      hideFromStack: datapath !== 'system',
    });
    const port = { name: FABRIC_INTERFACE, ofportRequest: FABRIC_PORT_NO, externalIds: {}, isNewDevice: isNew };
    const portNo = await ovs.addPort(port);
    return { portNo, mtu, isNarrow: this.largestMtu() > mtu };
  }

  private hasPeer(isIt: (other: HostRow) => boolean): boolean {
    for (const other of this.parts.store.view.hosts()) if (isIt(other)) return true;
    return false;
  }

  /** What an endpoint may send at once, in bytes of IPv4. */
  private largestMtu(): number {
    return [...this.parts.store.view.networks()].reduce(
      (most, { mtu }) => Math.max(most, mtu),
      this.parts.settings.mtu,
    );
  }

  /** Docker's bridges, whose containers ours reach by published ports only. */
  async setDockerBridges(names: readonly string[]): Promise<void> {
    this.dockerBridges = names;
    await this.parts.host.firewall.setDockerBridges(names);
    await this.parts.host.firewall.assertForwarding();
  }

  private ownHost(): OwnHost {
    const { store, settings } = this.parts;
    const row = store.view.host(store.host);
    const address = row && hostLocator(row, settings.locatorRange);
    const block = address && row.locatorBlocks.find((each) => cidrHolds(each, address));
    if (row !== undefined && address !== undefined && block !== undefined) {
      const dnsAddress = row.address === undefined ? undefined : dnsAddressOf(settings.locatorRange);
      return { row, address, block, dnsAddress };
    }
    throw new DaoliError('unavailable', `host ${store.host} has no locator block yet`, store.host);
  }

  private async configureHostInterface(own: OwnHost, mac: Mac): Promise<void> {
    const { host, datapath, settings } = this.parts;
    await host.links.configureInterface({
      name: HOST_INTERFACE,
      mac,
      mtu: settings.mtu,
      addresses: [
        { address: own.address, prefix: own.block.prefix },
        ...(own.dnsAddress === undefined ? [] : [{ address: own.dnsAddress, prefix: 32 }]),
      ],
      checksumOffload: datapath === 'system',
    });
    await host.kernel.prepareHostInterface(HOST_INTERFACE);
    await this.routeBlocks(own);
  }

  private async routeBlocks({ row, address, block: first }: OwnHost): Promise<void> {
    for (const block of row.locatorBlocks.filter((each) => each !== first)) {
      const route = { destination: block, device: HOST_INTERFACE, source: address };
      await this.parts.host.links.addRoute(route);
    }
  }

  private routeRelayed({ row, address, dnsAddress }: OwnHost): Promise<void> {
    const isOwn = (locator: Ipv4) =>
      locator === dnsAddress || row.locatorBlocks.some((block) => cidrHolds(block, locator));
    return this.relayRoutes.ensure({ source: address, mtu: this.fabricMtu, isOwn });
  }

  private doors(): FirewallConfig['doors'] {
    const { store } = this.parts;
    return [...store.view.hosts()]
      .filter((other) => other.name !== store.host)
      .flatMap(({ address }) => (address === undefined ? [] : { address, port: FRONT_PORT }));
  }

  /** Others may have addresses of our range, too: another VPN, or a provider that hides its customers. */
  private async lookForForeign(): Promise<void> {
    const { host, settings, logger } = this.parts;
    let there: readonly HostAddress[];
    try {
      there = await host.links.hostAddresses();
    } catch (error) {
      // The packet filter has to stand all the same: with what was found last.
      logger.warn('it is not known who else has addresses of the range of locators', { error: messageOf(error) });
      return;
    }
    const found = there.filter(({ address }) => cidrHolds(settings.locatorRange, address));
    const isNew = ({ device, address }: HostAddress) =>
      !this.foreign.some((known) => known.device === device && known.address === address);
    for (const { device, address } of found.filter(isNew)) {
      const range = formatCidr(settings.locatorRange);
      logger.warn('an interface has an address inside of the range of locators: see `daolictl doctor`', {
        ...{ device, address: formatIpv4(address), range },
      });
    }
    this.foreign = found;
  }

  private foreignConfig(): Pick<FirewallConfig, 'foreign'> {
    const { view } = this.parts.store;
    if (this.foreign.length === 0) return {};
    const devices = [...new Set(this.foreign.map(({ device }) => device))];
    return { foreign: { devices, usedBlocks: [...view.hosts()].flatMap(({ locatorBlocks }) => locatorBlocks) } };
  }

  private filterKey(row: HostRow): string {
    const doors = this.doors().map(({ address }) => address);
    const { foreign } = this.foreignConfig();
    const others = foreign && [...foreign.devices, ...foreign.usedBlocks.map(formatCidr)];
    return [row.address ?? '', row.isHub, ...row.locatorBlocks.map(formatCidr), ...doors.sort(), others].join();
  }

  private async applyFirewall({ row, address, dnsAddress }: OwnHost): Promise<void> {
    const { host, settings, store } = this.parts;
    const config: FirewallConfig = {
      hostInterface: HOST_INTERFACE,
      hostAddress: address,
      ...(dnsAddress === undefined ? {} : { dnsAddress }),
      locatorBlocks: row.locatorBlocks,
      locatorRange: settings.locatorRange,
      doors: this.doors(),
      closedPorts: row.address === undefined ? [] : [{ protocol: 'tcp', port: FRONT_PORT }],
      dockerBridges: this.dockerBridges,
      ...this.foreignConfig(),
      ...(row.address === undefined ? {} : { tunnels: { isHub: row.isHub, doorPort: FRONT_PORT } }),
    };
    await host.firewall.apply(config, publishedEndpoints(store));
    this.filtered = this.filterKey(row);
    await host.firewall.assertForwarding();
  }
}

/** daoli0 needs an address of its own beside the router's: the kernel drops what comes from its own MAC. */
function hostPortMac(routerMac: Mac): Mac {
  return (routerMac % 2 === 0 ? routerMac + 1 : routerMac - 1) as Mac;
}

/** A route of the host into our locators would take their packets elsewhere (Tailscale has 100.64.0.0/10, too). */
function refuseOverlap(row: HostRow, routes: readonly HostRoute[]): void {
  for (const route of routes) {
    if (route.device === HOST_INTERFACE || route.destination.prefix === 0) continue;
    // Ours, too: Links.refuseUnrouted(), and ways to other hosts, which had this block before.
    if (route.type === 'unreachable' || TUNNEL_NAME.test(route.device ?? '')) continue;
    const block = row.locatorBlocks.find((own) => cidrsOverlap(own, route.destination));
    // A wider route of another device loses against ours, but what it leads to becomes unreachable.
    if (block === undefined) continue;
    const by = route.device === undefined ? '' : ` by ${route.device}`;
    throw new DaoliError(
      'conflict',
      `the locator block ${formatCidr(block)} overlaps the host's route to ${formatCidr(route.destination)}${by}: ` +
        'choose another range with docker plugin set DAOLINET_LOCATORS=…',
      formatCidr(block),
    );
  }
}

function publishedEndpoints({ view, host }: DirectoryStore): PublishedEndpoint[] {
  return [...view.endpointsOn(host)]
    .filter((endpoint) => endpoint.publishedPorts.length > 0)
    .map((endpoint) => ({
      endpointId: endpoint.id,
      locator: endpoint.locator,
      ports: endpoint.publishedPorts.map(({ protocol, hostIp, hostPort, containerPort }) => ({
        protocol,
        hostPort,
        containerPort,
        ...(hostIp === 0 ? {} : { hostIp }),
      })),
      tenantPools: [...view.poolsOfTenant(endpoint.tenant)].map(({ cidr }) => cidr),
    }));
}
