// Keeps the packet filter as it is wanted: our own nftables table, and accept rules in Docker's chains. All changes go through one
// queue, each as one nft transaction. The listing of the rules is kept, so that a change by somebody else shows.

import { formatIpv4, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { KeyedQueue } from '../base/keyed-queue';
import type { Logger } from '../base/logger';
import type { CoProcessSession, Reply } from './co-process-session';
import { withInput } from './dialogues';
import { holdsElements, parseListing } from './firewall-listing';
import { buildBridges, buildChange, buildTable, elementsOfState, publishedKeys, TABLE } from './firewall-rules';
import { parseForwardListing, planForwardAcceptance, planForwardRemoval } from './forward-acceptance';
import type { Firewall, FirewallConfig, PublishedEndpoint } from './host';
import { checkInterfaceName } from './links';

const MAX_WAITING = 4096;
/** Each costs a look at every tracked connection. Of a wide range of ports, the first that many are seen to. */
const MAX_FLUSHED_PORTS = 64;
const LIST = `nft -s list table ${TABLE}`;

/** The kernel keeps rules of both flavours side by side, and a packet must be accepted by both. */
const FLAVOURS = ['iptables-nft', 'iptables-legacy'] as const;
type Flavour = (typeof FLAVOURS)[number];

// Listing the legacy tables creates them, so they are only looked at where the kernel has one. No program is started for that.
const HAS_LEGACY = `( while read -r table; do [ "$table" = filter ] && exit 0; done; exit 1 ) 2>/dev/null </proc/net/ip_tables_names`;

function listForward(flavour: Flavour): string {
  const list = `{ ${flavour} -w 2 -S FORWARD; ${flavour} -w 2 -S DOCKER-USER; } 2>/dev/null; true`;
  return flavour === 'iptables-legacy' ? `if ${HAS_LEGACY}; then ${list}; fi` : list;
}

export class NftFirewall implements Firewall {
  private readonly queue = new KeyedQueue(MAX_WAITING);
  private config: FirewallConfig | undefined;
  private published = new Map<string, PublishedEndpoint>();
  /** Who has a published port, by its key in the table. */
  private owners = new Map<string, string>();
  /** How nft lists the rules as we made them. */
  private rules = '';

  constructor(
    private readonly shell: CoProcessSession,
    private readonly logger: Logger,
  ) {}

  apply(config: FirewallConfig, published: readonly PublishedEndpoint[]): Promise<void> {
    [config.hostInterface, ...config.dockerBridges].forEach(checkInterfaceName);
    return this.serially(async () => {
      const owners = new Map<string, string>();
      for (const endpoint of published) claim(owners, endpoint);
      await this.replaceTable(config, published);
      this.config = config;
      this.owners = owners;
      this.published = new Map(published.map((endpoint) => [endpoint.endpointId, endpoint]));
      await this.acceptForwarding();
    });
  }

  setDockerBridges(names: readonly string[]): Promise<void> {
    names.forEach(checkInterfaceName);
    return this.serially(async () => {
      const config = this.requireConfig();
      const dockerBridges = [...new Set(names)].sort();
      if (dockerBridges.join() === [...config.dockerBridges].sort().join()) return;
      this.config = { ...config, dockerBridges };
      await this.transactOrRebuild(buildBridges(config.hostInterface, dockerBridges));
    });
  }

  publish(endpoint: PublishedEndpoint): Promise<void> {
    return this.serially(async () => {
      this.requireConfig();
      const before = this.published.get(endpoint.endpointId);
      const owners = new Map(this.owners);
      release(owners, before);
      claim(owners, endpoint);
      this.owners = owners;
      this.published.set(endpoint.endpointId, endpoint);
      try {
        await this.transactOrRebuild(buildChange(before, endpoint));
      } catch (error) {
        this.forget(endpoint);
        if (before !== undefined) this.remember(before);
        throw error;
      }
      await this.conntrackDelete(...strayFlows(before, endpoint));
    });
  }

  withdraw(endpointId: string): Promise<void> {
    return this.serially(async () => {
      const endpoint = this.published.get(endpointId);
      if (endpoint === undefined) return;
      this.forget(endpoint);
      await this.transactOrRebuild(buildChange(endpoint, undefined));
      if (endpoint.ports.length > 0) await this.conntrackDelete(`--reply-src ${formatIpv4(endpoint.locator)}`);
    });
  }

  flushConnections(locator: Ipv4): Promise<void> {
    const address = formatIpv4(locator);
    return this.serially(() => this.conntrackDelete(`--orig-src ${address}`, `--reply-src ${address}`));
  }

  assertForwarding(): Promise<void> {
    return this.serially(async () => void (await this.acceptForwarding()));
  }

  /** Puts everything back that is not as it is wanted, and says how many things that were. */
  repair(): Promise<number> {
    return this.serially(async () => {
      if (this.config === undefined) return 0;
      const missing = await this.acceptForwarding();
      const { stdout, status } = await this.shell.run(LIST);
      const wanted = elementsOfState(this.config, this.published.values());
      const listing = parseListing(stdout);
      if (status === 0 && listing.rules === this.rules && holdsElements(listing, wanted)) return missing;
      await this.replaceTable(this.config, this.published.values());
      return missing + 1;
    });
  }

  /** As repair(), but looks at the rules of legacy iptables only: it is free of cost where there are none. */
  repairLegacy(): Promise<number> {
    return this.serially(() => this.acceptForwarding(['iptables-legacy']));
  }

  remove(): Promise<void> {
    return this.serially(async () => {
      await this.shell.run(withInput('nft -f -', `add table ${TABLE}\ndelete table ${TABLE}`));
      const { config } = this;
      this.config = undefined;
      this.published.clear();
      this.owners.clear();
      if (config === undefined) return;
      for (const flavour of FLAVOURS) {
        const { stdout } = await this.shell.run(listForward(flavour));
        await this.iptables(flavour, planForwardRemoval(parseForwardListing(stdout), config.hostInterface));
      }
    });
  }

  private serially<T>(task: () => Promise<T>): Promise<T> {
    return this.queue.run('the packet filter', task);
  }

  private requireConfig(): FirewallConfig {
    if (this.config !== undefined) return this.config;
    throw new DaoliError('unavailable', 'the packet filter is not set up yet: try again', TABLE);
  }

  private remember(endpoint: PublishedEndpoint): void {
    this.published.set(endpoint.endpointId, endpoint);
    claim(this.owners, endpoint);
  }

  private forget(endpoint: PublishedEndpoint): void {
    this.published.delete(endpoint.endpointId);
    release(this.owners, endpoint);
  }

  private async replaceTable(config: FirewallConfig, published: Iterable<PublishedEndpoint>): Promise<void> {
    const reply = await this.transact(buildTable(config, published), LIST);
    this.rules = parseListing(reply.stdout).rules;
  }

  /** Runs one transaction, and after it, where it succeeds, another command. */
  private async transact(commands: string, then = ':'): Promise<Reply> {
    const reply = await this.shell.run(`${withInput('nft -f -', commands)}\n[ $? = 0 ] && ${then}`);
    if (reply.status === 0) return reply;
    throw new DaoliError('internal', `nft refused the rules of DaoliNet: ${reply.stderr.trim()}`, TABLE);
  }

  /** A change that fails met a table that is not as we left it: then everything is made anew. */
  private async transactOrRebuild(commands: string): Promise<void> {
    if (commands === '') return;
    try {
      await this.transact(commands);
    } catch {
      await this.replaceTable(this.requireConfig(), this.published.values());
    }
  }

  private async acceptForwarding(flavours: readonly Flavour[] = FLAVOURS): Promise<number> {
    const { config } = this;
    if (config === undefined) return 0;
    let missing = 0;
    for (const flavour of flavours) {
      const { stdout } = await this.shell.run(listForward(flavour));
      const plan = planForwardAcceptance(parseForwardListing(stdout), config.hostInterface);
      await this.iptables(flavour, plan);
      missing += plan.length;
    }
    return missing;
  }

  private async iptables(flavour: Flavour, plan: readonly string[]): Promise<void> {
    for (const rule of plan) {
      const { status, stderr } = await this.shell.run(`${flavour} -w 2 ${rule}`);
      if (status !== 0) throw new DaoliError('internal', `${flavour} refused a rule: ${stderr.trim()}`, rule);
    }
  }

  private async conntrackDelete(...filters: readonly string[]): Promise<void> {
    if (filters.length === 0) return;
    const { stderr } = await this.shell.run(filters.map((filter) => `conntrack -D ${filter} >/dev/null`).join('\n'));
    // Status 1 is also "nothing to delete".
    const words = stderr.split('\n').filter((line) => line !== '' && !/ flow entries have been deleted/.test(line));
    if (words.length > 0) this.logger.warn('tracked connections could not be ended', { reason: words.join('; ') });
  }
}

/**
 * What finds UDP flows to ports that are new. Whoever sent to one while nobody had it (its container was restarting) is
 * tracked as talking to the host itself, and would pass the rules by for as long as it goes on.
 */
function strayFlows(before: PublishedEndpoint | undefined, after: PublishedEndpoint): string[] {
  const known = new Set(before === undefined ? [] : publishedKeys(before));
  return after.ports
    .filter(
      (port) => port.protocol === 'udp' && publishedKeys({ ...after, ports: [port] }).some((key) => !known.has(key)),
    )
    .slice(0, MAX_FLUSHED_PORTS)
    .map(({ hostIp, hostPort }) => {
      const address = hostIp === undefined ? '' : ` --orig-dst ${formatIpv4(hostIp)}`;
      return `-p udp --orig-port-dst ${hostPort}${address}`;
    });
}

function claim(owners: Map<string, string>, endpoint: PublishedEndpoint): void {
  for (const key of publishedKeys(endpoint)) {
    const owner = owners.get(key);
    if (owner !== undefined && owner !== endpoint.endpointId) {
      const message = `endpoint ${endpoint.endpointId} cannot publish ${key}: endpoint ${owner} does`;
      throw new DaoliError('conflict', message, key);
    }
    owners.set(key, endpoint.endpointId);
  }
}

function release(owners: Map<string, string>, endpoint: PublishedEndpoint | undefined): void {
  for (const key of endpoint === undefined ? [] : publishedKeys(endpoint)) owners.delete(key);
}
