// Firewall rules whose port is this host's: each is bound, which reserves it, led to the endpoint that its container has now,
// on whatever host, and its row says what has become of it. Follows the directory by itself; nobody waits for it but for what
// the row says. One pass after another, each of which may be repeated.

import { isDeepStrictEqual } from 'node:util';
import { formatIpv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { OneAtATime } from '../base/one-at-a-time';
import { tellFirewallStatus } from '../directory/control-operations';
import { namedBy, OPEN, RuleContainers } from '../directory/rule-containers';
import type { DirectoryChange, EndpointRow, FirewallRuleRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import type { DirectoryView } from '../directory/view';
import type { Firewall, ForwardedPort, PortRequest, PortReservations } from '../host/host';
import { describePortHolder, holderOf } from './port-holders';

export interface ForwardedPortsParts {
  readonly store: DirectoryStore;
  readonly firewall: Pick<Firewall, 'forward' | 'stopForwarding'>;
  readonly ports: PortReservations;
  readonly clock: Clock;
  readonly logger: Logger;
}

/** What is in the way on this host may go without a word: another program ends. */
const RETRY_MS = 5_000;

/** A rule whose port is bound. */
interface Opened {
  readonly uuid: string;
  /** What the packet filter was told; undefined where it was not yet. */
  readonly port: ForwardedPort | undefined;
}

export class ForwardedPorts {
  /** By the rule's name. */
  private readonly opened = new Map<string, Opened>();
  /** What rows are being told. */
  private readonly telling = new Map<string, string>();
  private containers: RuleContainers | undefined;
  private unfollow = (): void => undefined;
  private cancelRetry = (): void => undefined;
  private readonly passes = new OneAtATime(async () => {
    if (this.containers !== undefined) await this.pass(this.containers);
  });

  constructor(private readonly parts: ForwardedPortsParts) {}

  /** Once the packet filter is set up. Idempotent. */
  start(): void {
    if (this.containers !== undefined) return;
    const { store } = this.parts;
    this.containers = new RuleContainers(store.view);
    const endChanges = store.onChange((changes) => this.take(changes));
    const endConnected = store.onConnected((isConnected) => isConnected && this.look());
    this.unfollow = () => {
      endChanges();
      endConnected();
    };
    this.look();
  }

  /** Resolves when nothing is under way any more. Ports stay open. Idempotent. */
  async stop(): Promise<void> {
    this.unfollow();
    this.cancelRetry();
    this.containers = undefined;
    await this.passes.idle();
  }

  private take(changes: readonly DirectoryChange[]): void {
    if (this.containers?.take(changes) === true) this.look();
  }

  private look(): void {
    if (this.containers !== undefined) this.passes.ask();
  }

  private async pass(containers: RuleContainers): Promise<void> {
    const { view, host } = this.parts.store;
    const rules = [...view.firewallRules()].filter((rule) => rule.host === host);
    const isWanted = (name: string, uuid: string) => rules.some((rule) => rule.name === name && rule.uuid === uuid);
    for (const [name, { uuid }] of this.opened) if (!isWanted(name, uuid)) await this.attempt(() => this.close(name));
    let isBlocked = false;
    for (const rule of rules) {
      const problem = await this.attempt(() => this.open(rule, containers));
      isBlocked ||= problem !== undefined;
      this.tell(rule, problem ?? this.stateOf(rule, containers));
    }
    if (isBlocked) this.lookLater();
  }

  /** What is in the way, or undefined. */
  private async attempt(task: () => Promise<void>): Promise<string | undefined> {
    try {
      await task();
      return undefined;
    } catch (error) {
      return messageOf(error);
    }
  }

  private async open(rule: FirewallRuleRow, containers: RuleContainers): Promise<void> {
    const { firewall, ports, store } = this.parts;
    const port = portOf(store.view, rule, containers.endpointsOf(rule)[0]);
    if (isDeepStrictEqual(this.opened.get(rule.name), { uuid: rule.uuid, port })) return;
    const request = requestOf(rule, port);
    try {
      await ports.reserve(request);
    } catch (error) {
      throw explain(this.parts, rule, error);
    }
    this.opened.set(rule.name, { uuid: rule.uuid, port: this.opened.get(rule.name)?.port });
    await firewall.forward(port);
    this.opened.set(rule.name, { uuid: rule.uuid, port });
  }

  private async close(name: string): Promise<void> {
    await this.parts.firewall.stopForwarding(name);
    await this.parts.ports.release(holderOf(name));
    this.opened.delete(name);
  }

  private stateOf(rule: FirewallRuleRow, containers: RuleContainers): string {
    if (containers.endpointsOf(rule).length > 0) return OPEN;
    const { name = rule.container, host } = namedBy(rule) ?? {};
    const shown = host === undefined ? name : `${host}/${name}`;
    if (containers.joinedOf(rule).length === 0) return `container ${shown} does not run`;
    return `container ${shown} is in internal networks alone: docker network connect it to another`;
  }

  private tell({ name, status }: FirewallRuleRow, wanted: string): void {
    if (status === wanted || this.telling.get(name) === wanted) return;
    this.telling.set(name, wanted);
    const told = this.parts.store.transact((context) => ({
      ops: tellFirewallStatus(context, name, wanted),
      result: undefined,
    }));
    void told
      .catch((error: unknown) => {
        this.parts.logger.warn('what became of a firewall rule cannot be told', { name, error: messageOf(error) });
        this.lookLater();
      })
      .finally(() => {
        if (this.telling.get(name) === wanted) this.telling.delete(name);
      });
  }

  private lookLater(): void {
    if (this.containers === undefined) return;
    this.cancelRetry();
    this.cancelRetry = this.parts.clock.after(RETRY_MS, () => this.look());
  }
}

function portOf(view: DirectoryView, rule: FirewallRuleRow, endpoint: EndpointRow | undefined): ForwardedPort {
  const { name, protocol, hostIp, hostPort, from, containerPort } = rule;
  const target = endpoint && {
    locator: endpoint.locator,
    port: containerPort,
    tenantPools: [...view.poolsOfTenant(endpoint.tenant)].map(({ cidr }) => cidr),
  };
  const at = hostIp === 0 ? {} : { hostIp };
  return { name, protocol, hostPort, from, ...at, ...(target !== undefined && { target }) };
}

function requestOf(rule: FirewallRuleRow, { target }: ForwardedPort): PortRequest {
  const { protocol, hostIp, hostPort, containerPort, status } = rule;
  return {
    endpointId: holderOf(rule.name),
    protocol,
    hostIp: hostIp === 0 ? '' : formatIpv4(hostIp),
    firstPort: hostPort,
    lastPort: hostPort,
    containerPort,
    locator: target?.locator,
    // It was bound before this agent started.
    rebind: status === OPEN,
  };
}

/** The host knows who holds a port by id; whoever reads the error knows names. */
function explain(parts: ForwardedPortsParts, rule: FirewallRuleRow, error: unknown): unknown {
  if (!(error instanceof DaoliError)) return error;
  const { host } = parts.store;
  const text = `port ${rule.hostPort}/${rule.protocol} of host ${host}`;
  if (error.code === 'invalid') {
    return new DaoliError('invalid', `${formatIpv4(rule.hostIp)} is no address of host ${host}`, text, {
      cause: error,
    });
  }
  if (error.code !== 'conflict') return error;
  const holder = describePortHolder(parts, rule, holderOf(rule.name)) ?? 'is in use by another program';
  return new DaoliError('conflict', `${text} ${holder}: choose another`, text, { cause: error });
}
