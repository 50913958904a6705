// Groups, pairs and policies by the API: what is found by which words, what is refused and how, and what holds afterwards.
import { DaoliError } from '../../src/base/errors';
import { updateEndpoint } from '../../src/directory/endpoint-operations';
import type { Operation } from '../../src/api/operation';
import { groupOperations, type RulesAgent } from '../../src/api/operations/groups';
import { pairOperations } from '../../src/api/operations/pairs';
import { policyOperations } from '../../src/api/operations/policies';
import { RuleWriter } from '../../src/policy/rule-writer';
import { addContainer, change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

const OPERATIONS: readonly Operation<RulesAgent>[] = [...groupOperations, ...pairOperations, ...policyOperations];

let cluster: SmallCluster;
let refusal: DaoliError | undefined;
beforeEach(async () => {
  refusal = undefined;
  cluster = await createSmallCluster();
});

/** Ann and bob are in red on h1, dan in red on h2, cat in blue on h1; green is of another tenant. */
async function call(id: string, parameters = {}, body?: object, query = {}): Promise<unknown> {
  const operation = OPERATIONS.find((each) => each.id === id)!;
  const mayWrite = () => {
    if (refusal !== undefined) throw refusal;
  };
  const { view } = cluster.h1;
  const agent = {
    view,
    settled: () => Promise.resolve(),
    status: () => ({ state: 'ready' }),
    rules: new RuleWriter(cluster.h1, mayWrite),
  };
  const signal = new AbortController().signal;
  const outgoing = await operation.run(agent, { parameters, query, body, signal });
  return outgoing.kind === 'json' ? outgoing.value : undefined;
}
const check = async (from: string, to: string, query = {}) =>
  ((await call('checkPolicies', {}, undefined, { from, to, ...query })) as { allowed: boolean; reason: string }[])[0]!;

describe('groups', () => {
  test('connect networks, by name or id, until they do not', async () => {
    expect(await check('ann', 'cat')).toMatchObject({
      allowed: false,
      reason: 'no rule allows it, and network red and network blue are in no group together',
    });
    await call('createGroup', {}, { name: 'g' });
    await call('addMember', { name: 'g', network: 'red' });
    const blue = [...cluster.h1.view.networks()].find(({ name }) => name === 'blue')!;
    const group = await call('addMember', { name: 'g', network: blue.id.slice(0, 12) });
    expect(group).toEqual({ name: 'g', networks: ['blue', 'red'] });
    expect(await check('ann', 'cat')).toMatchObject({
      allowed: true,
      reason: 'no rule says otherwise, and network red and network blue are in group g',
    });
    await call('removeMember', { name: 'g', network: 'blue' });
    expect((await check('ann', 'cat')).allowed).toBe(false);
    await call('deleteGroup', { name: 'g' });
    expect(await call('listGroups')).toEqual([]);
  });

  test.each([
    [
      'addMember',
      { name: 'g', network: 'redd' },
      'network redd does not exist, or is none of DaoliNet; did you mean red?',
    ],
    ['addMember', { name: 'gg', network: 'red' }, 'group gg does not exist; did you mean g?'],
    ['showGroup', { name: 'other' }, 'group other does not exist'],
    ['removeMember', { name: 'g', network: 'red' }, 'network red is not in group g'],
  ])('%s of %j is refused: %s', async (id, parameters, message) => {
    await call('createGroup', {}, { name: 'g' });
    await expect(call(id, parameters)).rejects.toThrow(message);
  });

  test('a client of a cluster changes nothing', async () => {
    refusal = new DaoliError('conflict', 'only servers of the cluster say who may talk to whom: do it on 192.0.2.1');
    await expect(call('createGroup', {}, { name: 'g' })).rejects.toThrow('do it on 192.0.2.1');
    expect(await call('listGroups')).toEqual([]);
  });
});

describe('pairs', () => {
  test('two containers of different networks, on different hosts, by name and host', async () => {
    expect(await call('setPair', { a: 'h2/dan', b: 'cat' }, { connected: true })).toEqual({
      a: 'container:h2/dan',
      b: 'container:cat',
      name: 'h2/dan:cat',
      connected: true,
      notes: ['it holds for whatever is made again as h2/dan or cat'],
    });
    expect(await check('dan', 'cat')).toMatchObject({ allowed: true, decidedBy: 'pair cat:h2/dan' });
    expect(await check('cat', 'dan')).toMatchObject({ allowed: true });
  });

  test('disconnected, shown and cleared, also when a container is gone', async () => {
    await call('setPair', { a: 'bob', b: 'ann' }, { connected: false });
    const shown = (await call('showPair', { a: 'ann', b: 'bob' })) as { connected: boolean; verdicts: object[] };
    expect(shown.connected).toBe(false);
    expect(shown.verdicts).toMatchObject([
      { from: { container: 'ann' }, to: { container: 'bob' }, allowed: false, decidedBy: 'pair ann:bob' },
      { from: { container: 'bob' }, to: { container: 'ann' }, allowed: false },
    ]);
    await change(cluster.h1, (c) => {
      const bob = [...c.view.endpoints()].find(({ containerName }) => containerName === 'bob')!;
      return updateEndpoint(c, bob.id, { containerName: 'robert' });
    });
    expect(await call('clearPair', { a: 'bob', b: 'ann' })).toMatchObject({ connected: null });
    expect(await call('listPairs')).toEqual([]);
  });

  test('is shown without what holds where a container is not there, or is several; what fails is not hidden', async () => {
    await addContainer(cluster.h2, 'bob', 'red', '10.1.0.7');
    for (const b of ['container:bob', 'container:nobody', 'container:h3/x', 'service:shop']) {
      expect(await call('showPair', { a: 'container:ann', b })).toMatchObject({ connected: null, verdicts: [] });
    }
    jest.spyOn(cluster.h1.view, 'endpoints').mockImplementation(() => {
      throw new TypeError('broken');
    });
    await expect(call('showPair', { a: 'container:ann', b: 'container:dan' })).rejects.toThrow('broken');
  });

  test('a service is meant where no container has its name', async () => {
    const task = await addContainer(cluster.h1, 'shop.1.k3', 'red', '10.1.0.9');
    await change(cluster.h1, (c) => updateEndpoint(c, task.id, { service: 'shop' }));
    await call('setPair', { a: 'shop', b: 'ann' }, { connected: false });
    expect(await check('shop.1.k3', 'ann')).toMatchObject({ allowed: false, decidedBy: 'pair ann:service:shop' });
  });

  test.each([
    [{ a: 'ann', b: 'bobb' }, 'there is no container, service or network bobb; did you mean bob?'],
    [{ a: 'ann', b: 'ann' }, 'container:ann is one container: name two'],
    [{ a: 'ann', b: 'network:red' }, 'network:red is no container: pairs are of containers'],
    [{ a: 'ann', b: 'red' }, 'network:red is no container: pairs are of containers'],
    [{ a: 'h3/ann', b: 'bob' }, 'there is no host h3; did you mean h1 or h2?'],
  ])('%j is refused: %s', async (sides, message) => {
    await expect(call('setPair', sides, { connected: true })).rejects.toThrow(message);
  });

  test('a name that is two containers’ has to be said with its host', async () => {
    await addContainer(cluster.h2, 'ann', 'red', '10.1.0.8');
    await expect(call('setPair', { a: 'ann', b: 'bob' }, { connected: true })).rejects.toThrow(
      /^ann is 2 containers: h1\/ann \(\w{12}\), h2\/ann \(\w{12}\); say which$/,
    );
  });
});

describe('policies', () => {
  const add = (changes: object) => call('addPolicy', {}, { action: 'allow', from: 'ann', to: 'cat', ...changes });

  test('a port that is said twice is one', async () => {
    await add({ protocol: 'tcp', ports: ['80', '443', '80'] });
    expect(await call('listPolicies')).toMatchObject([{ ports: ['80', '443'] }]);
  });

  test('in their order, with names of their own, explained', async () => {
    expect(await add({ protocol: 'tcp', ports: ['80', '8000-8010'] })).toEqual({
      name: 'p1',
      action: 'allow',
      from: 'container:ann',
      to: 'container:cat',
      protocol: 'tcp',
      ports: ['80', '8000-8010'],
      rule: 'allow from container:ann to container:cat tcp/80,8000-8010',
    });
    await add({ name: 'first', action: 'deny', protocol: 'tcp', ports: ['8001'], before: 'p1' });
    expect(await call('listPolicies')).toMatchObject([{ name: 'first' }, { name: 'p1' }]);
    expect(await check('ann', 'cat', { port: '80' })).toMatchObject({ allowed: true, decidedBy: 'policy p1' });
    expect(await check('ann', 'cat', { port: '8001' })).toMatchObject({ allowed: false, decidedBy: 'policy first' });
    expect(await check('cat', 'ann', { port: '80' })).toMatchObject({ allowed: false, decidedBy: null });
    await call('removePolicy', { name: 'first' });
    expect(await check('ann', 'cat', { port: '8001' })).toMatchObject({ allowed: true });
  });

  test('to an address outside, and from there', async () => {
    expect(await check('ann', '192.0.2.7')).toMatchObject({ allowed: true });
    await add({ action: 'deny', from: 'red', to: '192.0.2.0/24', protocol: 'tcp', ports: ['443'] });
    expect(await check('ann', '192.0.2.7', { port: '443' })).toMatchObject({
      allowed: false,
      reason: 'policy p1: deny from network:red to 192.0.2.0/24 tcp/443',
    });
    expect(await check('192.0.2.7', 'ann', { port: '443' })).toMatchObject({ allowed: true });
  });

  test('a network that is default deny', async () => {
    await call('setDefault', { name: 'red' }, { default: 'deny' });
    expect(await check('ann', 'bob')).toMatchObject({
      allowed: false,
      reason: 'no rule allows it, and network red is default deny',
    });
    await add({ to: 'bob', protocol: 'icmp' });
    expect(await check('ann', 'bob')).toMatchObject({ allowed: true });
    expect(await check('bob', 'ann')).toMatchObject({ allowed: false });
  });

  test.each<[object, string]>([
    [{ action: 'permit' }, 'action: "permit" is neither allow nor deny'],
    [{ protocol: 'tpc' }, 'protocol: "tpc" is none of tcp, udp, sctp and icmp'],
    [{ protocol: 'tcp', ports: ['70000'] }, '"70000" is no port and no range of ports'],
    [{ protocol: 'tcp', ports: ['90-80'] }, '"90-80" is no port and no range of ports'],
    [{ ports: ['80'] }, 'ports 80 are of TCP, UDP or SCTP: say of which protocol'],
    [{ protocol: 'icmp', ports: ['80'] }, 'ports 80 are of TCP, UDP or SCTP: ICMP has none'],
    [{ from: 'annn' }, 'there is no container, service or network annn; did you mean ann?'],
    [{ from: 'label:=web' }, '"label:=web" is a label without a name'],
    [{ from: 'label:app\u001b[31m' }, 'whom a rule is about has no control characters'],
    [{ from: 'container:a/b/c' }, '"container:a/b/c" is no container'],
    [{ from: 'container:h1/' }, '"container:h1/" is no container'],
    [{ from: 'container:Ünï' }, '"container:Ünï" is no container'],
    [{ from: 'container:h3/ann' }, 'there is no host h3; did you mean h1 or h2?'],
    [{ from: 'lable:app=web' }, '"lable:app=web" selects nothing'],
    [{ to: 'network:bleu' }, 'network bleu does not exist, or is none of DaoliNet; did you mean blue?'],
    [{ to: 'group:g' }, 'group g does not exist'],
    [{ to: '10.1.0.5/16' }, '"10.1.0.5/16" has bits set below its prefix: did you mean 10.1.0.0/16?'],
    [{ before: 'p9' }, 'policy p9 does not exist'],
    [{ port: '80' }, 'port'],
  ])('%j is refused: %s', async (changes, message) => {
    await expect(add(changes)).rejects.toThrow(message);
    expect(await call('listPolicies')).toEqual([]);
  });

  test('one that contradicts another, or could never decide', async () => {
    await add({ name: 'wide', action: 'deny', from: 'any', protocol: 'tcp' });
    await expect(add({ protocol: 'tcp', ports: ['80'] })).rejects.toThrow(
      'policy wide decides all that before it: deny from any to container:cat tcp; remove it (daolictl policy rm wide), ' +
        'or put this one before it (--before wide)',
    );
    await add({ name: 'narrow', protocol: 'tcp', ports: ['80'], before: 'wide' });
    await expect(add({ action: 'deny', protocol: 'tcp', ports: ['80'], before: 'narrow' })).rejects.toThrow(
      'policy narrow says about the same: allow from container:ann to container:cat tcp/80. ' +
        'Remove it first: daolictl policy rm narrow',
    );
    await expect(add({ action: 'deny', protocol: 'tcp', ports: ['81'] })).rejects.toThrow('nothing would change');
  });
});
