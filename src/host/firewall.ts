// Keeps the packet filter as it is wanted: our own nftables table, and accept rules in Docker's chains. All changes go through one
// queue, each as one nft transaction. The listing of the rules is kept, so that a change by somebody else shows.

import { formatIpv4, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { KeyedQueue } from '../base/keyed-queue';
import type { Logger } from '../base/logger';
import type { CoProcessSession, Reply } from './co-process-session';
import { withInput } from './dialogues';
import { holdsElements, parseCounters, parseListing } from './firewall-listing';
import { buildBridges, buildChange, buildTable, elementsOfState, TABLE, type Publisher } from './firewall-rules';
import { parseForwardListing, planForwardAcceptance, planForwardRemoval } from './forward-acceptance';
import { TUNNELS_IPTABLES } from './firewall-tunnels';
import type { FilterCounts, FilterState, Firewall, FirewallConfig, ForwardedPort, PublishedEndpoint } from './host';
import { checkInterfaceName } from './links';
import {
  claim,
  connectionsBy,
  isForwarded,
  keyOf,
  locatorOf,
  release,
  ruleKey,
  strayFlows,
  targetOf,
  withPoolsOf,
  withPoolsOfFirst,
} from './publishers';

const MAX_WAITING = 4096;
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

/** What Docker's rules have to let through: what may pass in truth is decided in our own table. */
function forwardedInterfaces({ hostInterface, tunnels }: FirewallConfig): string[] {
  return [hostInterface, ...(tunnels === undefined ? [] : [TUNNELS_IPTABLES])];
}

export class NftFirewall implements Firewall {
  private readonly queue = new KeyedQueue(MAX_WAITING);
  private config: FirewallConfig | undefined;
  /** Endpoints with published ports, and ports of firewall rules, by keyOf. */
  private published = new Map<string, Publisher>();
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
      const forwarded = [...this.published.values()].filter(isForwarded);
      const all: readonly Publisher[] = [...published, ...forwarded.map((port) => withPoolsOfFirst(port, published))];
      const owners = new Map<string, string>();
      for (const publisher of all) claim(owners, publisher);
      await this.replaceTable(config, all);
      this.config = config;
      this.owners = owners;
      this.published = new Map(all.map((publisher) => [keyOf(publisher), publisher]));
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
      const before = this.published.get(keyOf(endpoint));
      await this.put(endpoint);
      await this.conntrackDelete(...strayFlows(before, endpoint));
    });
  }

  withdraw(endpointId: string): Promise<void> {
    return this.serially(async () => {
      const endpoint = this.published.get(endpointId);
      if (endpoint === undefined || isForwarded(endpoint)) return;
      await this.drop(endpoint);
      if (endpoint.ports.length > 0) await this.conntrackDelete(`--reply-src ${formatIpv4(endpoint.locator)}`);
    });
  }

  forward(port: ForwardedPort): Promise<void> {
    return this.serially(async () => {
      const before = this.published.get(keyOf(port));
      await this.put(port);
      const isMoved = before !== undefined && targetOf(before) !== targetOf(port);
      await this.conntrackDelete(...strayFlows(before, port), ...(isMoved ? connectionsBy(before) : []));
    });
  }

  stopForwarding(name: string): Promise<void> {
    return this.serially(async () => {
      const port = this.published.get(ruleKey(name));
      if (port === undefined) return;
      await this.drop(port);
      await this.conntrackDelete(...connectionsBy(port));
    });
  }

  flushConnections(locator: Ipv4): Promise<void> {
    const address = formatIpv4(locator);
    return this.serially(() => this.conntrackDelete(`--orig-src ${address}`, `--reply-src ${address}`));
  }

  assertForwarding(): Promise<void> {
    return this.serially(async () => void (await this.acceptForwarding()));
  }

  counters(): Promise<FilterCounts> {
    return this.serially(async () => {
      const { stdout, stderr, status } = await this.shell.run(`nft list counters table ${TABLE}`);
      if (status === 0) return parseCounters(stdout);
      throw new DaoliError('internal', `the counters of the packet filter cannot be read: ${stderr.trim()}`, TABLE);
    });
  }

  inspect(): Promise<FilterState> {
    return this.serially(async () => {
      const { config } = this;
      if (config === undefined) return { missingForward: 0, isTableRight: false };
      let missingForward = 0;
      for (const flavour of FLAVOURS) {
        const { stdout } = await this.shell.run(listForward(flavour));
        missingForward += planForwardAcceptance(parseForwardListing(stdout), forwardedInterfaces(config)).length;
      }
      return { missingForward, isTableRight: await this.isTableRight(config) };
    });
  }

  private async isTableRight(config: FirewallConfig): Promise<boolean> {
    const { stdout, status } = await this.shell.run(LIST);
    const listing = parseListing(stdout);
    const wanted = elementsOfState(config, this.published.values());
    return status === 0 && listing.rules === this.rules && holdsElements(listing, wanted);
  }

  /** Puts everything back that is not as it is wanted, and says how many things that were. */
  repair(): Promise<number> {
    return this.serially(async () => {
      if (this.config === undefined) return 0;
      const missing = await this.acceptForwarding();
      if (await this.isTableRight(this.config)) return missing;
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
        await this.iptables(
          flavour,
          planForwardRemoval(parseForwardListing(stdout), [config.hostInterface, TUNNELS_IPTABLES]),
        );
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

  /** Adds or replaces a publisher. Throws `conflict`, and then nothing has changed. */
  private async put(publisher: Publisher): Promise<void> {
    this.requireConfig();
    const before = this.published.get(keyOf(publisher));
    const owners = new Map(this.owners);
    release(owners, before);
    claim(owners, publisher);
    const siblings = this.siblingsOf(publisher);
    const after = [publisher, ...siblings.map((sibling) => withPoolsOf(sibling, publisher))];
    const old = before === undefined ? siblings : [before, ...siblings];
    const { published: publishedBefore, owners: ownersBefore } = this;
    this.published = new Map(this.published);
    for (const each of after) this.published.set(keyOf(each), each);
    this.owners = owners;
    try {
      await this.transactOrRebuild(this.changeOf(old, after));
    } catch (error) {
      this.published = publishedBefore;
      this.owners = ownersBefore;
      throw error;
    }
  }

  private async drop(publisher: Publisher): Promise<void> {
    this.published.delete(keyOf(publisher));
    release(this.owners, publisher);
    await this.transactOrRebuild(this.changeOf([publisher], []));
  }

  /** The elements that others have as well stay: pools are those of a locator, whoever publishes there. */
  private changeOf(before: readonly Publisher[], after: readonly Publisher[]): string {
    const known = new Set([...before, ...after].map(keyOf));
    const others = before.flatMap((each) => this.siblingsOf(each)).filter((each) => !known.has(keyOf(each)));
    return buildChange([...before, ...others], [...after, ...others]);
  }

  /** The others whose ports lead to the same locator. */
  private siblingsOf(publisher: Publisher): Publisher[] {
    const [locator, key] = [locatorOf(publisher), keyOf(publisher)];
    if (locator === undefined) return [];
    return [...this.published.values()].filter((other) => locatorOf(other) === locator && keyOf(other) !== key);
  }

  private async replaceTable(config: FirewallConfig, published: Iterable<Publisher>): Promise<void> {
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
      const plan = planForwardAcceptance(parseForwardListing(stdout), forwardedInterfaces(config));
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
