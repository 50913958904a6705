// docs/pipeline.md shows flows of one small host. They are those that the code builds for it, each and all of them.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { fabricFlows } from '../../src/flowctl/fabric-flows';
import type { FlowHost, FlowNetwork } from '../../src/flowctl/model';
import * as routes from '../../src/flowctl/route-flows';
import { baseFlows, endpointFlows, hostFlows, networkFlows } from '../../src/flowctl/static-flows';
import { formatFlow } from '../../src/openflow/flow-text';

const hostPort = { portNo: 10, mac: parseMac('02:da:00:00:00:ff') };
const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort,
  hostAddress: parseIpv4('100.64.0.1'),
  fabric: { portNo: 11, serverAddress: parseIpv4('192.0.2.1'), mtu: 1400, isNarrow: true },
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
const { routerMac } = host;
const context = { routerMac, idleTimeoutSeconds: 60, fabricPortNo: 11 };

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
    routes.denyInFlow(far, two, 11, 30),
    routes.nobodyHereFlow(11, parseIpv4('100.64.0.99'), 1),
  ].map((flow) => formatFlow({ ...flow, cookie: 0n }));
  const text = readFileSync(join(__dirname, '../../docs/pipeline.md'), 'utf8');
  const shown = text.split('\n').filter((line) => line.includes(' actions='));
  expect([...shown].sort()).toEqual([...built].sort());
});
