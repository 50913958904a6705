// The tables of the packet path against plain ones: whatever is done to them, they hold the same.
import fc from 'fast-check';
import { parseIpv4, parseMac } from '../../src/base/addresses';
import { DropBudget } from '../../src/flowctl/drop-budget';
import { EndpointIndex, NO_SLOT } from '../../src/flowctl/endpoint-index';
import type { FlowEndpoint, FlowNetwork } from '../../src/flowctl/model';
import { ABSENT, PairMap } from '../../src/flowctl/pair-map';
import { OUTSIDE, RouteTable } from '../../src/flowctl/route-table';

const network: FlowNetwork = { id: 'n', key: 1, tenant: 7, pools: [], internal: false };

function endpoint(n: number, over: Partial<FlowEndpoint> = {}): FlowEndpoint {
  return {
    id: `e${n}`,
    networkKey: 1,
    mac: parseMac(`02:00:00:00:00:${n.toString(16).padStart(2, '0')}`),
    ip: parseIpv4(`10.1.0.${n}`),
    locator: parseIpv4(`100.64.0.${n}`),
    location: { kind: 'local', portNo: n },
    ...over,
  };
}

describe('PairMap', () => {
  test('holds what a Map holds, whatever is set and deleted', () => {
    const key = fc.integer({ min: 0, max: 12 });
    const step = fc.record({ a: key, b: key, value: fc.option(fc.integer({ min: 0, max: 0xfffffffe })) });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 400 }), (steps) => {
        const map = new PairMap();
        const plain = new Map<string, number>();
        for (const { a, b, value } of steps) {
          if (value === null) expect(map.delete(a, b)).toBe(plain.delete(`${a} ${b}`));
          else {
            map.set(a, b, value);
            plain.set(`${a} ${b}`, value);
          }
        }
        for (let a = 0; a <= 12; a++)
          for (let b = 0; b <= 12; b++) expect(map.get(a, b)).toBe(plain.get(`${a} ${b}`) ?? ABSENT);
        const seen: string[] = [];
        map.forEach((a, b) => seen.push(`${a} ${b}`));
        expect(seen.sort()).toEqual([...plain.keys()].sort());
        expect(map.size).toBe(plain.size);
      }),
    );
  });

  test('gives memory back after many entries are gone', () => {
    const map = new PairMap();
    for (let i = 0; i < 10_000; i++) map.set(i, i * 7, i);
    for (let i = 0; i < 10_000; i++) expect(map.get(i, i * 7)).toBe(i);
    for (let i = 0; i < 9_999; i++) map.delete(i, i * 7);
    expect(map.get(9_999, 69_993)).toBe(9_999);
    expect((map as unknown as { cells: Uint32Array }).cells.length).toBeLessThan(400);
  });
});

