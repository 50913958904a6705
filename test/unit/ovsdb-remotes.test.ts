// Which remote is tried next, and when.
import { InvalidValue } from '../../src/ovsdb/errors';
import { parseRemote, RemoteRotation } from '../../src/ovsdb/remotes';

const BACKOFF = { minMs: 1_000, maxMs: 8_000 };

test('remotes have the notation of OVS', () => {
  expect(parseRemote('unix:/run/openvswitch/db.sock')).toEqual({ kind: 'unix', path: '/run/openvswitch/db.sock' });
  expect(parseRemote('tcp:10.0.0.1:6640')).toEqual({ kind: 'tcp', host: '10.0.0.1', port: 6640 });
  expect(parseRemote('ssl:[fd00::1]:6641')).toEqual({ kind: 'ssl', host: 'fd00::1', port: 6641 });
  expect(() => parseRemote('10.0.0.1:6640')).toThrow(InvalidValue);
});

test('a round goes through all remotes at once, then waits 1, 2, 4, 8, 8 s, less by chance', () => {
  const rotation = new RemoteRotation(['a', 'b'], BACKOFF, () => 0.999_999);
  const tries = Array.from({ length: 12 }, () => rotation.next());
  expect(tries.map(({ remote }) => remote).join('')).toBe('abababababab');
  expect(tries.map(({ delayMs }) => Math.round(delayMs))).toEqual([0, 0, 1000, 0, 2000, 0, 4000, 0, 8000, 0, 8000, 0]);
  rotation.succeeded();
  expect([rotation.next(), rotation.next(), rotation.next()].map(({ delayMs }) => Math.round(delayMs))).toEqual([
    0, 0, 1000,
  ]);
  const lucky = new RemoteRotation(['a'], BACKOFF, () => 0);
  expect([lucky.next(), lucky.next(), lucky.next()].map(({ delayMs }) => delayMs)).toEqual([0, 500, 1000]);
});

test('the order is a shuffle of all', () => {
  const orderOf = (random: () => number) => {
    const rotation = new RemoteRotation(['a', 'b', 'c'], BACKOFF, random);
    return [1, 2, 3].map(() => rotation.next().remote).join('');
  };
  const seen = new Set(Array.from({ length: 200 }, () => orderOf(Math.random)));
  expect([...seen].sort()).toEqual(['abc', 'acb', 'bac', 'bca', 'cab', 'cba']);
});
