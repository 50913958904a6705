// Every flow that the controller builds, as `ovs-ofctl` would print it, and each held against the declared pipeline.
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { conversationFlow, fragmentFlow, refusalFlow, withoutFlow } from '../../src/flowctl/conversation-flows';
import { fabricFlows } from '../../src/flowctl/fabric-flows';
import type { FlowHost, FlowNetwork } from '../../src/flowctl/model';
import { checkFlow, fromPlace, OURS, readCookie, readNetwork, toPlace } from '../../src/flowctl/pipeline';
import * as routes from '../../src/flowctl/route-flows';
import { baseFlows, endpointFlows, hostFlows, networkFlows } from '../../src/flowctl/static-flows';
import type { FlowMod } from '../../src/openflow/flow-mod';
import { formatFlow } from '../../src/openflow/flow-text';

const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort: { portNo: 10, mac: parseMac('02:da:00:00:00:10') },
  hostAddress: parseIpv4('100.64.0.1'),
  serverAddress: parseIpv4('192.0.2.1'),
  fabric: { portNo: 11, mtu: 1400, isNarrow: true },
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};
const network: FlowNetwork = {
  id: 'demo',
  key: 9,
  tenant: 7,
  gateway: parseIpv4('10.1.0.1'),
  pools: [parseCidr('10.1.0.0/24'), parseCidr('10.9.9.9/32')],
  internal: false,
};
const endpoint = { portNo: 1, mac: parseMac('02:00:00:00:00:01'), ip: parseIpv4('10.1.0.2'), tenant: 7, networkKey: 9 };
const from = { ...endpoint, locator: parseIpv4('100.64.0.5') };
const to = { portNo: 2, mac: parseMac('02:00:00:00:00:02'), ip: parseIpv4('10.1.0.3') };
const context = { routerMac: host.routerMac, idleTimeoutSeconds: 60 };
/** On another host: its place is its locator's number in the range, its MAC that host's router MAC. */
const far = {
  portNo: 0x400102,
  mac: parseMac('02:da:00:00:01:fe'),
  ip: parseIpv4('10.1.0.4'),
  locator: parseIpv4('100.64.1.2'),
};
const fabric = { ...context, farPortNo: 11 };
const { hostPort } = host as { hostPort: routes.HostPort };

const lines = (flows: readonly FlowMod[]) => flows.map(formatFlow).map((line) => line.replace(/^cookie=\w+, /, ''));

const REACTIVE = [
  routes.pairFlow(from, to, context),
  routes.outwardFlow(from, hostPort, context),
  routes.inwardFlow(from, hostPort, context),
  routes.denyFlow(from, to, 30),
  routes.nobodyFlow(from, parseIpv4('10.1.0.99'), 1),
  routes.noWayOutFlow(from, 1),
  routes.noWayInFlow(10, parseIpv4('100.64.0.99'), 1),
  routes.remoteOutFlow(from, far, fabric),
  routes.remoteInFlow(far, from, fabric),
  routes.denyInFlow(far, from, 11, 30),
  routes.nobodyHereFlow(11, parseIpv4('100.64.0.99'), 1),
];

test('the pipeline of a userspace datapath', () => {
  expect(lines(baseFlows(host))).toEqual([
    'priority=400,vlan_tci=0x1000/0x1000 actions=drop',
    'priority=260,arp actions=drop',
    'priority=250,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=drop',
    'priority=0 actions=drop',
    'table=1, priority=100,arp actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:da:00:00:00:fe->eth_src,' +
      'set_field:2->arp_op,move:NXM_NX_ARP_SHA[]->NXM_NX_ARP_THA[],set_field:02:da:00:00:00:fe->arp_sha,' +
      'move:NXM_OF_ARP_TPA[]->NXM_NX_REG3[],move:NXM_OF_ARP_SPA[]->NXM_OF_ARP_TPA[],' +
      'move:NXM_NX_REG3[]->NXM_OF_ARP_SPA[],IN_PORT',
    'table=1, priority=0 actions=drop',
    'table=2, priority=700,ip,nw_dst=0.0.0.0/8 actions=drop',
    'table=2, priority=700,ip,nw_dst=127.0.0.0/8 actions=drop',
    'table=2, priority=700,ip,nw_dst=169.254.0.0/16 actions=drop',
    'table=2, priority=700,ip,nw_dst=224.0.0.0/3 actions=drop',
    'table=2, priority=400,ip,nw_dst=100.64.0.1 actions=goto_table:3',
    'table=2, priority=300,ip,nw_dst=100.64.0.0/10 actions=drop',
    'table=2, priority=0 actions=goto_table:3',
    'table=3, priority=500,icmp,nw_frag=not_later,icmp_type=3 actions=set_field:0x3->reg2,goto_table:7',
    'table=3, priority=500,icmp,nw_frag=not_later,icmp_type=11 actions=set_field:0x3->reg2,goto_table:7',
    'table=3, priority=500,icmp,nw_frag=not_later,icmp_type=12 actions=set_field:0x3->reg2,goto_table:7',
    'table=3, priority=500,icmp,nw_frag=not_later,icmp_type=5 actions=drop',
    'table=3, priority=500,icmp,nw_frag=not_later,icmp_type=4 actions=drop',
    'table=3, priority=400,tcp,nw_frag=later actions=set_field:0x4->reg2,goto_table:7',
    'table=3, priority=400,udp,nw_frag=later actions=set_field:0x4->reg2,goto_table:7',
    'table=3, priority=0 actions=set_field:0x2->reg2,goto_table:7',
    'table=7, priority=0 actions=drop',
  ]);
});