describe('EndpointIndex', () => {
  test('finds an endpoint by id, address, locator and port, and reads back what it was given', () => {
    const index = new EndpointIndex();
    const slot = index.add(endpoint(5), network);
    expect(index.slotOfId('e5')).toBe(slot);
    expect(index.slotOfAddress(7, parseIpv4('10.1.0.5'))).toBe(slot);
    expect(index.slotOfLocator(parseIpv4('100.64.0.5'))).toBe(slot);
    expect(index.slotOfPort(0, 5)).toBe(slot);
    expect(index.macOf(slot)).toBe(parseMac('02:00:00:00:00:05'));
    expect(index.holds(slot, endpoint(5), network)).toBe(true);
    expect(index.holds(slot, endpoint(5, { mac: parseMac('02:00:00:00:00:06') }), network)).toBe(false);
  });

  test('one address in two tenants is two endpoints', () => {
    const index = new EndpointIndex();
    const red = index.add(endpoint(5), network);
    const blue = index.add(endpoint(6, { ip: parseIpv4('10.1.0.5') }), { ...network, tenant: 8 });
    expect(index.slotOfAddress(7, parseIpv4('10.1.0.5'))).toBe(red);
    expect(index.slotOfAddress(8, parseIpv4('10.1.0.5'))).toBe(blue);
  });

  test('a removed endpoint is found nowhere, and its slot is used again', () => {
    const index = new EndpointIndex();
    const slot = index.add(endpoint(5), network);
    index.remove(slot);
    index.remove(slot);
    expect(index.slotOfId('e5')).toBe(NO_SLOT);
    expect(index.slotOfAddress(7, parseIpv4('10.1.0.5'))).toBe(NO_SLOT);
    expect(index.slotOfLocator(parseIpv4('100.64.0.5'))).toBe(NO_SLOT);
    expect(index.slotOfPort(0, 5)).toBe(NO_SLOT);
    expect(index.add(endpoint(9), network)).toBe(slot);
    expect(index.size).toBe(1);
  });

  test.each([
    ['the id e5', endpoint(9, { id: 'e5' })],
    ['the address 10.1.0.5', endpoint(9, { ip: parseIpv4('10.1.0.5') })],
    ['the locator 100.64.0.5', endpoint(9, { locator: parseIpv4('100.64.0.5') })],
    ['port 5', endpoint(9, { location: { kind: 'local', portNo: 5 } })],
  ])('%s of somebody else is refused, saying whose', (_, other) => {
    const index = new EndpointIndex();
    index.add(endpoint(5), network);
    expect(() => index.add(other, network)).toThrow(expect.objectContaining({ code: 'conflict', subject: 'e5' }));
    expect(index.size).toBe(1);
  });

  test('the same port number on two datapaths is two ports', () => {
    const index = new EndpointIndex();
    const location = { kind: 'local', portNo: 5, datapathId: '00000000000000b2' } as const;
    const here = index.add(endpoint(5), network);
    const there = index.add(endpoint(6, { location }), network);
    expect(index.slotOfPort(0, 5)).toBe(here);
    expect(index.slotOfPort(index.datapathOf('00000000000000b2'), 5)).toBe(there);
  });

  test('ports outside of OpenFlow and locators outside of the range are refused', () => {
    const index = new EndpointIndex();
    const at = (portNo: number) => endpoint(5, { location: { kind: 'local', portNo } });
    for (const portNo of [0, -1, 65_280, 1.5, NaN]) expect(() => index.add(at(portNo), network)).toThrow('port number');
    index.locatorBase = parseIpv4('100.64.0.0');
    const location = { kind: 'remote', routerMac: parseMac('02:00:00:00:00:01') } as const;
    for (const locator of ['100.63.255.255', '100.128.0.0']) {
      const remote = endpoint(5, { location, locator: parseIpv4(locator) });
      expect(() => index.add(remote, network)).toThrow(expect.objectContaining({ code: 'invalid', subject: locator }));
    }
    expect(index.size).toBe(0);
  });

  test('an endpoint on another host has its router MAC, and its locator for a place', () => {
    const index = new EndpointIndex();
    index.locatorBase = parseIpv4('100.64.0.0');
    const location = { kind: 'remote', routerMac: parseMac('02:da:00:00:01:fe') } as const;
    const slot = index.add(endpoint(5, { location, locator: parseIpv4('100.64.1.5') }), network);
    const place = 0x400000 + 256 + 5;
    expect([index.isElsewhere(slot), index.portNoOf(slot), index.macOf(slot)]).toEqual([
      true,
      place,
      location.routerMac,
    ]);
    expect([index.slotOfPlace(0, place), index.slotOfPlace(0, place + 1)]).toEqual([slot, NO_SLOT]);
    index.remove(slot);
    expect(index.slotOfPlace(0, place)).toBe(NO_SLOT);
  });
});

