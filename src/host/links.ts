// Links, addresses and routes, by iproute2. What stands on the path of a container's start goes through `ip -batch` (0.4 ms
// a veth pair); deletions go through a second one, because the kernel holds each for up to 20 ms.

import {
  cidrHolds,
  cidrOf,
  formatCidr,
  formatIpv4,
  formatMac,
  parseCidr,
  type Cidr,
  type Ipv4,
} from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { CoProcessSession, Reply } from './co-process-session';
import { withInput } from './dialogues';
import type {
  FabricSpec,
  HostAddress,
  HostRoute,
  InterfaceAddress,
  InterfaceSpec,
  Link,
  Links,
  RouteSpec,
  VethSpec,
} from './host';
import type { LinkDeletions } from './link-deletions';
import { defaultRouteDevice, parseLinks, parseRoutes, type LinkDetails } from './link-listing';
import type { SysctlFiles } from './sysctl-files';

const DEFAULT_MTU = 1500;
/** Every other route of the same prefix goes before. */
const LAST_METRIC = 2 ** 31 - 1;
/** Nobody else reaches this host by such an address. */
const LOCAL = ['127.0.0.0/8', '169.254.0.0/16'].map(parseCidr);
const FABRIC_TABLE = 'netdev daolinet_fabric';

export interface LinkSessions {
  /** `ip -batch`, for the path of a container's start. */
  readonly ip: CoProcessSession;
  /** A shell for what has no batch mode and is on that path: ethtool. */
  readonly shell: CoProcessSession;
}

/** Throws `invalid` unless the kernel takes `name` for an interface and no shell or batch file misreads it. */
export function checkInterfaceName(name: string): string {
  if (/^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,14}$/.test(name)) return name;
  throw new DaoliError('invalid', `"${name}" cannot be the name of an interface`, name);
}

function checkMtu(mtu: number): number {
  if (Number.isInteger(mtu) && mtu >= 68 && mtu <= 65535) return mtu;
  throw new DaoliError('invalid', `${mtu} is no MTU: give 68 to 65535 bytes`, String(mtu));
}

export class KernelLinks implements Links {
  constructor(
    private readonly sessions: LinkSessions,
    private readonly deletions: LinkDeletions,
    private readonly sysctl: SysctlFiles,
  ) {}

  async createVeth(spec: VethSpec): Promise<void> {
    const { name, peer } = { name: checkInterfaceName(spec.name), peer: checkInterfaceName(spec.peer) };
    await this.deletions.cancel(name);
    const add = vethCommand(spec);
    const { status, stderr } = await this.sessions.ip.run(add);
    if (status !== 0) {
      if (!stderr.includes('File exists')) throw kernelRefused(`make the veth pair ${name}`, name, stderr);
      if (!(await this.takeOver(spec))) {
        await this.sessions.ip.run(`link delete dev ${name}\nlink delete dev ${peer}`);
        await this.ip(`make the veth pair ${name}`, name, add);
      }
    }
    // IPv6 goes off before the link goes up, or the kernel sends multicast of its own into the datapath.
    await Promise.all([
      this.disableIpv6(name),
      this.ignoreArp(name),
      spec.checksumOffload ? undefined : this.checksumOffloadOff(peer),
    ]);
    await this.ip(`take ${name} up`, name, `link set dev ${name} up`);
  }

  deleteLink(name: string): void {
    this.deletions.add(checkInterfaceName(name));
  }

  deletionsDone(): Promise<void> {
    return this.deletions.done();
  }

  async listLinks(): Promise<Link[]> {
    const links = parseLinks(await this.shell('list the interfaces', 'ip -j -d link show'));
    return links.map(({ peer: _peer, addresses: _addresses, ...link }) => link);
  }