test('the kernel datapath rewrites later fragments itself', () => {
  expect(lines(baseFlows({ ...host, kernelDatapath: true })).filter((line) => line.includes('nw_frag=later'))).toEqual(
    [],
  );
});

test('the host port', () => {
  expect(lines(hostFlows(host))).toEqual([
    'priority=200,ip,in_port=10,dl_src=02:da:00:00:00:10,dl_dst=02:da:00:00:00:fe,nw_dst=100.64.0.0/10 ' +
      'actions=goto_table:3',
    'priority=310,arp,in_port=10,arp_tpa=100.64.0.1 actions=drop',
    'priority=300,arp,in_port=10,dl_src=02:da:00:00:00:10,arp_tpa=100.64.0.0/10,arp_op=1,' +
      'arp_sha=02:da:00:00:00:10 actions=goto_table:1',
    'table=7, priority=100,in_port=10 actions=meter:10,controller(userdata=da.02)',
  ]);
  const { hostPort: _, ...without } = host;
  expect(hostFlows(without)).toEqual([]);
});

test('a network', () => {
  const swap =
    'move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:da:00:00:00:fe->eth_src,' +
    'move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[],set_field:10.1.0.1->ip_src';
  expect(lines(networkFlows(network, host))).toEqual([
    'table=2, priority=650,icmp,reg1=0x9,nw_dst=10.1.0.1,nw_frag=not_later,icmp_type=8 ' +
      `actions=${swap},set_field:0->icmp_type,set_field:64->nw_ttl,IN_PORT`,
    'table=2, priority=650,icmp,reg1=0x9,nw_dst=10.1.0.1,nw_frag=later ' +
      `actions=${swap},set_field:64->nw_ttl,IN_PORT`,
    'table=2, priority=500,ip,reg0=0x7,nw_dst=10.1.0.0/24 actions=set_field:0x1->reg2,goto_table:7',
    'table=2, priority=500,ip,reg0=0x7,nw_dst=10.9.9.9 actions=set_field:0x1->reg2,goto_table:7',
  ]);
  const { gateway: _, ...without } = network;
  expect(networkFlows(without, host)).toHaveLength(2);
  const dnsAddress = parseIpv4('100.127.255.254');
  expect(networkFlows(network, { ...host, dnsAddress })).toHaveLength(4);
  expect(lines(networkFlows({ ...without, pools: [], internal: true }, { ...host, dnsAddress }))).toEqual([
    'table=2, priority=450,ip,reg1=0x9,nw_dst=100.127.255.254 actions=set_field:0x2->reg2,goto_table:7',
  ]);
  expect(lines(baseFlows({ ...host, dnsAddress }))).toContain(
    'table=2, priority=400,ip,nw_dst=100.127.255.254 actions=goto_table:3',
  );
});

test('an endpoint', () => {
  expect(lines(endpointFlows(endpoint, host.routerMac))).toEqual([
    'priority=200,ip,in_port=1,dl_src=02:00:00:00:00:01,dl_dst=02:da:00:00:00:fe,nw_src=10.1.0.2 ' +
      'actions=set_field:0x7->reg0,set_field:0x9->reg1,goto_table:2',
    'priority=310,arp,in_port=1,arp_tpa=10.1.0.2 actions=drop',
    'priority=300,arp,in_port=1,dl_src=02:00:00:00:00:01,arp_spa=10.1.0.2,arp_op=1,arp_sha=02:00:00:00:00:01 ' +
      'actions=goto_table:1',
    'table=7, priority=100,in_port=1 actions=meter:1,controller(userdata=da.02)',
  ]);
});

