// WireGuard devices as interfaces: the kernel's where it has them, else by wireguard-go, one process for each. That process is
// nobody's child but process 1's: it goes on when the agent ends, and the next agent takes it over by its socket.

import { DaoliError } from '../base/errors';
import type { CoProcessSession, Reply } from './co-process-session';
import { withInput } from './dialogues';
import { parseLinks, parseRoutes, type RouteDetails } from './link-listing';
import type { SysctlFiles } from './sysctl-files';
import { parseTunnel, type TunnelListing } from './tunnel-listing';
import { TUNNEL_NAME } from './tunnel-plan';

export type TunnelKind = 'kernel' | 'userspace';

/** net/ipv4/conf/<device>, and why. */
export const TUNNEL_SETTINGS = {
  // Connections from 127.0.0.1 to the port of a firewall rule may leave here; the packet filter guards the way in.
  route_localnet: '1',
  // Loose, where the host is strict: with several hubs, answers come by another device than packets go.
  rp_filter: '2',
  send_redirects: '0',
  accept_redirects: '0',
  accept_source_route: '0',
  forwarding: '1',
} as const;

/**
 * For how long the kernel's WireGuard may keep segments of a stream to join them with what follows, in ns. It decrypts packet by
 * packet and would hand nearly each on alone, so that what comes after, from the packet filter to the container, is done for
 * each. A segment that ends what was written (PSH), and what is no TCP data, is never kept.
 */
const JOIN_NS = 20_000;

const PROBE_NAME = 'daoli-wg-probe';
/** Where wg(8) looks for sockets of wireguard-go. */
const SOCKETS = '/var/run/wireguard';

export interface TunnelLink {
  readonly name: string;
  readonly mtu: number;
  readonly up: boolean;
}

export class TunnelDevices {
  private found: Promise<TunnelKind> | undefined;

  constructor(
    private readonly shell: CoProcessSession,
    private readonly sysctl: SysctlFiles,
  ) {}

  kind(): Promise<TunnelKind> {
    this.found ??= this.findKind();
    // Not known, if the question failed.
    this.found.catch(() => (this.found = undefined));
    return this.found;
  }

  private async findKind(): Promise<TunnelKind> {
    const { status } = await this.shell.run(
      `ip link add ${PROBE_NAME} type wireguard 2>/dev/null && ip link delete ${PROBE_NAME}`,
    );
    return status === 0 ? 'kernel' : 'userspace';
  }

  /** Interfaces with a name of ours. */
  async list(): Promise<TunnelLink[]> {
    const links = parseLinks(await this.run('list the interfaces', 'ip -j -d link show'));
    return links.filter(({ name }) => TUNNEL_NAME.test(name)).map(({ name, mtu, up }) => ({ name, mtu, up }));
  }

  /** Undefined where there is no such device, or nobody behind it. */
  async show(name: string): Promise<TunnelListing | undefined> {
    const { stdout, status } = await this.shell.run(`wg show ${name} dump`);
    return status === 0 ? parseTunnel(name, stdout) : undefined;
  }

  /** Makes it anew, whatever is there by that name; it is down, and has no key yet. */
  async make(name: string): Promise<void> {
    if ((await this.kind()) === 'kernel') {
      await this.run(`make ${name}`, `ip link delete ${name} 2>/dev/null; ip link add ${name} type wireguard`);
      return;
    }
    const reply = await this.shell.run(startScript(name));
    if (reply.status === 0) return;
    const words = reply.stderr.trim().split('\n').at(-1) ?? '';
    throw new DaoliError('unsupported', `the kernel has no WireGuard, and wireguard-go does not run: ${words}`, name);
  }

