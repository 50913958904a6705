// The kernel settings that DaoliNet needs, and nothing beyond: settings of `conf/all` change every interface of the host, so
// they stay as they are (redirects are dropped by the packet filter instead).

import { DaoliError, messageOf } from '../base/errors';
import type { CoProcessSession } from './co-process-session';
import type { KernelSettings } from './host';
import type { SysctlFiles } from './sysctl-files';

const FORWARDING = 'net/ipv4/ip_forward';

/** net/ipv4/conf/<host interface>, and why. */
export const HOST_INTERFACE_SETTINGS = {
  // Connections from 127.0.0.1 to a published port leave by this interface; the packet filter guards the way in.
  route_localnet: '1',
  // Only the address of this interface is its own: the datapath must not learn the host's others.
  arp_ignore: '1',
  arp_announce: '2',
  // Loose, where the host is strict: answers of containers may belong to connections that came by another interface.
  rp_filter: '2',
  send_redirects: '0',
  accept_redirects: '0',
  accept_source_route: '0',
  forwarding: '1',
} as const;

export class ProcKernelSettings implements KernelSettings {
  constructor(
    private readonly shell: CoProcessSession,
    private readonly files: SysctlFiles,
  ) {}

  async makeWritable(): Promise<void> {
    if (await this.files.isWritable(FORWARDING)) return;
    // A container has /proc/sys as a read-only bind mount, and this changes the one of our mount namespace only.
    const { stderr } = await this.shell.run('mount -o remount,bind,rw /proc/sys');
    if (await this.files.isWritable(FORWARDING)) return;
    throw new DaoliError(
      'unsupported',
      `/proc/sys is read-only and cannot be mounted for writing (${stderr.trim()}): the agent needs CAP_SYS_ADMIN`,
      '/proc/sys',
    );
  }

  async enableForwarding(): Promise<boolean> {
    if ((await this.files.read(FORWARDING)) !== '0') return false;
    await this.write(FORWARDING, '1');
    return true;
  }

  async read(path: string): Promise<string | undefined> {
    return this.files.read(path).catch(() => undefined);
  }

  async prepareHostInterface(name: string): Promise<void> {
    for (const [key, value] of Object.entries(HOST_INTERFACE_SETTINGS)) {
      await this.write(`net/ipv4/conf/${name}/${key}`, value);
    }
    // Absent where the kernel has no IPv6, which is as good.
    await this.files.writeIfPresent(`net/ipv6/conf/${name}/accept_ra`, '0');
    await this.files.writeIfPresent(`net/ipv6/conf/${name}/disable_ipv6`, '1');
  }

  private async write(path: string, value: string): Promise<void> {
    try {
      await this.files.write(path, value);
    } catch (error) {
      const setting = path.replaceAll('/', '.');
      throw new DaoliError('internal', `cannot set ${setting}=${value}: ${messageOf(error)}`, setting, {
        cause: error,
      });
    }
  }
}
