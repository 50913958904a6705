// Several sites and the internet between them, in one namespace of this machine. Each site is an L2 with a router, and each router
// has one wire to the internet, which all traffic between sites passes.
//
//   dc1 198.18.1.1 ─┬─ router 198.18.1.254 ── 203.0.113.10 ─┐
//   dc2 198.18.1.2 ─┘                                       ├─ internet 203.0.113.7
//   home1 192.168.2.1 ─ router 192.168.2.254, NAT, 203.0.113.20 ─┘
//
// A site behind NAT has private addresses, which the internet has no route to. Its router gives every conversation that begins inside
// another port of the one public address, whoever it is with (as carriers do, and no port can be foretold), and lets nothing else in.

import { Namespace, checked } from './namespace';
import { Recording } from './recording';
import { INTERNET, Site } from './site';
import { hostNames, type SiteRequest } from './site-requests';
import { settingRules, type Pair, type Wiring } from './wiring';

/** What the wire between a site and the internet is like. */
export interface Link {
  /** Of each hundred packets, either way, so many get lost, at random. */
  readonly lossPercent: number;
  readonly mtu: number;
}

interface Branch {
  readonly name: string;
  readonly number: number;
  readonly isBehindNat: boolean;
  readonly isToldOfL2: boolean;
  readonly site: Site;
  /** How many public addresses it had before this one. */
  moves: number;
  link: Link;
}

const GOOD_LINK: Link = { lossPercent: 0, mtu: 1500 };
/** So many public addresses each site has of its own, 203.0.113.10 to .19 the first; then it begins again. */
const ADDRESSES = 10;

const ROUTING = `
ip link set lo up
echo 1 >/proc/sys/net/ipv4/ip_forward
# Frames on a bridge are none of the routers' business.
[ ! -e /proc/sys/net/bridge ] || echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
`;

const NAT = [
  'chain post { type nat hook postrouting priority srcnat; }',
  'rule post oifname "uplink" masquerade fully-random',
  'chain forward { type filter hook forward priority filter; policy drop; }',
  'rule forward ct state invalid drop', // no NAT is done for it
  'rule forward iifname "br0" accept',
  'rule forward ct state established,related accept',
];

export class Internet implements Wiring {
  private readonly branches = new Map<string, Branch>();
  /** At which site each host is. */
  private readonly places = new Map<string, Branch>();
  private readonly plugged = new Map<string, Namespace>();
  private cuts: readonly Pair[] = [];

  private constructor(private readonly namespace: Namespace) {}

  /** Nothing stays behind when it fails. */
  static async start(sites: readonly SiteRequest[]): Promise<Internet> {
    const internet = new Internet(Namespace.create('internet'));
    try {
      await internet.namespace.start();
      await internet.run('sh', '-ec', `${ROUTING} ip addr add ${INTERNET}/32 dev lo`);
      for (const request of sites) await internet.add(request);
    } catch (error) {
      await internet.stop();
      throw error;
    }
    return internet;
  }

  /** All that it has place for. */
  get hosts(): string[] {
    return [...this.places.keys()];
  }

  addressOf(host: string): string {
    return this.branchOf(host).site.addressOf(host);
  }

  /** The site that a host is at now. */
  siteOf(host: string): string {
    return this.branchOf(host).name;
  }

  /** The address that a host has for other sites: its own, or that of its NAT. */
  addressSeen(host: string): string {
    const branch = this.branchOf(host);
    return branch.isBehindNat ? publicAddress(branch) : branch.site.addressOf(host);
  }

  isBehindNat(host: string): boolean {
    return this.branchOf(host).isBehindNat;
  }

  /** Whether a host shares no L2 with its site, and says so when it joins. */
  isToldOfL2(host: string): boolean {
    return this.branchOf(host).isToldOfL2;
  }

  async plug(host: Namespace, name: string): Promise<void> {
    await this.branchOf(name).site.plug(host, name);
    this.plugged.set(name, host);
  }

