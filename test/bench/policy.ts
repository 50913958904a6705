// What another book of rules costs an agent with 20,000 endpoints, in time of the processor: each is asked what it is to the
// book, at once, before the controller goes by the new rules. Endpoints are rows as the directory keeps them, with names and labels.

import { createHash } from 'node:crypto';
import { parseMac, type Ipv4 } from '../../src/base/addresses';
import { compactId } from '../../src/base/compact-id';
import { EndpointRecord } from '../../src/directory/endpoint-record';
import { KeyedRows } from '../../src/directory/keyed-rows';
import type { AddressRow, EndpointId, EndpointRow, NetworkId, NetworkRow, PoolId } from '../../src/directory/rows';
import { Inventory } from '../../src/flowctl/inventory';
import { sameNetworkPolicy } from '../../src/flowctl/model';
import type { Uuid } from '../../src/ovsdb/notation';
import { PolicyBook } from '../../src/policy/policy-book';
import { policyRule, type Rule } from '../../src/policy/rule';
import { Subjects } from '../../src/policy/subjects';
import { median } from './support/report';
import { publish, type Result } from './support/results';

const ENDPOINTS = 20_000;
const NETWORKS = 100;
const RUNS = 3;
const FIRST_ADDRESS = 0x0a000002;
const FIRST_LOCATOR = 0x64400002;

const idOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const networkIds = Array.from({ length: NETWORKS }, (_, i) => idOf(`network ${i}`) as NetworkId);
const networks = new Map(
  networkIds.map((id, i) => [id, { id, name: `net${i}`, isDefaultDeny: false } as NetworkRow] as const),
);

function endpointRow(i: number): EndpointRecord {
  const networkId = networkIds[i % NETWORKS]!;
  const address = { uuid: '' as Uuid, tenant: 'default', address: FIRST_ADDRESS + i, poolId: '' as PoolId };
  const columns = {
    uuid: '' as Uuid,
    id: idOf(`endpoint ${i}`) as EndpointId,
    networkId,
    prefix: 8,
    mac: parseMac('02:00:00:00:00:01'),
    host: `h${i % 50}`,
    locator: (FIRST_LOCATOR + i) as Ipv4,
    portNo: 1,
    interfaceName: '',
    sandbox: undefined,
    containerId: idOf(`container ${i}`),
    containerName: `c${i}`,
    service: i % 2 === 0 ? `s${i % 1000}` : undefined,
    labels: new Map([
      ['app', `a${i % 1000}`],
      ['tier', 'front'],
    ]),
    aliases: [],
    publishedPorts: [],
    unknownPorts: [],
    created: 0,
  };
  return new EndpointRecord(columns, address as unknown as AddressRow);
}

const byId = new KeyedRows<string, EndpointRecord>((row) => row.compactId);
for (let i = 0; i < ENDPOINTS; i += 1) byId.set(endpointRow(i));
const view = {
  endpoint: (id: EndpointId): EndpointRow | undefined => byId.get(compactId(id)),
  network: (id: NetworkId) => networks.get(id),
  groups: () => [],
};

const inventory = new Inventory(sameNetworkPolicy);
inventory.host = { routerMac: parseMac('02:00:00:00:00:02'), locatorRange: { base: 0x64400000, prefix: 10 } } as never;
networkIds.forEach((id, i) => inventory.setNetwork({ id, key: i + 1, tenant: 1, internal: false, pools: [] }));
for (const { id, address, mac, locator, networkId } of byId.values()) {
  const networkKey = networkIds.indexOf(networkId) + 1;
  const location = { kind: 'remote', routerMac: mac } as const;
  inventory.addEndpoint({ id, ip: address, mac, locator, networkKey, location });
}

const rule = (i: number, from: string, to: string): Rule =>
  policyRule({ name: `p${i}`, action: 'deny', from, to, protocol: 'tcp', ports: [`${1 + i}`] });
const many = (count: number, make: (i: number) => Rule) => Array.from({ length: count }, (_, i) => make(i));
const books: readonly [string, readonly Rule[]][] = [
  ['no rules', []],
  ['one rule between two containers', [rule(0, 'container:c1', 'container:c2')]],
  ['one rule for all', [rule(0, 'any', 'any')]],
  ['1,000 rules between containers', many(1000, (i) => rule(i, `container:c${i}`, `container:c${i + 1}`))],
  ['1,000 rules between labels', many(1000, (i) => rule(i, `label:app=a${i}`, `label:app=a${(i + 1) % 1000}`))],
  ['100 rules between networks', many(100, (i) => rule(i, `network:net${i}`, `network:net${(i + 1) % 100}`))],
];

const rows = books.map(([title, rules]): Result => {
  const times = Array.from({ length: RUNS }, () => {
    const start = process.cpuUsage();
    const subjects = new Subjects(view);
    inventory.policy = new PolicyBook(rules, (id) => subjects.find(id));
    return process.cpuUsage(start).user;
  });
  return { measure: title, value: median(times) / ENDPOINTS, unit: 'µs an endpoint' };
});
publish('policy', `another book of rules, for ${ENDPOINTS.toLocaleString('en-US')} endpoints`, rows);
