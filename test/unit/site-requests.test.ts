import { hostNames, parseSites, siteRequests } from '../../lab/site-requests';

test('sites by name and number of hosts', () => {
  expect(parseSites('dc:2,cloud:1,home:1')).toEqual({ dc: 2, cloud: 1, home: 1 });
  const requests = siteRequests({ dc: 2, home: 1, cloud: 1 }, { nat: ['home'], noL2: ['dc'], dropMacs: ['cloud'] });
  expect(requests).toEqual([
    { name: 'dc', hosts: 2, isBehindNat: false, isWithoutL2: true, isToldOfL2: true },
    { name: 'home', hosts: 1, isBehindNat: true, isWithoutL2: false, isToldOfL2: false },
    { name: 'cloud', hosts: 1, isBehindNat: false, isWithoutL2: true, isToldOfL2: false },
  ]);
  expect(requests.flatMap(hostNames)).toEqual(['dc1', 'dc2', 'home1', 'cloud1']);
});

test.each(['', 'dc', 'dc:', ':2', 'dc:two', 'dc:1,', 'dc:1;home:1'])('what names no sites: %p', (text) => {
  expect(() => parseSites(text)).toThrow(`--sites ${text}: give names`);
});

test('the same site twice', () => {
  expect(() => parseSites('dc:1,dc:2')).toThrow('the site dc is there twice');
});

test.each([
  [{ dc1: 1 }, {}, 'cannot be called dc1'],
  [{ averylongname: 1 }, {}, 'cannot be called averylongname'],
  [{ dc: 0 }, {}, 'the site dc can have 1 to 99 hosts'],
  [{ dc: 100 }, {}, 'the site dc can have 1 to 99 hosts'],
  [{ dc: 1 }, { nat: ['home'] }, 'there is no site home; there are dc'],
  [{ dc: 1 }, { noL2: ['cloud'] }, 'there is no site cloud'],
  [{ dc: 1 }, { dropMacs: ['cloud'] }, 'there is no site cloud'],
  [{ dc: 1, home: 1 }, { nat: ['dc'] }, 'the first site has the servers'],
  [Object.fromEntries([...'abcdefghijklmnopqrstu'].map((name) => [name, 1])), {}, 'there can be 20 sites'],
])('what cannot be: %j %j', (counts, traits, complaint) => {
  expect(() => siteRequests(counts, traits)).toThrow(complaint);
});
