// Keeping the packet filter: what happens to our books when nft or iptables refuse, and when others change what is ours.
import { parseIpv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { CoProcessSession } from '../../src/host/co-process-session';
import { shellDialogue } from '../../src/host/dialogues';
import { NftFirewall } from '../../src/host/firewall';
import type { ForwardedPort, PublishedEndpoint } from '../../src/host/host';
import { contractConfig as config } from '../fakes/host-contract';
import { ManualClock } from '../fakes/manual-clock';
import { ScriptedRunner, type Script } from '../fakes/scripted-runner';

function endpoint(endpointId: string, hostPort: number): PublishedEndpoint {
  return {
    endpointId,
    locator: parseIpv4('100.64.7.2'),
    ports: [{ protocol: 'tcp', hostPort, containerPort: 80 }],
    tenantPools: [],
  };
}

/** A kernel with a table of two parts: rules, and elements that are listed as they were last sent. */
class Kernel {
  rules = 'chain forward { }';
  elements = '';
  refuse: ((command: string) => boolean) | undefined;
  forward = '';
  readonly script: Script = (command) => {
    if (this.refuse?.(command) === true) return { status: 1, stderr: 'Error: Could not process rule\n' };
    if (command.includes('delete table'))
      this.elements = command.match(/(set|map) \w+ \{[^{}]*\{[^{}]*\}/g)?.join(' } ') ?? '';
    if (command.includes('nft -s list')) return { stdout: `${this.elements} } ${this.rules}` };
    return command.includes('iptables-nft -w 2 -S') ? { stdout: this.forward } : undefined;
  };
  readonly runner = new ScriptedRunner(this.script);
  readonly firewall = new NftFirewall(
    new CoProcessSession({ runner: this.runner, clock: new ManualClock(), dialogue: shellDialogue }),
    silentLogger,
  );

  since(count: number): string[] {
    return this.runner.commands('sh').slice(count);
  }

  get count(): number {
    return this.runner.commands('sh').length;
  }
}

let kernel: Kernel;
beforeEach(async () => {
  kernel = new Kernel();
  await kernel.firewall.apply(config, [endpoint('web', 8080)]);
});

test('a change that nft refuses is followed by the whole table', async () => {
  kernel.refuse = (command) => command.includes('add element');
  const { count } = kernel;
  await kernel.firewall.publish(endpoint('more', 8081));
  const [change, table] = kernel.since(count);
  expect(change).toContain('add element inet daolinet published { 6 . 8081 : 100.64.7.2 . 80 }');
  expect(table).toContain('delete table inet daolinet');
  expect(table).toContain('6 . 8080 : 100.64.7.2 . 80, 6 . 8081 : 100.64.7.2 . 80');
});

test('a port that cannot be published leaves the books as they were', async () => {
  kernel.refuse = (command) => command.startsWith('nft -f');
  await expect(kernel.firewall.publish(endpoint('more', 8081))).rejects.toMatchObject({ code: 'internal' });
  await expect(kernel.firewall.publish(endpoint('web', 8082))).rejects.toThrow('nft refused the rules of DaoliNet');
  kernel.refuse = undefined;
  await kernel.firewall.publish(endpoint('other', 8081));
  await expect(kernel.firewall.publish(endpoint('third', 8080))).rejects.toMatchObject({ code: 'conflict' });
});

test('ports of one state conflict before anything is sent', async () => {
  const { count } = kernel;
  const twice = [endpoint('a', 1), endpoint('b', 1)];
  await expect(kernel.firewall.apply(config, twice)).rejects.toMatchObject({ code: 'conflict' });
  expect(kernel.since(count)).toEqual([]);
});

test('publishing the same again sends nothing; withdrawing ends its connections', async () => {
  const { count } = kernel;
  await kernel.firewall.publish(endpoint('web', 8080));
  expect(kernel.since(count)).toEqual([]);
  await kernel.firewall.withdraw('web');
  expect(kernel.since(count)[0]).toContain('delete element inet daolinet published { 6 . 8080 }');
  expect(kernel.since(count)[1]).toBe('conntrack -D --reply-src 100.64.7.2 >/dev/null');
});

test('flows to a UDP port that were there before it are ended, once', async () => {
  const ports = [
    { protocol: 'udp', hostPort: 53, containerPort: 5353 },
    { protocol: 'udp', hostPort: 54, containerPort: 54, hostIp: parseIpv4('127.0.0.1') },
  ] as const;
  await kernel.firewall.publish({ ...endpoint('dns', 80), ports: ports.slice(0, 1) });
  const { count } = kernel;
  await kernel.firewall.publish({ ...endpoint('dns', 80), ports });
  await kernel.firewall.publish({ ...endpoint('dns', 80), ports });
  expect(kernel.since(count).slice(1)).toEqual([
    'conntrack -D -p udp --orig-port-dst 54 --orig-dst 127.0.0.1 >/dev/null',
  ]);
  expect(kernel.since(0)).toContain('conntrack -D -p udp --orig-port-dst 53 >/dev/null');
});

test('repair finds what is gone and puts everything back; nothing otherwise', async () => {
  expect(await kernel.firewall.repair()).toBe(0);
  kernel.elements = kernel.elements.replace('6 . 8080', 'tcp . 8081');
  const { count } = kernel;
  expect(await kernel.firewall.repair()).toBe(1);
  expect(kernel.since(count).join('\n')).toContain('6 . 8080 : 100.64.7.2 . 80');
  expect(await kernel.firewall.repair()).toBe(0);
  kernel.rules = 'chain forward { drop }';
  expect(await kernel.firewall.repair()).toBe(1);
  kernel.refuse = (command) => command === 'nft -s list table inet daolinet';
  expect(await kernel.firewall.repair()).toBe(1);
});

test('repair puts rules into a chain that Docker has just made', async () => {
  kernel.forward = '-P FORWARD DROP\n-A FORWARD -j DOCKER-USER\n-N DOCKER-USER\n';
  expect(await kernel.firewall.repair()).toBe(2);
  expect(kernel.runner.commands('sh')).toContain(
    'iptables-nft -w 2 -A DOCKER-USER -i daoli0 -m comment --comment daolinet -j ACCEPT',
  );
});

test('a rule that iptables refuses is an error with its words', async () => {
  kernel.forward = '-P FORWARD DROP\n';
  kernel.refuse = (command) => command.includes('-I FORWARD');
  await expect(kernel.firewall.assertForwarding()).rejects.toThrow(
    'iptables-nft refused a rule: Error: Could not process',
  );
});

test('nothing is repaired before the first state and after the last', async () => {
  const idle = new Kernel();
  expect(await idle.firewall.repair()).toBe(0);
  expect(await idle.firewall.repairLegacy()).toBe(0);
  await idle.firewall.assertForwarding();
  expect(idle.runner.processes).toHaveLength(0);
  await kernel.firewall.remove();
  expect(await kernel.firewall.repair()).toBe(0);
});

test.each(['a"; flush ruleset', 'x y', ''])('an interface called %j is refused', async (name) => {
  const { count } = kernel;
  expect(() => kernel.firewall.setDockerBridges([name])).toThrow('cannot be the name of an interface');
  expect(() => kernel.firewall.apply({ ...config, hostInterface: name }, [])).toThrow('cannot be the name');
  expect(kernel.since(count)).toEqual([]);
});

describe('ports of firewall rules', () => {
  const target = { locator: parseIpv4('100.64.7.2'), port: 22, tenantPools: [] };
  const rule: ForwardedPort = { name: 'ssh', protocol: 'tcp', hostPort: 2222, from: [], target };

  test('conflict with published ports, and with one another, by name', async () => {
    await kernel.firewall.forward(rule);
    await expect(kernel.firewall.publish(endpoint('more', 2222))).rejects.toThrow('firewall rule ssh does');
    await expect(kernel.firewall.forward({ ...rule, name: 'other' })).rejects.toThrow('firewall rule ssh does');
    await expect(kernel.firewall.forward({ ...rule, hostPort: 8080 })).rejects.toThrow('endpoint web does');
    await kernel.firewall.withdraw('rule:ssh');
    await expect(kernel.firewall.publish(endpoint('more', 2222))).rejects.toMatchObject({ code: 'conflict' });
    await kernel.firewall.stopForwarding('ssh');
    await kernel.firewall.stopForwarding('ssh');
    await kernel.firewall.publish(endpoint('more', 2222));
  });

  test('end the connections that came by them, and no others, when they lead elsewhere', async () => {
    await kernel.firewall.forward(rule);
    const { count } = kernel;
    await kernel.firewall.forward(rule);
    expect(kernel.since(count)).toEqual([]);
    await kernel.firewall.forward({ ...rule, target: { ...target, locator: parseIpv4('100.64.9.2') } });
    await kernel.firewall.stopForwarding('ssh');
    expect(kernel.since(count).filter((command) => command.startsWith('conntrack'))).toEqual([
      'conntrack -D -p tcp --orig-port-dst 2222 --reply-port-src 22 --reply-src 100.64.7.2 >/dev/null',
      'conntrack -D -p tcp --orig-port-dst 2222 --reply-port-src 22 --reply-src 100.64.9.2 >/dev/null',
    ]);
  });

  test('outlive a new state', async () => {
    await kernel.firewall.forward(rule);
    const { count } = kernel;
    await kernel.firewall.apply(config, []);
    expect(kernel.since(count)[0]).toContain('6 . 2222 : 100.64.7.2 . 22');
    await expect(kernel.firewall.apply(config, [endpoint('more', 2222)])).rejects.toMatchObject({ code: 'conflict' });
  });

  test('that nft refuses leave the books as they were', async () => {
    kernel.refuse = (command) => command.startsWith('nft -f');
    await expect(kernel.firewall.forward(rule)).rejects.toMatchObject({ code: 'internal' });
    kernel.refuse = undefined;
    await kernel.firewall.publish(endpoint('more', 2222));
  });
});
