// Whatever drops a packet, or takes it on, has words: what is new in the pipeline or the packet filter must not be shown without.
import { parseCidr, parseIpv4 } from '../../src/base/addresses';
import { FILTER_REASONS } from '../../src/api/operations/drops';
import {
  BASE,
  cookieOf,
  FABRIC_FLOW,
  KIND,
  networkCookie,
  PORT_FLOW,
  TABLE,
  VARIANT,
} from '../../src/flowctl/pipeline';
import { buildTable } from '../../src/host/firewall-rules';
import { describeFlow, tableName } from '../../src/observe/flow-words';
import { contractConfig } from '../fakes/host-contract';

const NO_WORDS = 'a flow of DaoliNet’s';

test('every counter of the packet filter', () => {
  const config = { ...contractConfig, locatorRange: parseCidr('100.64.0.0/10'), hostAddress: parseIpv4('100.64.0.1') };
  const counters = [...buildTable(config, []).matchAll(/^ *counter (\w+) \{/gm)].map(([, name = '']) => name);
  expect(counters.length).toBeGreaterThan(5);
  expect(counters.filter((name) => FILTER_REASONS[name] === undefined)).toEqual([]);
});

test('every kind of flow, and every flow of the pipeline’s own', () => {
  const base = Object.entries(BASE).filter(([name]) => !name.startsWith('ARP_'));
  const flows = [
    ...base.map(([name, which]) => [name, cookieOf(KIND.BASE, 0, VARIANT | which)] as const),
    ...Object.entries(FABRIC_FLOW).map(([name, which]) => [name, cookieOf(KIND.FABRIC, 2, VARIANT | which)] as const),
    ...Object.entries(PORT_FLOW).map(([name, which]) => [name, cookieOf(KIND.ENDPOINT, 1, VARIANT | which)] as const),
    ...Object.entries(KIND)
      .filter(([, kind]) => kind >= KIND.RELAY && kind !== KIND.ENDPOINT)
      .map(([name, kind]) => [name, cookieOf(kind, 1, 2)] as const),
    ['NETWORK', networkCookie(1, 2)] as const,
  ];
  // A port's own drop is of a kind that has words already.
  const without = flows.filter(([name, cookie]) => name !== 'DROP' && describeFlow(TABLE.ROUTE, cookie) === NO_WORDS);
  expect(without.map(([name]) => name)).toEqual([]);
});

test('what is not ours is told apart', () => {
  expect(describeFlow(2, 0n)).toBe('no flow matches');
  expect(describeFlow(2, 0x1234n)).toBe('a flow that is not DaoliNet’s');
  expect(describeFlow(TABLE.ARP, cookieOf(KIND.BASE, 0, VARIANT | BASE.ARP_ANSWER))).toContain('router');
  expect(tableName(TABLE.FABRIC_IN)).toBe('FABRIC_IN');
  expect(tableName(99)).toBeUndefined();
});