  /** Settings, MTU, up; resolves when packets would pass. */
  async prepare(name: string, mtu: number): Promise<void> {
    // IPv6 goes off before the device goes up, or the kernel sends multicast of its own.
    await this.sysctl.writeIfPresent(`net/ipv6/conf/${name}/disable_ipv6`, '1');
    for (const [key, value] of Object.entries(TUNNEL_SETTINGS)) {
      await this.sysctl.write(`net/ipv4/conf/${name}/${key}`, value);
    }
    const command = `ip link set dev ${name} mtu ${mtu} up && ${retry(`[ "$(wg show ${name} listen-port)" != 0 ]`)}`;
    await this.run(`take ${name} up`, command);
  }

  /**
   * Has segments of a stream that come through it joined, as network cards have. wireguard-go joins them by itself, and the
   * setting changes nothing there. Returns why it cannot be set. It is no sysctl: sysfs shows the network namespace it was
   * mounted from, and is read-only in a container, so it is mounted for this moment.
   */
  async joinSegments(name: string): Promise<string | undefined> {
    const write = `mount -t sysfs sysfs /sys && echo ${JOIN_NS} >/sys/class/net/${name}/gro_flush_timeout`;
    const { status, stderr } = await this.shell.run(`unshare --mount sh -c '${write}'`);
    return status === 0 ? undefined : stderr.trim();
  }

  /** Takes it away, with the process behind it. A name that does not exist is fine. */
  async remove(name: string): Promise<void> {
    await this.shell.run(endScript(name));
  }

  /** `words` for `wg set`, and what it reads as its standard input. */
  async set(name: string, words: readonly string[], input: string): Promise<void> {
    const command = ['wg', 'set', name, ...words.map((word) => (word === '' ? "''" : word))].join(' ');
    await this.run(`configure ${name}`, withInput(command, input));
  }

  async routes(): Promise<RouteDetails[]> {
    return parseRoutes(await this.run('list the routes', 'ip -j -4 route show table main'));
  }

  async batch(commands: readonly string[]): Promise<void> {
    await this.run('set the routes by tunnels', withInput('ip -force -batch -', commands.join('\n')));
  }

  private async run(purpose: string, command: string): Promise<string> {
    const { stdout, stderr, status }: Reply = await this.shell.run(command);
    if (status === 0) return stdout;
    throw new DaoliError('internal', `cannot ${purpose}: ${stderr.trim().replaceAll('\n', '; ')}`);
  }
}

/** Waits up to 3 s for a condition. */
function retry(condition: string): string {
  return `( tries=0; until ${condition}; do [ $tries -lt 150 ] || exit 1; tries=$((tries + 1)); sleep 0.02; done )`;
}

/**
 * Ends what was started under that name before, and waits until nothing of it is left: a process on its way out takes away the
 * socket of the next, and its interface is busy for some milliseconds. A file alone does not say which process that is.
 */
function endScript(name: string): string {
  return `( pid=0 line=''
read -r pid <${SOCKETS}/${name}.pid
[ "$pid" = 0 ] || read -r line <"/proc/$pid/cmdline"
[ "$line" != wireguard-go-f${name} ] || kill -KILL "$pid"
ip link delete ${name}
${retry(`[ ! -e /sys/class/net/${name} ] && [ "$(ip link show ${name})" = '' ] && { [ "$line" != wireguard-go-f${name} ] || [ ! -e "/proc/$pid/exe" ]; }`)}
rm -f ${SOCKETS}/${name}.sock ${SOCKETS}/${name}.pid
) 2>/dev/null`;
}

/** Not in our process group, nor on our outputs: it outlives both. Where it does not start, it is asked for the reason. */
function startScript(name: string): string {
  const program = `WG_PROCESS_FOREGROUND=1 LOG_LEVEL=error`;
  return `${endScript(name)}
mkdir -p -m 700 ${SOCKETS}
( ${program} setsid sh -c 'echo $$ >${SOCKETS}/${name}.pid; exec wireguard-go -f ${name}' >/dev/null 2>&1 & )
${retry(`[ -S ${SOCKETS}/${name}.sock ]`)} || ( ${program} wireguard-go -f ${name} & sleep 1; kill $!; exit 1 )`;
}