  async ensureFabric(spec: FabricSpec): Promise<{ mtu: number; isNew: boolean }> {
    const name = checkInterfaceName(spec.name);
    const links = parseLinks(await this.shell('list the interfaces', 'ip -j -d addr show'));
    const lower = links.find(
      (link) => link.name !== name && link.addresses.some(({ address }) => address === spec.address),
    );
    if (lower === undefined) {
      const text = formatIpv4(spec.address);
      throw new DaoliError(
        'not-found',
        `no interface of this host has the address ${text} that the directory has of it`,
        text,
      );
    }
    const found = links.find((link) => link.name === name);
    const isRight = found?.kind === 'macvlan' && found.peer === lower.name && found.mac === spec.mac;
    if (found !== undefined && !isRight) await this.removeFabric(name);
    if (!isRight) {
      const words = `name ${name} link ${lower.name} address ${formatMac(spec.mac)} type macvlan mode bridge`;
      await this.ip(`make ${name} on ${lower.name}`, name, `link add ${words}`);
    }
    await this.disableIpv6(name);
    if (spec.hideFromStack) await this.shell(`hide ${name} from the stack`, withInput('nft -f -', hidingRules(name)));
    await this.ip(`take ${name} up`, name, `link set dev ${name} arp off mtu ${lower.mtu} up`);
    return { mtu: lower.mtu, isNew: !isRight };
  }

  async removeFabric(name: string): Promise<void> {
    await this.sessions.ip.run(`link delete dev ${checkInterfaceName(name)}`);
    await this.sessions.shell.run(withInput('nft -f -', `add table ${FABRIC_TABLE}\ndelete table ${FABRIC_TABLE}`));
  }

  async configureInterface(spec: InterfaceSpec): Promise<void> {
    const name = checkInterfaceName(spec.name);
    const link = await this.find(name);
    if (link === undefined) throw new DaoliError('not-found', `the host has no interface ${name}`, name);
    if (spec.checksumOffload === false) await this.checksumOffloadOff(name);
    const commands = planInterface(spec, link);
    if (commands.length > 0) await this.ip(`configure ${name}`, name, commands.join('\n'));
  }

  async addRoute(route: RouteSpec): Promise<void> {
    const source = route.source === undefined ? '' : ` src ${formatIpv4(route.source)}`;
    const mtu = route.mtu === undefined ? '' : ` mtu lock ${checkMtu(route.mtu)}`;
    await this.ip(
      `add the route ${routeWords(route)}`,
      route.device,
      `route replace ${routeWords(route)}${source}${mtu}`,
    );
  }

  async deleteRoute(route: RouteSpec): Promise<void> {
    const { stderr } = await this.sessions.ip.run(`route delete ${routeWords(route)}`);
    if (stderr === '' || /No such process|Cannot find device/.test(stderr)) return;
    throw kernelRefused(`delete the route ${routeWords(route)}`, route.device, stderr);
  }

  async refuseUnrouted(range: Cidr): Promise<void> {
    const words = `unreachable ${formatCidr(range)} metric ${LAST_METRIC}`;
    await this.ip(`refuse what is unrouted of ${formatCidr(range)}`, formatCidr(range), `route replace ${words}`);
  }

  async hostRoutes(): Promise<HostRoute[]> {
    return (await this.routes()).map(({ metric: _metric, source: _source, ...route }) => route);
  }

  async defaultAddress(): Promise<Ipv4> {
    const device = defaultRouteDevice(await this.routes());
    const [own] = (device === undefined ? undefined : await this.find(device))?.addresses ?? [];
    if (own !== undefined) return own.address;
    throw new DaoliError('not-found', 'this host has no default route, so its address is not plain: give --address');
  }

  async hostAddresses(): Promise<HostAddress[]> {
    const [uplink, links] = [
      defaultRouteDevice(await this.routes()),
      parseLinks(await this.shell('list the interfaces', 'ip -4 -j -d addr show')),
    ];
    return links
      .filter(({ name }) => !name.startsWith('daoli'))
      .flatMap(({ name, addresses }) =>
        addresses.map(({ address, prefix }) => {
          return { address, network: cidrOf(address, prefix), device: name, isUplink: name === uplink };
        }),
      )
      .filter(({ address }) => LOCAL.every((range) => !cidrHolds(range, address)));
  }

  async defaultRouteMtu(): Promise<number> {
    const device = defaultRouteDevice(await this.routes());
    return (device === undefined ? undefined : await this.find(device))?.mtu ?? DEFAULT_MTU;
  }

  private async routes(): Promise<ReturnType<typeof parseRoutes>> {
    return parseRoutes(await this.shell('list the routes', 'ip -j -4 route show table all'));
  }

