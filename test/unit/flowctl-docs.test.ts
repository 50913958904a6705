// docs/pipeline.md shows flows of one small host. They are those that the code builds for it, each and all of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import type { Conversation } from '../../src/flowctl/conversation';
import { conversationFlow, fragmentFlow, refusalFlow, type Way } from '../../src/flowctl/conversation-flows';
import { fabricFlows } from '../../src/flowctl/fabric-flows';
import type { FlowHost, FlowNetwork } from '../../src/flowctl/model';
import { relayFlows } from '../../src/flowctl/relay-flows';
import * as routes from '../../src/flowctl/route-flows';
import { baseFlows, endpointFlows, hostFlows, networkFlows } from '../../src/flowctl/static-flows';
import { formatFlow } from '../../src/openflow/flow-text';

const hostPort = { portNo: 10, mac: parseMac('02:da:00:00:00:ff') };
const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort,
  hostAddress: parseIpv4('100.64.0.1'),
  serverAddress: parseIpv4('192.0.2.1'),
  fabric: { portNo: 11, mtu: 1400, isNarrow: true },
  hasTunnels: true,
  dnsAddress: parseIpv4('100.127.255.254'),
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};
const network: FlowNetwork = {
  id: 'demo',
  key: 9,
  tenant: 7,
  gateway: parseIpv4('10.1.0.1'),
  pools: [parseCidr('10.1.0.0/24')],
  internal: false,
};
const otherPool: FlowNetwork = { id: 'other', key: 10, tenant: 7, pools: [parseCidr('10.2.0.0/24')], internal: true };
const end = (portNo: number, ip: string) => ({
  portNo,
  mac: parseMac(`02:42:0a:01:00:0${portNo + 1}`),
  ip: parseIpv4(ip),
  locator: parseIpv4(`100.64.0.${portNo + 1}`),
});
const [one, two, three] = [end(1, '10.1.0.2'), end(2, '10.1.0.3'), end(3, '10.2.0.2')];
/** On another host. */
const far = {
  portNo: 0x400102,
  mac: parseMac('02:da:00:00:01:fe'),
  ip: parseIpv4('10.1.0.4'),
  locator: parseIpv4('100.64.1.2'),
};
/** On a host of another site. */
const away = { portNo: 0x400202, mac: hostPort.mac, ip: parseIpv4('10.1.0.5'), locator: parseIpv4('100.64.2.2') };
const tunnel = { routerMac: parseMac('02:da:00:00:00:fe'), idleTimeoutSeconds: 60, farPortNo: 10, isTunnel: true };
/** The host of the first one, and what ports of both hosts lead to. */
const farHost = { locator: parseIpv4('100.64.1.1'), routerMac: far.mac };
const services = [{ protocol: 'TCP', port: 22 }] as const;
const { routerMac } = host;
const context = { routerMac, idleTimeoutSeconds: 60, farPortNo: 11 };

/** Of these only protocol and ports stand in flows. */
const conversation = (protocol: number, openerPort = 0, answererPort = 0): Conversation => ({
  opener: 0,
  answerer: 0,
  outsideAddress: 0,
  protocol,
  openerPort,
  answererPort,
});
const [web, ping, names] = [conversation(6, 40000, 80), conversation(1), conversation(17, 40000, 53)];
const outside = parseIpv4('198.51.100.7');
const there: Way = { route: routes.pairFlow(one, three, context), outside: {} };
const back: Way = { route: routes.pairFlow(three, one, context), outside: {} };
const over: Way = { route: routes.remoteOutFlow(one, far, context), outside: {} };
const overBack: Way = { route: routes.remoteInFlow(far, one, context), outside: {} };
const out: Way = { route: routes.outwardFlow(one, hostPort, context), outside: { ipv4Dst: outside } };
const inward: Way = { route: routes.inwardFlow(one, hostPort, context), outside: { ipv4Src: outside } };

test('docs/pipeline.md shows what the code builds', () => {
  const built = [
    ...baseFlows(host),
    ...hostFlows(host),
    ...fabricFlows(host),
    ...networkFlows(network, host),
    ...networkFlows(otherPool, host),
    ...endpointFlows({ ...one, tenant: 7, networkKey: 9 }, routerMac),
    routes.pairFlow(one, two, context),
    routes.pairFlow(two, one, context),
    routes.outwardFlow(one, hostPort, context),
    routes.inwardFlow(one, hostPort, context),
    routes.denyFlow(one, three, 30),
    routes.nobodyFlow(one, parseIpv4('10.1.0.99'), 1),
    routes.remoteOutFlow(one, far, context),
    routes.remoteInFlow(far, one, context),
    routes.remoteOutFlow(one, away, tunnel),
    routes.remoteInFlow(away, one, tunnel),
    routes.denyInFlow(far, two, 11, 30),
    routes.nobodyHereFlow(11, parseIpv4('100.64.0.99'), 1),
    conversationFlow(there, web, true),
    conversationFlow(back, web, false),
    fragmentFlow(there, 30),
    refusalFlow(there, { protocol: 6, destinationPort: 22 }, 5),
    conversationFlow(over, ping, true),
    conversationFlow(overBack, ping, false),
    refusalFlow(overBack, { protocol: 17, destinationPort: 53 }, 5),
    conversationFlow(out, names, true),
    conversationFlow(inward, names, false),
    refusalFlow(inward, { protocol: 6, destinationPort: 22 }, 5),
    ...relayFlows({ kind: 'away', locator: far.locator, routerMac: far.mac, services }, 0, host),
    ...relayFlows({ kind: 'here', peer: farHost, endpoint: one, services }, 1, host),
  ].map((flow) => formatFlow({ ...flow, cookie: 0n }));
  const text = readFileSync(join(__dirname, '../../docs/pipeline.md'), 'utf8');
  const shown = text.split('\n').filter((line) => line.includes(' actions='));
  expect([...shown].sort()).toEqual([...built].sort());
});
