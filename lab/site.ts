// The L2 that several emulated hosts are on: a bridge in a network namespace of its own, where this machine's own packet
// filter does not see its frames. The namespace is the hosts' way to the internet as well.
//
//   h1 192.0.2.1 ─┐
//   h2 192.0.2.2 ─┼─ br0 192.0.2.254, and 203.0.113.7, which stands for the internet
//   h3 192.0.2.3 ─┘

import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { Namespace, type CommandResult } from './namespace';

const NETWORK = `
set -e
ip link add br0 type bridge stp_state 0 forward_delay 0
ip addr add 192.0.2.254/24 dev br0
ip addr add 203.0.113.7/32 dev lo
ip link set br0 up
`;

export class Site {
  private readonly numbers = new Map<string, number>();
  /** Pairs of hosts, "h1 h2". */
  private readonly cuts = new Set<string>();

  private constructor(private readonly namespace: Namespace) {}

  static async start(): Promise<Site> {
    const site = new Site(Namespace.create('site'));
    try {
      await site.namespace.start();
      await site.run('sh', '-c', NETWORK);
    } catch (error) {
      await site.stop();
      throw error;
    }
    return site;
  }

  /** The address of a host: the n-th that was asked for is 192.0.2.n. */
  addressOf(host: string): string {
    if (!this.numbers.has(host)) this.numbers.set(host, this.numbers.size + 1);
    return `192.0.2.${this.numbers.get(host)}`;
  }

  /** Gives a host that has just started its eth0, on this L2. */
  async plug(host: Namespace, name: string): Promise<void> {
    // That of the host before its reboot, which the kernel takes away some time after the host's end.
    await this.namespace.run(['ip', 'link', 'delete', name]);
    const veth = ['link', 'add', 'eth0', 'netns', `${host.init}`, 'type', 'veth', 'peer', 'name', name];
    await promisify(execFile)('ip', [...veth, 'netns', `${this.namespace.init}`]);
    await this.run('ip', 'link', 'set', name, 'master', 'br0', 'up');
    const commands = [
      `addr add ${this.addressOf(name)}/24 dev eth0`,
      'link set eth0 up',
      'route add default via 192.0.2.254',
    ];
    for (const words of commands) check(await host.run(['ip', ...words.split(' ')]));
  }

  /** No frame passes between two hosts any more, until `heal`. */
  async cut(one: string, other: string): Promise<void> {
    this.cuts.add(`${one} ${other}`);
    await this.filter();
  }

  /** The hosts that nothing passes to or from. */
  cutFrom(host: string): string[] {
    const pairs = [...this.cuts].map((pair) => pair.split(' '));
    return pairs.filter((pair) => pair.includes(host)).flatMap((pair) => pair.filter((name) => name !== host));
  }

  /** Takes every cut away. */
  async heal(): Promise<void> {
    this.cuts.clear();
    await this.filter();
  }

  /** Runs a command where the bridge is. Fails when its exit code is not 0. */
  async run(...command: string[]): Promise<string> {
    return check(await this.namespace.run(command)).stdout;
  }

  async stop(): Promise<void> {
    await this.namespace.end();
    this.namespace.remove();
  }

  private async filter(): Promise<void> {
    const rules = ['add table bridge lab', 'delete table bridge lab', 'add table bridge lab'];
    rules.push('add chain bridge lab forward { type filter hook forward priority 0; }');
    for (const [one = '', other = ''] of [...this.cuts].map((pair) => pair.split(' '))) {
      rules.push(`add rule bridge lab forward iifname "${one}" oifname "${other}" drop`);
      rules.push(`add rule bridge lab forward iifname "${other}" oifname "${one}" drop`);
    }
    check(await this.namespace.run(['nft', '-f', '-'], { input: `${rules.join('\n')}\n` }));
  }
}

function check(result: CommandResult): CommandResult {
  if (result.code === 0) return result;
  throw new Error(`exit code ${result.code}: ${result.stderr || result.stdout}`);
}
