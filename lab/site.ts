// The L2 that several emulated hosts are on: a bridge in a network namespace of its own, where this machine's own packet
// filter does not see its frames. The namespace is the hosts' router as well.
//
//   h1 192.0.2.1 ─┐
//   h2 192.0.2.2 ─┼─ br0 192.0.2.254, and 203.0.113.7, which stands for the internet
//   h3 192.0.2.3 ─┘
//
// Alone it is all that the hosts have. Several with one internet between them are in internet.ts.

import { execFile } from 'node:child_process';
import * as path from 'node:path';
import { promisify } from 'node:util';
import { checked, Namespace, type BackgroundCommand } from './namespace';
import { settingRules, type Pair, type Wiring } from './wiring';

/** Of a lab on one L2. */
const ONLY_SITE = { prefix: '192.0.2' } as const;
const ROUTER_NUMBER = 254;
/** Hosts have the numbers below. */
const FIRST_SPARE = 100;
/** The process whose network is the namespace's own. */
const INIT = '1';
export const INTERNET = '203.0.113.7';

export interface SitePlan {
  /** The first three numbers of its addresses. */
  readonly prefix: string;
  /** It passes only frames from and to the MAC addresses of the hosts' own interfaces, as clouds do. */
  readonly isWithoutL2?: boolean;
  /** Where it is, when that is not the namespace's own network: a network namespace made by `ip netns add` inside. */
  readonly netns?: string;
}

export class Site implements Wiring {
  private readonly numbers = new Map<string, number>();
  /** MAC addresses of those on it. */
  private readonly plugged = new Map<string, string>();
  private cuts: readonly Pair[] = [];
  /** Addresses that were given to hosts in place of others. */
  private spares = 0;
  private oneWayCuts: readonly Pair[] = [];
  /** Of each hundred frames from and to these hosts, so many get lost. */
  private readonly losses = new Map<string, number>();
  private readonly delays = new Map<string, BackgroundCommand>();
  private filtering: Promise<void> = Promise.resolve();

  private constructor(
    private readonly namespace: Namespace,
    readonly plan: SitePlan,
  ) {}

  /** A site with nothing else in the world. */
  static async start(): Promise<Site> {
    const namespace = Namespace.create('site');
    try {
      await namespace.start();
      const site = await Site.add(namespace, ONLY_SITE);
      await site.run('ip', 'addr', 'add', `${INTERNET}/32`, 'dev', 'lo');
      return site;
    } catch (error) {
      await namespace.end();
      namespace.remove();
      throw error;
    }
  }