  /**
   * Nothing passes between two hosts. What both their NATs hide is cut by the public address of the one, with all that
   * are behind it.
   */
  cut(one: string, other: string): Promise<void> {
    this.cuts = [...this.cuts, [one, other]];
    return this.applyCuts();
  }

  cutFrom(host: string): string[] {
    return this.cuts.filter((pair) => pair.includes(host)).flatMap((pair) => pair.filter((name) => name !== host));
  }

  /** Takes every cut away, and makes every link good again. */
  async heal(): Promise<void> {
    this.cuts = [];
    await this.applyCuts();
    for (const { name } of this.branches.values()) await this.setLink(name, GOOD_LINK);
  }

  /** Gives the NAT of a site another public address: it forgets every conversation. Returns the address. */
  async changePublicAddress(site: string): Promise<string> {
    const branch = this.branch(site);
    if (!branch.isBehindNat) throw new Error(`${site} has no NAT that could get another address`);
    const before = publicAddress(branch);
    branch.moves += 1;
    await branch.site.run('ip', 'addr', 'delete', `${before}/32`, 'peer', INTERNET, 'dev', 'uplink');
    await this.run('ip', 'route', 'delete', before);
    await this.connect(branch);
    await branch.site.run('conntrack', '--flush');
    await this.applyCuts();
    return publicAddress(branch);
  }

  /** Gives a running host another address of its site, as DHCP does. Returns the address. */
  async changeAddress(host: string): Promise<string> {
    const namespace = this.plugged.get(host);
    if (namespace === undefined) throw new Error(`${host} does not run`);
    const { site } = this.branchOf(host);
    await site.readdress(namespace, host);
    await this.applyCuts();
    return site.addressOf(host);
  }

  /** Takes a running host to another site, where it gets another address, as a laptop on another Wi-Fi. */
  async moveHost(host: string, site: string): Promise<void> {
    const [from, to] = [this.branchOf(host), this.branch(site)];
    const namespace = this.plugged.get(host);
    if (namespace === undefined) throw new Error(`${host} does not run`);
    if (from === to) throw new Error(`${host} is at ${site} already`);
    this.places.set(host, to);
    await from.site.dismiss(namespace, host, to.site);
    await to.site.admit(namespace, host);
    await this.applyCuts();
  }

  /** Changes what the wire between a site and the internet is like, until `heal`. */
  async setLink(site: string, change: Partial<Link>): Promise<void> {
    const branch = this.branch(site);
    branch.link = { ...branch.link, ...change };
    const mtu = `${branch.link.mtu}`;
    await branch.site.run('ip', 'link', 'set', 'uplink', 'mtu', mtu);
    await this.run('ip', 'link', 'set', `to-${site}`, 'mtu', mtu);
    const lossy = [...this.branches.values()].filter(({ link }) => link.lossPercent > 0);
    const rules = lossy.flatMap(({ name, link: { lossPercent } }) => {
      const some = lossPercent < 100 ? `numgen random mod 100 < ${lossPercent} ` : '';
      return ['iifname', 'oifname'].map((way) => `rule loss ${way} "to-${name}" ${some}drop`);
    });
    const input = settingRules('ip', 'lab', ['chain loss { type filter hook forward priority filter; }', ...rules]);
    checked(await this.namespace.run(['nft', '-f', '-'], { input }));
  }

  /** Records all that passes between sites from now on; each packet twice, as it comes and as it goes. */
  captureBetweenSites(): Promise<Recording> {
    return Recording.start(this.namespace, { ethernetInterface: 'any' });
  }

  /** Records all that passes on the L2 of a site from now on, and what its router does with it. */
  captureWithin(site: string): Promise<Recording> {
    return Recording.start(this.namespace, { ethernetInterface: 'any', netns: this.branch(site).name });
  }