test('routes and reactive drops', () => {
  expect(lines(REACTIVE)).toEqual([
    'table=2, idle_timeout=60, send_flow_rem priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.3 ' +
      'actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:02->eth_dst,output:2',
    'table=3, idle_timeout=60, send_flow_rem priority=200,ip,in_port=1,nw_src=10.1.0.2 ' +
      'actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:da:00:00:00:10->eth_dst,' +
      'set_field:100.64.0.5->ip_src,output:10',
    'table=3, idle_timeout=60, send_flow_rem priority=200,ip,in_port=10,nw_dst=100.64.0.5 ' +
      'actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:01->eth_dst,' +
      'set_field:10.1.0.2->ip_dst,output:1',
    'table=2, hard_timeout=30, priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.3 actions=drop',
    'table=2, hard_timeout=1, priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.99 actions=drop',
    'table=3, hard_timeout=1, priority=200,ip,in_port=1,nw_src=10.1.0.2 actions=drop',
    'table=3, hard_timeout=1, priority=200,ip,in_port=10,nw_dst=100.64.0.99 actions=drop',
    'table=2, idle_timeout=60, send_flow_rem priority=600,ip,in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.4 ' +
      'actions=set_field:02:da:00:00:01:fe->eth_dst,set_field:0x64400005->reg4,set_field:0x64400102->reg5,' +
      'goto_table:4',
    'table=6, idle_timeout=60, send_flow_rem priority=200,ip,in_port=11,dl_src=02:da:00:00:01:fe,' +
      'nw_src=100.64.1.2,nw_dst=100.64.0.5 actions=set_field:02:da:00:00:00:fe->eth_src,' +
      'set_field:02:00:00:00:00:01->eth_dst,set_field:10.1.0.4->ip_src,set_field:10.1.0.2->ip_dst,dec_ttl,output:1',
    'table=6, hard_timeout=30, priority=200,ip,in_port=11,dl_src=02:da:00:00:01:fe,nw_src=100.64.1.2,' +
      'nw_dst=100.64.0.5 actions=drop',
    'table=6, hard_timeout=1, priority=200,ip,in_port=11,nw_dst=100.64.0.99 actions=drop',
  ]);
});

/** Conversations of every kind, in every table. */
const CONVERSATIONS = [
  { route: routes.pairFlow(from, to, context), outside: {} },
  { route: routes.remoteOutFlow(from, far, fabric), outside: {} },
  { route: routes.remoteInFlow(far, from, fabric), outside: {} },
  { route: routes.outwardFlow(from, hostPort, context), outside: { ipv4Dst: parseIpv4('198.51.100.7') } },
  { route: routes.inwardFlow(from, hostPort, context), outside: { ipv4Src: parseIpv4('198.51.100.7') } },
].flatMap((way) => [
  ...[1, 6, 17, 132, 47].map((protocol) => {
    const [openerPort, answererPort] = [6, 17, 132].includes(protocol) ? [40000, 80] : [0, 0];
    const conversation = { opener: 1, answerer: 2, outsideAddress: 0, protocol, openerPort, answererPort };
    return conversationFlow(way, conversation, protocol !== 17);
  }),
  fragmentFlow(way, 30),
  refusalFlow(way, { protocol: 1, icmpType: 13 }, 5),
  refusalFlow(way, { protocol: 6, destinationPort: 22 }, 5),
  refusalFlow(way, undefined, 30),
]);

test('conversations are their routes, narrowed to a protocol and its ports', () => {
  const actions = 'actions=set_field:02:da:00:00:00:fe->eth_src,set_field:02:00:00:00:00:02->eth_dst,output:2';
  const start = 'table=2, idle_timeout=60, send_flow_rem priority=620';
  const pair = 'in_port=1,nw_src=10.1.0.2,nw_dst=10.1.0.3';
  expect(lines(CONVERSATIONS).slice(0, 9)).toEqual([
    `${start},icmp,${pair},icmp_type=8 ${actions}`,
    `${start},tcp,${pair},tp_src=40000,tp_dst=80 ${actions}`,
    `${start},udp,${pair},tp_src=80,tp_dst=40000 ${actions}`,
    `${start},sctp,${pair},tp_src=40000,tp_dst=80 ${actions}`,
    `${start},ip,${pair},nw_proto=47 ${actions}`,
    `table=2, hard_timeout=30, send_flow_rem priority=620,ip,${pair},nw_frag=later ${actions}`,
    `table=2, hard_timeout=5, priority=550,icmp,${pair},icmp_type=13 actions=drop`,
    `table=2, hard_timeout=5, priority=550,tcp,${pair},tp_dst=22 actions=drop`,
    `table=2, hard_timeout=30, priority=550,ip,${pair} actions=drop`,
  ]);
  expect(formatFlow(withoutFlow(CONVERSATIONS[1]!))).toBe(
    `delete_strict cookie=0xda2e000001000002/0xffffffffffffffff, table=2, priority=620,tcp,${pair},` +
      'tp_src=40000,tp_dst=80',
  );
});