  /** A site in a namespace that runs; it goes with that. */
  static async add(namespace: Namespace, plan: SitePlan): Promise<Site> {
    const site = new Site(namespace, plan);
    await site.run('ip', 'link', 'add', 'br0', 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
    await site.run('ip', 'addr', 'add', `${site.router}/24`, 'dev', 'br0');
    await site.run('ip', 'link', 'set', 'br0', 'up');
    return site;
  }

  get isWithoutL2(): boolean {
    return this.plan.isWithoutL2 === true;
  }

  /** The hosts' way to all else. */
  get router(): string {
    return `${this.plan.prefix}.${ROUTER_NUMBER}`;
  }

  /** The address of a host: the n-th that was asked for ends in n. */
  addressOf(host: string): string {
    if (!this.numbers.has(host)) this.numbers.set(host, this.numbers.size + 1);
    return `${this.plan.prefix}.${this.numbers.get(host)}`;
  }

  async plug(host: Namespace, name: string): Promise<void> {
    // That of the host before its reboot, which the kernel takes away some time after the host's end.
    await this.namespace.run(['ip', 'link', 'delete', name], this.place);
    const veth = ['link', 'add', 'eth0', 'netns', `${host.init}`, 'type', 'veth', 'peer', 'name', name];
    await promisify(execFile)('ip', [...veth, 'netns', this.namespace.networkPath(this.plan.netns)]);
    await this.admit(host, name);
  }

  /** Takes a host in whose wire ends here: puts it on the L2 and gives it an address and a router. */
  async admit(host: Namespace, name: string): Promise<void> {
    await this.run('ip', 'link', 'set', name, 'master', 'br0', 'up');
    const commands = [
      `addr add ${this.addressOf(name)}/24 dev eth0`,
      'link set eth0 up',
      `route add default via ${this.router}`,
    ];
    for (const words of commands) checked(await host.run(['ip', ...words.split(' ')]));
    this.plugged.set(name, checked(await host.run(['cat', '/sys/class/net/eth0/address'])).stdout.trim());
    if (this.isWithoutL2) await this.setFilter();
  }

  /** Lets a host go to another site of the same namespace, with its wire; it has no address then. */
  async dismiss(host: Namespace, name: string, to: Site): Promise<void> {
    checked(await host.run(['ip', 'route', 'delete', 'default']));
    checked(await host.run(['ip', 'addr', 'delete', `${this.addressOf(name)}/24`, 'dev', 'eth0']));
    await this.run('ip', 'link', 'set', name, 'nomaster', 'netns', to.plan.netns ?? INIT);
    this.plugged.delete(name);
    await this.setFilter();
  }

  /** Gives a host another address, as DHCP does; its connections break. */
  async readdress(host: Namespace, name: string): Promise<void> {
    const before = this.addressOf(name);
    this.numbers.set(name, FIRST_SPARE + this.spares);
    this.spares += 1;
    const commands = [
      `addr delete ${before}/24 dev eth0`,
      `addr add ${this.addressOf(name)}/24 dev eth0`,
      `route replace default via ${this.router}`,
    ];
    for (const words of commands) checked(await host.run(['ip', ...words.split(' ')]));
  }

  cut(one: string, other: string): Promise<void> {
    return this.setCuts([...this.cuts, [one, other]]);
  }

  cutFrom(host: string): string[] {
    return this.cuts.filter((pair) => pair.includes(host)).flatMap((pair) => pair.filter((name) => name !== host));
  }

  /** Nothing passes from one host to another any more; the way back is as it was. */
  cutOneWay(from: string, to: string): Promise<void> {
    this.oneWayCuts = [...this.oneWayCuts, [from, to]];
    return this.setFilter();
  }

  /** Lets so many of a hundred frames from and to a host get lost, at random. */
  setLoss(host: string, percent: number): Promise<void> {
    this.losses.set(host, percent);
    return this.setFilter();
  }

  /** Holds each frame from and to a host back for so long: its wire ends in a bridge of its own, and delay.pl lies between. */
  async delay(host: string, delayMs: number): Promise<void> {
    const [near, far, between] = [`${host}-near`, `${host}-far`, `${host}-br`];
    for (const name of [near, far]) await this.run('ip', 'tuntap', 'add', name, 'mode', 'tap');
    await this.run('ip', 'link', 'add', between, 'type', 'bridge', 'stp_state', '0', 'forward_delay', '0');
    const forwarder = ['perl', path.join(__dirname, 'delay.pl'), near, far, String(delayMs)];
    this.delays.set(host, this.namespace.background(forwarder, this.plan.netns));
    await this.run('ip', 'link', 'set', host, 'master', between);
    await this.run('ip', 'link', 'set', near, 'master', between, 'up');
    await this.run('ip', 'link', 'set', far, 'master', 'br0', 'up');
    await this.run('ip', 'link', 'set', between, 'up');
  }

  async heal(): Promise<void> {
    this.oneWayCuts = [];
    this.losses.clear();
    for (const [host, forwarder] of this.delays) {
      await this.run('ip', 'link', 'set', host, 'master', 'br0');
      await forwarder.stop();
      for (const name of ['near', 'far', 'br']) await this.run('ip', 'link', 'delete', `${host}-${name}`);
    }
    this.delays.clear();
    await this.setCuts([]);
  }

  /** No frame passes between the two of each pair, and all others do. */
  async setCuts(pairs: readonly Pair[]): Promise<void> {
    this.cuts = pairs;
    await this.setFilter();
  }

  /** Runs a command where the bridge is. Fails when its exit code is not 0. */
  async run(...command: string[]): Promise<string> {
    return checked(await this.namespace.run(command, this.place)).stdout;
  }

  /** Sets a table of the router's packet filter. */
  async setTable(family: 'bridge' | 'ip', name: string, lines: readonly string[]): Promise<void> {
    const input = settingRules(family, name, lines);
    checked(await this.namespace.run(['nft', '-f', '-'], { ...this.place, input }));
  }

  async stop(): Promise<void> {
    await this.namespace.end();
    this.namespace.remove();
  }

  private get place(): { netns?: string } {
    return this.plan.netns === undefined ? {} : { netns: this.plan.netns };
  }

  /** One after the other, since hosts are plugged in side by side: the last has all of them. */
  private setFilter(): Promise<void> {
    const now = () => this.setTable('bridge', 'lab', this.filterRules());
    this.filtering = this.filtering.then(now, now);
    return this.filtering;
  }

  private filterRules(): string[] {
    const rules = ['chain forward { type filter hook forward priority 0; }'];
    for (const [one, other] of this.cuts) {
      rules.push(`rule forward iifname "${one}" oifname "${other}" drop`);
      rules.push(`rule forward iifname "${other}" oifname "${one}" drop`);
    }
    for (const [from, to] of this.oneWayCuts) rules.push(`rule forward iifname "${from}" oifname "${to}" drop`);
    for (const [host, percent] of this.losses) {
      const some = percent < 100 ? `numgen random mod 100 < ${percent} ` : '';
      for (const way of ['iifname', 'oifname']) rules.push(`rule forward ${way} "${host}" ${some}drop`);
    }
    return this.isWithoutL2 ? [...rules, ...this.ownAddressesAlone()] : rules;
  }

  private ownAddressesAlone(): string[] {
    const ports = [...this.plugged];
    return [
      'chain from { type filter hook prerouting priority 0; }',
      'chain to { type filter hook postrouting priority 0; }',
      'rule to ether daddr & 01:00:00:00:00:00 != 00:00:00:00:00:00 accept', // broadcast and multicast
      ...ports.map(([port, mac]) => `rule from iifname "${port}" ether saddr != ${mac} drop`),
      ...ports.map(([port, mac]) => `rule to oifname "${port}" ether daddr != ${mac} drop`),
    ];
  }
}
