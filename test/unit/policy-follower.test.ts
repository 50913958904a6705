// The controller's policy follows the directory: rules as a whole, names of containers one by one.
import { addMember, insertGroup, insertPolicy, setDefaultDeny, setPair } from '../../src/directory/control-operations';
import { updateEndpoint } from '../../src/directory/endpoint-operations';
import { renameNetwork } from '../../src/directory/operations';
import type { Policy } from '../../src/flowctl/model';
import { PolicyFollower } from '../../src/policy-follower';
import { addContainer, addNetwork, change, networkIdOf } from '../fakes/small-cluster';
import { createMemoryDirectory } from '../fakes/memory-directory';

async function follow() {
  const store = createMemoryDirectory();
  const policies: Policy[] = [];
  const refreshed: string[] = [];
  const follower = new PolicyFollower(store, {
    setPolicy: (policy) => void policies.push(policy),
    refreshSubjects: (ids) => void refreshed.push(...ids),
  });
  await addNetwork(store, 'red', '10.1.0.0/24');
  await addNetwork(store, 'blue', '10.2.0.0/24');
  const ann = await addContainer(store, 'ann', 'red', '10.1.0.2');
  const cat = await addContainer(store, 'cat', 'blue', '10.2.0.2');
  follower.load();
  store.onChange((changes) => follower.take(changes));
  const may = () => {
    const policy = policies.at(-1)!;
    return policy.judge(policy.subjectOf(ann.id, 1), policy.subjectOf(cat.id, 2));
  };
  return { store, policies, refreshed, ann, cat, may };
}

test('groups, pairs and defaults are another policy each time', async () => {
  const { store, policies, refreshed, may } = await follow();
  expect(may()).toBe('deny');
  await change(store, (c) => insertGroup(c, 'g'));
  for (const name of ['red', 'blue']) {
    await change(store, (c) => addMember(c, c.view.group('g')!, c.view.network(networkIdOf(name))!));
  }
  expect(may()).toBe('allow');
  await change(store, (c) => setPair(c, 'container:ann', 'container:cat', false));
  expect(may()).toBe('deny');
  await change(store, (c) => setPair(c, 'container:ann', 'container:cat', true));
  await change(store, (c) => setDefaultDeny(c, networkIdOf('red'), true));
  expect(may()).toBe('allow');
  expect(policies).toHaveLength(7);
  expect(refreshed).toEqual([]);
});

test('of a container whose name or labels are other than before, it is asked again', async () => {
  const { store, policies, refreshed, ann } = await follow();
  await change(store, (c) => updateEndpoint(c, ann.id, { sandbox: '/y' }));
  expect(refreshed).toEqual([]);
  await change(store, (c) => updateEndpoint(c, ann.id, { containerName: 'anna' }));
  await change(store, (c) => updateEndpoint(c, ann.id, { labels: new Map([['app', 'web']]) }));
  expect(refreshed).toEqual([ann.id, ann.id]);
  expect(policies).toHaveLength(1);
});

test('a network that gets a name is no other policy; its endpoints, if it has some, are asked again', async () => {
  const { store, policies, refreshed, ann, cat } = await follow();
  await addNetwork(store, 'green', '10.3.0.0/24');
  expect(refreshed).toEqual([]);
  const rule = { name: 'p', action: 'deny', from: 'network:pink', to: 'any', protocol: undefined, ports: [] } as const;
  await change(store, (c) => insertPolicy(c, rule, undefined));
  const policy = policies.at(-1)!;
  const may = () => policy.judge(policy.subjectOf(ann.id, 1), policy.subjectOf(ann.id, 1));
  expect(may()).toBe('allow');
  await change(store, (c) => renameNetwork(c, networkIdOf('red'), 'pink'));
  expect(may()).toBe('deny');
  expect(refreshed).toEqual([ann.id]);
  expect(policies).toHaveLength(2);
  await change(store, (c) => renameNetwork(c, networkIdOf('blue'), 'bleu'));
  expect(refreshed).toEqual([ann.id, cat.id]);
});