  /** Runs a command on the internet, where no site is. Fails when its exit code is not 0. */
  async run(...command: string[]): Promise<string> {
    return checked(await this.namespace.run(command)).stdout;
  }

  /** What stands before a command that is to run on the internet, and its environment. */
  entry(): { enter: string[]; environment: Record<string, string> } {
    return this.namespace.entry();
  }

  async stop(): Promise<void> {
    await this.namespace.end();
    this.namespace.remove();
  }

  private async add(request: SiteRequest): Promise<void> {
    const { name, isBehindNat, isWithoutL2, isToldOfL2 } = request;
    const number = this.branches.size + 1;
    await this.run('ip', 'netns', 'add', name);
    await this.run('ip', '-n', name, 'link', 'add', 'uplink', 'type', 'veth', 'peer', `to-${name}`, 'netns', '1');
    const prefix = isBehindNat ? `192.168.${number}` : `198.18.${number}`;
    const site = await Site.add(this.namespace, { prefix, isWithoutL2, netns: name });
    await site.run('sh', '-ec', ROUTING);
    if (isBehindNat) await site.setTable('ip', 'nat', NAT);
    const branch: Branch = { name, number, isBehindNat, isToldOfL2, site, moves: 0, link: GOOD_LINK };
    this.branches.set(name, branch);
    for (const host of hostNames(request)) {
      this.places.set(host, branch);
      site.addressOf(host); // numbers go by the order of asking
    }
    await this.run('ip', 'link', 'set', `to-${name}`, 'up');
    await site.run('ip', 'link', 'set', 'uplink', 'up');
    await this.connect(branch);
  }

  /** Gives a router the public address that is its own now, and routes to and from it. */
  private async connect(branch: Branch): Promise<void> {
    const own = publicAddress(branch);
    const { site, name } = branch;
    await site.run('ip', 'addr', 'add', `${own}/32`, 'peer', INTERNET, 'dev', 'uplink');
    await site.run('ip', 'route', 'replace', 'default', 'via', INTERNET, 'src', own);
    await this.run('ip', 'route', 'add', own, 'dev', `to-${name}`, 'src', INTERNET);
    if (!branch.isBehindNat) await this.run('ip', 'route', 'add', `${site.plan.prefix}.0/24`, 'via', own);
  }

  /** Each cut is made where both hosts have the addresses that they know themselves by, if that is anywhere. */
  private async applyCuts(): Promise<void> {
    for (const branch of this.branches.values()) {
      const isHere = (host: string) => this.branchOf(host) === branch;
      await branch.site.setCuts(this.cuts.filter((pair) => pair.every(isHere)));
      const rules = this.cuts
        .filter((pair) => !pair.every(isHere))
        .map((pair): Pair => this.hiddenFirst(pair))
        .filter(([near]) => isHere(near))
        .map(([near, far]) => [branch.site.addressOf(near), this.addressSeen(far)] as const)
        .flatMap(([near, far]) => [
          `rule forward ip saddr ${near} ip daddr ${far} drop`,
          `rule forward ip saddr ${far} ip daddr ${near} drop`,
        ]);
      const chain = 'chain forward { type filter hook forward priority filter - 1; }';
      await branch.site.setTable('ip', 'cuts', [chain, ...rules]);
    }
  }

  private hiddenFirst([one, other]: Pair): Pair {
    return this.isBehindNat(other) ? [other, one] : [one, other];
  }

  private branch(site: string): Branch {
    const branch = this.branches.get(site);
    if (branch !== undefined) return branch;
    throw new Error(`there is no site ${site}; there are ${[...this.branches.keys()].join(', ')}`);
  }

  private branchOf(host: string): Branch {
    const branch = this.places.get(host);
    if (branch === undefined) throw new Error(`there is no host ${host}`);
    return branch;
  }
}

function publicAddress({ number, moves }: Branch): string {
  return `203.0.113.${ADDRESSES * number + (moves % ADDRESSES)}`;
}