describe('the fabric port', () => {
  const fabricLines = (change: Partial<FlowHost> = {}) => lines(fabricFlows({ ...host, ...change }));

  test('takes packets between locators to the router MAC, and leaves to the controller what no flow can do', () => {
    const exceptions = (table: number, from = '') => [
      `table=${table}, priority=600,ip,${from}nw_ttl=0 actions=set_field:0x5->reg2,goto_table:7`,
      `table=${table}, priority=600,ip,${from}nw_ttl=1 actions=set_field:0x5->reg2,goto_table:7`,
      ...[3, 11, 12].map(
        (type) =>
          `table=${table}, priority=500,icmp,nw_frag=not_later,icmp_type=${type} ` +
          'actions=set_field:0x5->reg2,goto_table:7',
      ),
      `table=${table}, priority=500,icmp,nw_frag=not_later,icmp_type=5 actions=drop`,
      `table=${table}, priority=500,icmp,nw_frag=not_later,icmp_type=4 actions=drop`,
      `table=${table}, priority=400,tcp,nw_frag=later actions=set_field:0x5->reg2,goto_table:7`,
      `table=${table}, priority=400,udp,nw_frag=later actions=set_field:0x5->reg2,goto_table:7`,
    ];
    expect(fabricLines()).toEqual([
      'priority=320,arp,in_port=11 actions=drop',
      'priority=320,in_port=11,dl_dst=01:00:00:00:00:00/01:00:00:00:00:00 actions=drop',
      'priority=200,ip,in_port=11,dl_dst=02:da:00:00:00:fe,nw_src=100.64.0.0/10,nw_dst=100.64.0.0/10 ' +
        'actions=goto_table:6',
      'table=7, priority=100,in_port=11 actions=meter:11,controller(userdata=da.02)',
      ...exceptions(4),
      'table=4, priority=0 actions=check_pkt_larger(1414)->NXM_NX_REG6[0],goto_table:5',
      'table=5, priority=100,reg6=0x1 actions=set_field:0x5->reg2,goto_table:7',
      'table=5, priority=50,ip actions=set_field:02:da:00:00:00:fe->eth_src,move:NXM_NX_REG4[]->NXM_OF_IP_SRC[],' +
        'move:NXM_NX_REG5[]->NXM_OF_IP_DST[],dec_ttl,output:11',
      ...exceptions(6, 'in_port=11,'),
      'table=6, priority=570,icmp,in_port=11,nw_dst=100.64.0.1,nw_frag=not_later,icmp_type=8 ' +
        'actions=move:NXM_OF_ETH_SRC[]->NXM_OF_ETH_DST[],set_field:02:da:00:00:00:fe->eth_src,' +
        'move:NXM_OF_IP_SRC[]->NXM_OF_IP_DST[],set_field:100.64.0.1->ip_src,set_field:0->icmp_type,' +
        'set_field:64->nw_ttl,IN_PORT',
      'table=6, priority=570,icmp,in_port=11,nw_dst=100.64.0.1,nw_frag=not_later,icmp_type=0 ' +
        'actions=set_field:0x6->reg2,goto_table:7',
      'table=6, priority=0 actions=set_field:0x6->reg2,goto_table:7',
    ]);
  });

  test('beside tunnels: what goes by one is handed to the kernel, before it is measured for the fabric', () => {
    expect(fabricLines({ hasTunnels: true }).filter((line) => line.includes('priority=150'))).toEqual([
      'table=5, priority=150,ip,dl_dst=02:da:00:00:00:10 actions=set_field:02:da:00:00:00:fe->eth_src,' +
        'move:NXM_NX_REG4[]->NXM_OF_IP_SRC[],move:NXM_NX_REG5[]->NXM_OF_IP_DST[],output:10',
    ]);
    const { fabric: _, ...withoutFabric } = { ...host, hasTunnels: true };
    const alone = lines(fabricFlows(withoutFabric));
    expect(alone.some((line) => line.includes('in_port') || line.includes('dec_ttl'))).toBe(false);
    expect(alone.filter((line) => line.startsWith('table=5'))).toHaveLength(1);
    expect(lines(fabricFlows({ ...withoutFabric, hasTunnels: false }))).toEqual([]);
  });

  test('measures nothing where the fabric takes whatever endpoints send', () => {
    const wide = { portNo: 11, mtu: 9000, isNarrow: false };
    expect(fabricLines({ fabric: wide }).filter((line) => /table=[45], priority=(0|50|100)\b/.test(line))).toEqual([
      'table=4, priority=0 actions=goto_table:5',
      expect.stringContaining('table=5, priority=50,ip actions=set_field'),
    ]);
  });

  test('leaves later fragments to the kernel datapath, and is nothing where there is none', () => {
    expect(fabricLines({ kernelDatapath: true }).filter((line) => line.includes('nw_frag=later'))).toEqual([]);
    const { fabric: _, ...without } = host;
    expect(fabricFlows(without)).toEqual([]);
  });
});

