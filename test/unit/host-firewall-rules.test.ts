// The text of the packet filter. What the rules do is tried with real packets in test/e2e/host-firewall.test.ts.
import * as fc from 'fast-check';
import { cidrOf, parseCidr, parseIpv4, type Ipv4 } from '../../src/base/addresses';
import { holdsElements, parseListing } from '../../src/host/firewall-listing';
import { buildBridges, buildChange, buildTable, elementsOfState, publishedKeys } from '../../src/host/firewall-rules';
import type { ForwardedPort, PublishedEndpoint, PublishedPort } from '../../src/host/host';
import { contractConfig as config } from '../fakes/host-contract';

const web: PublishedEndpoint = {
  endpointId: 'web',
  locator: parseIpv4('100.64.7.2'),
  tenantPools: [parseCidr('10.1.2.0/24'), parseCidr('10.1.0.0/16'), parseCidr('192.168.0.0/24')],
  ports: [
    { protocol: 'tcp', hostPort: 8080, containerPort: 80 },
    { protocol: 'udp', hostPort: 53, containerPort: 5353, hostIp: parseIpv4('127.0.0.1') },
  ],
};

/** The elements of one object in a table's text. */
function elementsIn(table: string, object: string): string[] {
  const block = new RegExp(`(?:map|set) ${object} \\{[^}]*?(?:elements = \\{ ([^}]*) \\})?\\n  \\}`).exec(table);
  return (block?.[1] ?? '').split(', ').filter(Boolean).sort();
}

test('the table is replaced in one transaction', () => {
  expect(buildTable(config, []).split('\n').slice(0, 3)).toEqual([
    'add table inet daolinet',
    'delete table inet daolinet',
    'table inet daolinet {',
  ]);
});

