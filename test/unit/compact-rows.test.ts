// What is kept in little memory comes back as it was: ids, and an endpoint's row with Docker's habits and without them.
import fc from 'fast-check';
import { parseIpv4, parseMac } from '../../src/base/addresses';
import { compactId, fullId } from '../../src/base/compact-id';
import { customaryInterface, EndpointRecord, type EndpointColumns } from '../../src/directory/endpoint-record';
import type { AddressRow, EndpointId, NetworkId, PoolId } from '../../src/directory/rows';
import type { Uuid } from '../../src/ovsdb/notation';

const HEX_ID = '0123456789abcdef'.repeat(4);

test('an id comes back as it was, and differs from every other', () => {
  const hex = fc.array(fc.constantFrom(...'0123456789abcdef'), { minLength: 63, maxLength: 65 }).map((c) => c.join(''));
  const id = fc.oneof(
    hex,
    fc.string(),
    fc.string().map((text) => `#${text}`),
    hex.map((text) => text.toUpperCase()),
  );
  fc.assert(
    fc.property(id, id, (one, other) => {
      expect(fullId(compactId(one))).toBe(one);
      expect(compactId(one) === compactId(other)).toBe(one === other);
    }),
  );
  expect(compactId(HEX_ID)).toHaveLength(33);
});

describe('an endpoint', () => {
  const address: AddressRow = {
    uuid: 'a' as Uuid,
    poolId: 'pool' as PoolId,
    tenant: 'blue',
    address: parseIpv4('10.1.0.2'),
    use: 'endpoint',
    mac: undefined,
    holders: ['h1'],
    since: 1,
  };
  const columns: EndpointColumns = {
    uuid: 'e' as Uuid,
    id: HEX_ID as EndpointId,
    networkId: 'net' as NetworkId,
    prefix: 24,
    mac: parseMac('02:42:0a:01:00:02'),
    host: 'h1',
    locator: parseIpv4('100.64.0.2'),
    portNo: 7,
    interfaceName: customaryInterface(HEX_ID),
    sandbox: '/var/run/docker/netns/1a2b3c',
    containerId: 'f'.repeat(64),
    containerName: 'web',
    aliases: ['f'.repeat(12)],
    service: undefined,
    labels: new Map(),
    publishedPorts: [],
    unknownPorts: [],
    created: 1,
  };

  test.each<[string, Partial<EndpointColumns>]>([
    ['with all that Docker gives', {}],
    ['before Join', { sandbox: undefined, containerId: undefined, containerName: undefined, aliases: [] }],
    [
      'with names and a place of its own',
      { interfaceName: 'eth7', sandbox: '/run/x', aliases: ['db', 'f'.repeat(12)] },
    ],
    ["with swarm's ids", { id: 'k3vxn5qx0d1bz6m0m5e8c2a7q' as EndpointId, interfaceName: 'dlk3vxn5qx0d1' }],
    ['without aliases', { aliases: [] }],
    ['with a service and labels', { service: 'shop_web', labels: new Map([['app', 'web']]) }],
    ['with one alias that is not its short id', { aliases: ['web'] }],
  ])('%s', (_, changes) => {
    const expected = { ...columns, ...changes };
    const row = new EndpointRecord(expected, address);
    for (const [name, value] of Object.entries(expected))
      expect([name, row[name as keyof typeof row]]).toEqual([name, value]);
    expect(row).toMatchObject({ tenant: 'blue', poolId: 'pool', address: address.address, addressUuid: 'a' });
  });
});