describe('RouteTable', () => {
  const limits = { perEndpoint: 9, conversationsPerEndpoint: 9, total: 100 };

  test('an endpoint has its fill at its cap, and has room again when both directions are gone', () => {
    const routes = new RouteTable({ ...limits, perEndpoint: 2 });
    expect([routes.claim(1, 2, 5), routes.claim(3, 1, 5)]).toEqual([true, true]);
    expect([routes.claim(1, 4, 5), routes.claim(4, 1, 5), routes.claim(2, 3, 5)]).toEqual([false, false, true]);
    expect([routes.delete(1, 2), routes.claim(1, 4, 5)]).toEqual([true, false]);
    expect([routes.delete(2, 1), routes.claim(1, 4, 5)]).toEqual([true, true]);
  });

  test('conversations have a cap of their own, and take room from the datapath alone', () => {
    const routes = new RouteTable({ perEndpoint: 1, conversationsPerEndpoint: 2, total: 4 });
    expect([1, 2, 3].map(() => routes.take(1, 2))).toEqual([true, true, false]);
    expect([routes.claim(1, 2, 5), routes.claim(1, 3, 5), routes.take(3, 4), routes.take(3, 4)]).toEqual([
      true,
      false,
      true,
      false,
    ]);
    routes.release(1, 2);
    expect([routes.take(1, 2), routes.size]).toEqual([true, 4]);
  });

  test('the datapath has its fill too, and the outside is nobody whose fill counts', () => {
    const routes = new RouteTable({ ...limits, perEndpoint: 1, total: 2 });
    expect([1, 2, 3].map((slot) => routes.claim(slot, OUTSIDE, 5))).toEqual([true, true, false]);
    expect(routes.size).toBe(2);
  });

  test('both directions are entered at once, and need not be again in the same tick unless one ended', () => {
    const routes = new RouteTable(limits);
    expect([routes.claim(1, 2, 5), routes.claim(2, 1, 5), routes.claim(2, 1, 6)]).toEqual([true, undefined, true]);
    expect([routes.has(1, 2), routes.has(2, 1), routes.has(1, 3)]).toEqual([true, true, false]);
    routes.delete(2, 1);
    expect([routes.has(1, 2), routes.has(2, 1), routes.claim(1, 2, 6)]).toEqual([true, false, true]);
  });

  test('a route that was entered anew is not forgotten for the end of the one before', () => {
    const routes = new RouteTable(limits);
    routes.claim(1, 2, 50);
    expect([routes.delete(1, 2, 50), routes.delete(1, 2, 51), routes.delete(1, 2)]).toEqual([false, true, false]);
  });

  test('routes that the datapath was seen to have are entered one by one', () => {
    const routes = new RouteTable({ ...limits, perEndpoint: 1, total: 1 });
    routes.set(2, 1, 7);
    routes.set(1, 3, 7);
    const seen: number[][] = [];
    routes.forEach((from, to, ticks) => seen.push([from, to, ticks]));
    expect(seen.sort()).toEqual([
      [1, 3, 7],
      [2, 1, 7],
    ]);
  });

  test('an endpoint that leaves takes its routes along, both ways', () => {
    const routes = new RouteTable(limits);
    for (const peer of [2, 3, OUTSIDE]) routes.claim(1, peer, 5);
    routes.claim(2, 3, 5);
    routes.deleteSlot(1);
    expect([routes.size, routes.has(2, 3), routes.has(3, 2), routes.has(OUTSIDE, 1)]).toEqual([1, true, true, false]);
    routes.deleteSlot(OUTSIDE);
    expect(routes.size).toBe(1);
  });
});

test('a port has so many drops in a window, and the same again in the next', () => {
  const budget = new DropBudget(2, 30);
  const take = (portNo: number, seconds: number) => budget.take(portNo, seconds * 1000);
  expect([take(5, 0), take(5, 1), take(5, 2), take(900, 2)]).toEqual([true, true, false, true]);
  expect([take(5, 29), take(5, 30)]).toEqual([false, true]);
});
