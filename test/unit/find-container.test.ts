// Which container a command means: names, beginnings of ids, hosts in front, and what is said where it is none or several.
import { didYouMean, editDistance, similarNames } from '../../src/base/similar-names';
import { containerLabel, endpointIn, findContainer } from '../../src/api/find-container';
import { addContainer, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

let cluster: SmallCluster;
beforeEach(async () => {
  cluster = await createSmallCluster();
});
const find = (text: string) => containerLabel(findContainer(cluster.h1.view, text));

test('by name, by the beginning of the id, and with the host in front', async () => {
  const dan = [...cluster.h1.view.endpoints()].find(({ containerName }) => containerName === 'dan')!;
  expect(find('dan')).toBe('h2/dan');
  expect(find('h2/dan')).toBe('h2/dan');
  expect(find(dan.containerId!)).toBe('h2/dan');
  expect(find(dan.containerId!.slice(0, 12))).toBe('h2/dan');
  expect(find(`h2/${dan.containerId!.slice(0, 6)}`)).toBe('h2/dan');
});

test('the beginning of an id is four digits at least', async () => {
  await addContainer(cluster.h1, 'zed', 'red', '10.1.0.9', 'abcdef');
  expect(find('abcd')).toBe('h1/zed');
  expect(() => find('abc')).toThrow('no container abc is in a DaoliNet network');
});

test('a name goes before an id that begins the same', async () => {
  await addContainer(cluster.h1, 'other', 'red', '10.1.0.9', 'cafe01');
  await addContainer(cluster.h1, 'cafe', 'red', '10.1.0.10', '1234');
  expect(find('cafe')).toBe('h1/cafe');
});

test('several are listed, and one of them can be named', async () => {
  await addContainer(cluster.h2, 'ann', 'red', '10.1.0.9', 'abcd');
  expect(() => find('ann')).toThrow(
    /^ann is 2 containers: h1\/ann \([0-9a-f]{12}\), h2\/ann \(abcd00000000\); say which$/,
  );
  expect(find('h2/ann')).toBe('h2/ann');
  await addContainer(cluster.h1, 'zed', 'red', '10.1.0.10', 'abcd1');
  expect(() => find('abcd')).toThrow('abcd is 2 containers');
});

test('what is not there is said with what is like it', () => {
  expect(() => find('bop')).toThrow('no container bop is in a DaoliNet network; did you mean bob?');
  expect(() => find('something')).toThrow(/^no container something is in a DaoliNet network$/);
  expect(() => find('h3/ann')).toThrow('there is no host h3; did you mean h1 or h2?');
  expect(() => find('')).toThrow('no container  is in');
});

test('a container of several networks: which of its endpoints', async () => {
  await addContainer(cluster.h1, 'ann', 'blue', '10.2.0.9');
  const { view } = cluster.h1;
  const ann = findContainer(view, 'ann');
  expect(ann.endpoints).toHaveLength(2);
  expect(() => endpointIn(view, ann, undefined)).toThrow('h1/ann is in blue, red: say which network');
  expect(endpointIn(view, ann, 'blue').networkId).toBe(ann.endpoints[0]!.networkId);
  expect(() => endpointIn(view, ann, 'rad')).toThrow(
    'h1/ann is not in network rad, but in blue, red; did you mean red?',
  );
  expect(endpointIn(view, findContainer(view, 'bob'), undefined).containerName).toBe('bob');
});

describe('names that are alike', () => {
  test.each([
    ['web', 'web', 0],
    ['web', 'wbe', 1],
    ['web', 'wew', 1],
    ['web', 'webs', 1],
    ['web', '', 3],
    ['database', 'databsae', 1],
    ['kitten', 'sitting', 3],
  ])('%s and %s are %d apart', (a, b, distance) => {
    expect(editDistance(a, b)).toBe(distance);
    expect(editDistance(b, a)).toBe(distance);
  });

  test('the nearest come first, and no more than three', () => {
    expect(similarNames('web1', ['web2', 'web', 'web3', 'web4', 'database'])).toEqual(['web', 'web2', 'web3']);
    expect(didYouMean('xyzzy', ['web'])).toBe('');
  });
});