  private async find(name: string): Promise<LinkDetails | undefined> {
    const reply = await this.sessions.shell.run(`ip -j -d addr show dev ${name}`);
    return reply.status === 0 ? parseLinks(reply.stdout)[0] : undefined;
  }

  /** A pair that an earlier, interrupted call made is as good as a new one. False where it is something else. */
  private async takeOver(spec: VethSpec): Promise<boolean> {
    const link = await this.find(spec.name);
    if (link === undefined || link.kind !== 'veth' || link.peer !== spec.peer) return false;
    const mac = spec.peerMac === undefined ? '' : ` address ${formatMac(spec.peerMac)}`;
    const { status } = await this.sessions.ip.run(
      `link set dev ${spec.name} mtu ${spec.mtu}\nlink set dev ${spec.peer} mtu ${spec.mtu}${mac}`,
    );
    return status === 0;
  }

  /** With the userspace datapath the stack sees what the container sends: it would answer for the host's own addresses. */
  private ignoreArp(name: string): Promise<void> {
    return this.sysctl.writeIfPresent(`net/ipv4/conf/${name}/arp_ignore`, '8');
  }

  private disableIpv6(name: string): Promise<void> {
    return this.sysctl.writeIfPresent(`net/ipv6/conf/${name}/disable_ipv6`, '1');
  }

  /** It stays off when the interface moves into a container. Segmentation offload, which rests on it, goes off with it. */
  private async checksumOffloadOff(name: string): Promise<void> {
    await this.shell(`switch off checksum offload of ${name}`, `ethtool -K ${name} tx off`);
  }

  private async ip(purpose: string, subject: string, commands: string): Promise<void> {
    const { status, stderr } = await this.sessions.ip.run(commands);
    if (status !== 0) throw kernelRefused(purpose, subject, stderr);
  }

  private async shell(purpose: string, command: string): Promise<string> {
    const reply: Reply = await this.sessions.shell.run(command);
    if (reply.status !== 0) throw kernelRefused(purpose, command, reply.stderr);
    return reply.stdout;
  }
}

/** At ingress, behind the sockets that see every frame, OVS's among them, and before the IP stack. */
function hidingRules(name: string): string {
  const hook = `type filter hook ingress device "${name}" priority 0; policy drop;`;
  const fresh = `add table ${FABRIC_TABLE}\ndelete table ${FABRIC_TABLE}\nadd table ${FABRIC_TABLE}`;
  return `${fresh}\nadd chain ${FABRIC_TABLE} ingress { ${hook} }`;
}

function kernelRefused(purpose: string, subject: string, words: string): DaoliError {
  return new DaoliError('internal', `cannot ${purpose}: ${words.trim().replaceAll('\n', '; ')}`, subject);
}

function vethCommand({ name, peer, mtu, peerMac }: VethSpec): string {
  const mac = peerMac === undefined ? '' : ` address ${formatMac(peerMac)}`;
  return `link add name ${name} mtu ${checkMtu(mtu)} type veth peer name ${peer} mtu ${mtu}${mac}`;
}

function routeWords({ destination, device }: RouteSpec): string {
  return `${formatCidr(destination)} dev ${checkInterfaceName(device)}`;
}

/** The commands that make `link` like `spec`: none where it is so already, since each is an event for whoever watches. */
export function planInterface(spec: InterfaceSpec, link: LinkDetails): string[] {
  const words = ({ address, prefix }: InterfaceAddress): string => `${formatIpv4(address)}/${prefix}`;
  const has = new Set(link.addresses.map(words));
  const wants = new Set((spec.addresses ?? link.addresses).map(words));
  return [
    ...(spec.mac === undefined || spec.mac === link.mac
      ? []
      : [`link set dev ${spec.name} address ${formatMac(spec.mac)}`]),
    ...(spec.mtu === undefined || spec.mtu === link.mtu ? [] : [`link set dev ${spec.name} mtu ${checkMtu(spec.mtu)}`]),
    // The new address first: with the last one the kernel drops the routes that go by it.
    ...[...wants].filter((text) => !has.has(text)).map((text) => `address add ${text} dev ${spec.name}`),
    ...[...has].filter((text) => !wants.has(text)).map((text) => `address delete ${text} dev ${spec.name}`),
    ...(link.up ? [] : [`link set dev ${spec.name} up`]),
  ];
}