describe('the declared pipeline', () => {
  const all = [
    ...baseFlows(host),
    ...hostFlows(host),
    ...fabricFlows(host),
    ...networkFlows(network, host),
    ...endpointFlows(endpoint, host.routerMac),
    ...REACTIVE,
    ...CONVERSATIONS,
  ];

  test.each(all.map((flow) => [formatFlow(flow), flow] as const))('holds %s', (_, flow) => {
    expect(checkFlow(flow)).toBeUndefined();
  });

  test('each flow has a cookie of its own, and a match of its own', () => {
    const distinct = all.filter((flow) => ![...REACTIVE, ...CONVERSATIONS].includes(flow));
    expect(new Set(distinct.map((flow) => flow.cookie)).size).toBe(distinct.length);
    expect(new Set(all.map((flow) => formatFlow({ ...flow, cookie: 0n }))).size).toBe(all.length);
  });

  const [anyFlow] = endpointFlows(endpoint, host.routerMac) as [FlowMod];
  test.each([
    ['a table that is not there', { table: 8 }],
    ["somebody else's cookie", { cookie: 1n }],
    ['a priority without a name', { priority: 201 }],
    ['a field that the table does not match', { match: { tcpDst: 80 } }],
    ['a way back', { table: 2, gotoTable: 0 }],
    ['a static flow that ends', { idleTimeoutSeconds: 5 }],
    ['a packet to the controller without a meter', { ...endpointFlows(endpoint, host.routerMac)[3], meter: undefined }],
  ])('refuses %s', (_, change) => {
    expect(checkFlow({ ...anyFlow, ...change } as FlowMod)).toEqual(expect.any(String));
  });
});

describe('cookies', () => {
  test('say what a flow is for', () => {
    expect(readCookie(routes.pairFlow(from, to, context).cookie ?? 0n)).toEqual({ kind: 9, a: 1, b: 2 });
    const echo = readCookie(networkFlows({ ...network, key: 0xfedcba98 }, host)[2]?.cookie ?? 0n);
    expect(echo && readNetwork(echo)).toEqual({ key: 0xfedcba98, flow: 2 });
    expect(readCookie(0x1234n)).toBeUndefined();
  });

  const picks = (by: { cookie: bigint; cookieMask: bigint }, flow: FlowMod) =>
    ((flow.cookie ?? 0n) & by.cookieMask) === by.cookie;

  test('pick an endpoint’s flows, from it and to it, and nothing else', () => {
    const one = [...endpointFlows(endpoint, host.routerMac), ...REACTIVE, ...CONVERSATIONS];
    // But for the two drops towards locators that nobody has.
    expect(one.filter((flow) => picks(fromPlace(1), flow) || picks(toPlace(1), flow))).toHaveLength(one.length - 2);
    const ofFar = REACTIVE.filter((flow) => picks(fromPlace(far.portNo), flow) || picks(toPlace(far.portNo), flow));
    expect(ofFar).toEqual(REACTIVE.slice(-4, -1));
    const other = [
      ...endpointFlows({ ...endpoint, portNo: 3 }, host.routerMac),
      ...baseFlows(host),
      ...hostFlows(host),
      ...fabricFlows(host),
      ...networkFlows({ ...network, key: 1 }, host),
      ...networkFlows({ ...network, key: 0x100 }, host),
    ];
    for (const portNo of [1, 2, 4, far.portNo]) {
      expect(other.filter((flow) => picks(fromPlace(portNo), flow) || picks(toPlace(portNo), flow))).toEqual([]);
    }
    expect([...one, ...other].every((flow) => picks(OURS, flow))).toBe(true);
  });
});