// nft 1.0.6 (Debian 12) crashes on listing a named set of one part that nft 1.1 (the plugin's) has made.
test('every named set and map has a key of several parts', () => {
  const types = [...buildTable(config, [web]).matchAll(/^ {2}(?:set|map) \w+ \{\n {4}type ([^;:]+)/gm)].map(
    ([, type]) => type,
  );
  expect(types.length).toBeGreaterThan(4);
  expect(types.filter((type) => !type?.includes(' . '))).toEqual([]);
});

test('published ports are elements; pools inside wider ones are left out', () => {
  const table = buildTable(config, [web]);
  expect(elementsIn(table, 'published')).toEqual(['6 . 8080 : 100.64.7.2 . 80']);
  expect(elementsIn(table, 'published_at')).toEqual(['127.0.0.1 . 17 . 53 : 100.64.7.2 . 5353']);
  expect(elementsIn(table, 'pool_clients')).toEqual(['100.64.7.2 . 10.1.0.0/16', '100.64.7.2 . 192.168.0.0/24']);
  expect(elementsIn(table, 'closed_ports')).toEqual(['6 . 7654']);
  expect(elementsIn(table, 'docker_bridges')).toEqual(['"daoli0" . "docker0"']);
});

test('of a cluster: the doors of other hosts, and nothing but names on the address for names', () => {
  const doors = [{ address: parseIpv4('192.0.2.2'), port: 7470 }];
  const table = buildTable({ ...config, doors, dnsAddress: parseIpv4('100.127.255.254') }, []);
  expect(elementsIn(table, 'doors')).toEqual(['192.0.2.2 . 7470']);
  expect(table).toContain('ip daddr 100.127.255.254 meta l4proto { 6, 17 } th dport 53 accept');
  expect(table).toContain('ip daddr 100.127.255.254 counter name closed_port_refused drop');
  expect(buildTable(config, [])).not.toContain('dport 53');
});

test('rules do not depend on what is published', () => {
  const rules = (table: string): string => table.slice(table.indexOf('chain '));
  expect(rules(buildTable(config, [web]))).toBe(rules(buildTable(config, [])));
});

test('a change names what differs, what goes first', () => {
  const moved = { ...web, ports: web.ports.slice(0, 1), locator: parseIpv4('100.64.7.3'), tenantPools: [] };
  expect(buildChange([web], [web])).toBe('');
  expect(buildChange([], [])).toBe('');
  expect(buildChange([web], [{ ...web, ports: [] }]).split('\n')).toHaveLength(4);
  expect(buildChange([web], [moved]).split('\n')).toEqual([
    'delete element inet daolinet published { 6 . 8080 }',
    'delete element inet daolinet published_at { 127.0.0.1 . 17 . 53 }',
    'delete element inet daolinet pool_clients { 100.64.7.2 . 10.1.0.0/16 }',
    'delete element inet daolinet pool_clients { 100.64.7.2 . 192.168.0.0/24 }',
    'add element inet daolinet published { 6 . 8080 : 100.64.7.3 . 80 }',
  ]);
});

test('bridges', () => {
  expect(buildBridges('daoli0', ['docker0', 'br-1'])).toBe(
    'flush set inet daolinet docker_bridges\n' +
      'add element inet daolinet docker_bridges { "daoli0" . "docker0", "daoli0" . "br-1" }',
  );
  expect(buildBridges('daoli0', [])).toBe('flush set inet daolinet docker_bridges');
});

test('an endpoint that wants one port twice has it once', () => {
  const twice = { ...web, ports: [...web.ports, ...web.ports] };
  expect(buildTable(config, [twice])).toBe(buildTable(config, [web]));
  expect(new Set(publishedKeys(twice)).size).toBe(2);
});

describe('the listing of nft 1.0.6', () => {
  const listing = `table inet daolinet {
	counter locator_back_door {
	}

	set docker_bridges {
		type ifname . ifname
		elements = { "daoli0" . "docker0" }
	}

	set closed_ports {
		type inet_proto . inet_service
		elements = { tcp . 7654 }
	}

	set pool_clients {
		type ipv4_addr . ipv4_addr
		flags interval
		elements = { 100.64.7.2 . 192.168.0.0/24,
			     100.64.7.2 . 10.1.0.0/16 }
	}

	map published {
		type inet_proto . inet_service : ipv4_addr . inet_service
		elements = { tcp . 8080 : 100.64.7.2 . 80 }
	}

	map published_at {
		type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service
		elements = { 127.0.0.1 . udp . 53 : 100.64.7.2 . 5353 }
	}

	chain output_nat {
		type nat hook output priority -100; policy accept;
		oifname != { "lo", "daoli0" } ip saddr 100.64.7.0/24 masquerade
	}
}
`;
  const wanted = elementsOfState(config, [web]);

  test('has the elements that are wanted, in whatever order', () => {
    expect(holdsElements(parseListing(listing), wanted)).toBe(true);
    expect(holdsElements(parseListing(listing), elementsOfState(config, []))).toBe(false);
    expect(holdsElements(parseListing(''), [])).toBe(true);
  });

  test.each([
    ['one element', '127.0.0.1 . udp . 53 : 100.64.7.2 . 5353'],
    ['a value', '. 5353'],
    ['all elements of one', 'elements = { "daoli0" . "docker0" }'],
  ])('without %s is another', (_, text) => {
    const less = parseListing(listing.replace(text, ''));
    expect(holdsElements(less, wanted)).toBe(false);
    expect(less.rules).toBe(parseListing(listing).rules);
  });

  test('without a rule, or with another, is another', () => {
    const { rules } = parseListing(listing);
    expect(parseListing(listing.replace('masquerade', 'accept')).rules).not.toBe(rules);
    expect(parseListing(listing.replace('policy accept', 'policy drop')).rules).not.toBe(rules);
    expect(parseListing('').rules).not.toBe(rules);
  });
});

const port: fc.Arbitrary<PublishedPort> = fc
  .record({
    protocol: fc.constantFrom('tcp' as const, 'udp' as const, 'sctp' as const),
    hostPort: fc.integer({ min: 1, max: 4 }),
    containerPort: fc.integer({ min: 1, max: 3 }),
    local: fc.boolean(),
  })
  .map(({ local, ...rest }) => (local ? { ...rest, hostIp: parseIpv4('127.0.0.1') } : rest));
const endpoint: fc.Arbitrary<PublishedEndpoint> = fc.record({
  endpointId: fc.constant('e'),
  locator: fc.integer({ min: 2, max: 3 }).map((last) => (parseIpv4('100.64.7.0') + last) as Ipv4),
  ports: fc.uniqueArray(port, { maxLength: 4, selector: (each) => publishedKeys({ ...web, ports: [each] })[0] }),
  tenantPools: fc.array(
    fc
      .record({ second: fc.integer({ min: 1, max: 2 }), prefix: fc.constantFrom(16, 24) })
      .map(({ second, prefix }) => cidrOf(parseIpv4(`10.${second}.0.0`), prefix)),
    { maxLength: 3 },
  ),
});

test('changes, one after another, lead to the table that is made at once', () => {
  fc.assert(
    fc.property(fc.array(endpoint, { minLength: 1, maxLength: 6 }), (states) => {
      const objects = ['published', 'published_at', 'pool_clients'];
      const kernel = new Map(objects.map((object) => [object, new Map<string, string>()]));
      let before: PublishedEndpoint | undefined;
      for (const after of states) {
        for (const command of buildChange(before === undefined ? [] : [before], [after])
          .split('\n')
          .filter(Boolean)) {
          const [, verb, object = '', key = '', value = ''] =
            /^(add|delete) element inet daolinet (\w+) \{ (.*?)(?: : (.*))? \}$/.exec(command) ?? [];
          const elements = kernel.get(object);
          // As the kernel: what exists cannot be added with another value, what does not exist cannot be deleted.
          expect(elements?.has(key)).toBe(verb === 'delete');
          if (verb === 'add') elements?.set(key, value);
          else elements?.delete(key);
        }
        before = after;
      }
      const table = buildTable(config, before === undefined ? [] : [before]);
      for (const [object, elements] of kernel) {
        const listed = [...elements].map(([key, value]) => (value === '' ? key : `${key} : ${value}`)).sort();
        expect(elementsIn(table, object)).toEqual(listed);
      }
    }),
  );
});

describe('the port of a firewall rule', () => {
  const target = { locator: web.locator, port: 22, tenantPools: web.tenantPools };
  const rule: ForwardedPort = { name: 'ssh', protocol: 'tcp', hostPort: 2222, from: [], target };
  const elements = (port: ForwardedPort): string[] =>
    elementsOfState({ ...config, dockerBridges: [], closedPorts: [] }, [port])
      .filter(({ object }) => object !== 'pool_clients')
      .map((element) => `${element.object} ${element.key}${element.value && ` : ${element.value}`}`);

  test('for everybody is one like any published port', () => {
    expect(elements(rule)).toEqual(['published 6 . 2222 : 100.64.7.2 . 22']);
    expect(elements({ ...rule, hostIp: parseIpv4('192.0.2.2') })).toEqual([
      'published_at 192.0.2.2 . 6 . 2222 : 100.64.7.2 . 22',
    ]);
  });

  test('for some is translated for them, and refused for all whom it was not translated for', () => {
    const from = [parseCidr('10.0.0.0/8'), parseCidr('10.1.0.0/16'), parseCidr('192.0.2.9/32')];
    expect(elements({ ...rule, from })).toEqual([
      'refused_ports 6 . 2222',
      'published_from 10.0.0.0/8 . 6 . 2222 : 100.64.7.2 . 22',
      'published_from 192.0.2.9/32 . 6 . 2222 : 100.64.7.2 . 22',
    ]);
    expect(elements({ ...rule, from: from.slice(2), hostIp: parseIpv4('192.0.2.2') })).toEqual([
      'refused_ports_at 192.0.2.2 . 6 . 2222',
      'published_from_at 192.0.2.9/32 . 192.0.2.2 . 6 . 2222 : 100.64.7.2 . 22',
    ]);
  });

  test('without its container is refused', () => {
    const { target: _, ...vacant } = rule;
    expect(elements(vacant)).toEqual(['refused_ports 6 . 2222']);
  });

  test('shares the pools of its locator: they stay when one of the two goes', () => {
    expect(buildChange([web, rule], [web])).toBe('delete element inet daolinet published { 6 . 2222 }');
    expect(buildChange([rule], []).split('\n')).toHaveLength(3);
  });
});

describe('tunnels', () => {
  const chain = (table: string, name: string): string[] =>
    (new RegExp(`chain ${name} \\{\\n([^}]*(?:\\{[^}]*\\}[^}]*)*?)\\n {2}\\}`).exec(table)?.[1] ?? '')
      .split('\n')
      .map((line) => line.trim());
  const tunnels = { isHub: false, doorPort: 7470 };

  test('without them, nothing passes; with them, containers, answers and the door; on a hub, others besides', () => {
    const refused = ['counter name tunnel_refused drop'];
    const accepted = (rest: object, name: string) => chain(buildTable({ ...config, ...rest }, []), name);
    for (const name of ['from_tunnel', 'to_tunnel', 'to_host_by_tunnel']) expect(accepted({}, name)).toEqual(refused);
    const own = 'oifname "daoli0" ip daddr { 100.64.7.0/24 } accept';
    const answers = 'ct state established,related ct status dnat accept';
    expect(accepted({ tunnels }, 'from_tunnel')).toEqual([own, answers, ...refused]);
    expect(accepted({ tunnels: { ...tunnels, isHub: true } }, 'from_tunnel')).toEqual([
      ...[own, 'oifname "daoli-wg*" accept', answers],
      ...refused,
    ]);
    expect(accepted({ tunnels }, 'to_host_by_tunnel')).toContain(
      'ip daddr 100.64.7.1 meta l4proto 6 th dport 7470 accept',
    );
  });

  test('what is for locators is guarded on every host', () => {
    for (const each of [config, { ...config, tunnels }]) {
      expect(chain(buildTable(each, []), 'postrouting_guard').at(-1)).toBe(
        'ip daddr 100.64.0.0/10 oifname != { "lo", "daoli0" } counter name locator_astray drop',
      );
    }
  });

  test('what another VPN has of their range may pass, unless it is a host’s, or comes from a container', () => {
    const foreign = { devices: ['tailscale0'], usedBlocks: ['100.64.7.0/24', '100.64.8.0/24'].map(parseCidr) };
    expect(chain(buildTable({ ...config, foreign }, []), 'postrouting_guard').slice(-2)).toEqual([
      'oifname { "tailscale0" } ip saddr != { 100.64.7.0/24 } ip daddr != { 100.64.7.0/24, 100.64.8.0/24 } return',
      'ip daddr 100.64.0.0/10 oifname != { "lo", "daoli0" } counter name locator_astray drop',
    ]);
  });

  test('names are asked for with tracking', () => {
    const table = buildTable({ ...config, tunnels, dnsAddress: parseIpv4('100.127.255.254') }, []);
    expect(chain(table, 'prerouting_tunnels').at(-1)).toContain(
      'ip daddr != { 100.64.7.0/24, 100.127.255.254 } notrack',
    );
  });
});
