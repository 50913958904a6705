// ovs-vswitchd, asked by its control socket what it would do with a packet. Nothing is changed by asking.

import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DaoliError, messageOf } from '../base/errors';
import { askControl, ControlRefused } from '../ovsdb/control';

export class Vswitchd {
  /** "/run/openvswitch" */
  constructor(private readonly rundir: string) {}

  /**
   * What would become of a packet, in words of ofproto/trace (ovs-vswitchd(8)): `flow` is one of ovs-fields(7), its in_port
   * among it. Throws `unavailable` where ovs-vswitchd is away, and `internal` with its words where it refuses.
   */
  trace(bridge: string, flow: string): Promise<string> {
    return this.ask('ofproto/trace', [bridge, flow]);
  }

  /** The same for a packet with which these actions were done, as if a flow had them. */
  traceActions(bridge: string, flow: string, actions: string): Promise<string> {
    return this.ask('ofproto/trace-packet-out', [bridge, flow, actions]);
  }

  private async ask(command: string, args: readonly string[]): Promise<string> {
    try {
      return await askControl(await this.socketPath(), command, args);
    } catch (error) {
      if (error instanceof DaoliError) throw error;
      if (error instanceof ControlRefused) throw new DaoliError('internal', `ovs-vswitchd: ${error.message}`, command);
      throw new DaoliError('unavailable', `ovs-vswitchd cannot be asked: ${messageOf(error)}`, command);
    }
  }

  /** The socket has the process's number in its name, which stands in the pid file. */
  private async socketPath(): Promise<string> {
    const pid = await readFile(join(this.rundir, 'ovs-vswitchd.pid'), 'utf8').catch(() => '');
    if (/^\d+\s*$/.test(pid)) return join(this.rundir, `ovs-vswitchd.${pid.trim()}.ctl`);
    const names = await readdir(this.rundir).catch(() => [] as string[]);
    const [name, ...others] = names.filter((each) => /^ovs-vswitchd\.\d+\.ctl$/.test(each));
    if (name !== undefined && others.length === 0) return join(this.rundir, name);
    throw new DaoliError('unavailable', `ovs-vswitchd has no pid file in ${this.rundir}: is it running?`, this.rundir);
  }
}
