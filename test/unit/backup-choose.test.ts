// Which hosts stand by for which: that it is spread, that it changes little, and that nobody is chosen who cannot be reached.
import { backupsInOrder, chooseBackups, type ChoiceView } from '../../src/backup/choose';
import type { SwitchRow } from '../../src/directory/rows';
import type { Uuid } from '../../src/ovsdb/notation';
import { tunnelView, type HostSpec } from '../fakes/tunnel-view';

const row = (host: string, backups: readonly string[] = []): SwitchRow => {
  return { uuid: host as Uuid, host, generation: 1, master: host, backups, profile: '' };
};
/** Hosts with a row of their datapath, but for those in `without`. */
function viewOf(specs: readonly HostSpec[], without: readonly string[] = []): ChoiceView {
  const rows = new Map(specs.map(({ name }) => [name, row(name)]));
  for (const name of without) rows.delete(name);
  return { ...tunnelView(specs), switchOf: (name) => rows.get(name) };
}
const nobody = () => false;
const named = (count: number, prefix = 'h', rest: Partial<HostSpec> = {}) =>
  Array.from({ length: count }, (_, index): HostSpec => ({ name: `${prefix}${index + 1}`, ...rest }));
const choices = (specs: readonly HostSpec[]) => {
  const view = viewOf(specs);
  return new Map(specs.map(({ name }) => [name, chooseBackups(view, name, nobody)]));
};
function loadsOf(chosen: ReadonlyMap<string, readonly string[]>): number[] {
  const loads = new Map([...chosen.keys()].map((name) => [name, 0]));
  for (const name of [...chosen.values()].flat()) loads.set(name, (loads.get(name) ?? 0) + 1);
  return [...loads.values()];
}

test('a host alone has none, one of two the other, one of three both', () => {
  expect([...choices(named(1)).values()]).toEqual([[]]);
  expect([...choices(named(2)).values()]).toEqual([['h2'], ['h1']]);
  for (const [name, backups] of choices(named(3))) expect([...backups, name].sort()).toEqual(['h1', 'h2', 'h3']);
});

test.each([4, 10, 100, 200])('of %d hosts of one site each stands by for two, or one more or less', (count) => {
  const chosen = choices(named(count));
  for (const [name, backups] of chosen) {
    expect(new Set([name, ...backups]).size).toBe(3);
  }
  const loads = loadsOf(chosen);
  expect(Math.max(...loads)).toBeLessThanOrEqual(3);
  expect(Math.min(...loads)).toBeGreaterThanOrEqual(1);
});

test('one that comes or goes changes the backups of few', () => {
  const before = choices(named(100));
  const after = choices(named(101));
  const changed = [...before].filter(([name, backups]) => after.get(name)!.join() !== backups.join());
  expect(changed.length).toBeLessThanOrEqual(4);
});

test('the second is of another site that can be dialled, and all of these have their share', () => {
  const sites = [
    ...named(20, 'dc', { site: 'dc', endpoint: '198.51.100.1:7471' }),
    ...named(20, 'cloud', { site: 'cloud', endpoint: '198.51.100.2:7471' }),
    ...named(20, 'home', { site: 'home' }),
  ];
  const chosen = choices(sites);
  for (const [name, [first, second]] of chosen) {
    const site = name.replace(/\d+/, '');
    expect(first).toMatch(new RegExp(`^${site}`));
    expect(second).not.toMatch(new RegExp(`^(${site}|home)\\d`));
  }
  // Forty stand by for one of their own site, and share sixty of others.
  expect(Math.max(...loadsOf(chosen))).toBeLessThanOrEqual(8);
});

test('a host that is alone at its site has two of two others', () => {
  const sites = [
    { name: 'laptop', site: 'home' },
    ...named(3, 'dc', { site: 'dc', endpoint: '198.51.100.1:7471' }),
    ...named(3, 'cloud', { site: 'cloud', endpoint: '198.51.100.2:7471' }),
  ];
  const backups = chooseBackups(viewOf(sites), 'laptop', nobody);
  expect(backups.map((name) => name.replace(/\d/, '')).sort()).toEqual(['cloud', 'dc']);
});

test('none is chosen of an older version, that is away, or behind NAT at another site', () => {
  const sites = [...named(3), { name: 'laptop', site: 'home' }];
  expect(chooseBackups(viewOf(sites, ['h2']), 'h1', nobody)).toEqual(['h3']);
  expect(chooseBackups(viewOf(sites), 'h1', (name) => name === 'h3')).toEqual(['h2']);
  expect(chooseBackups(viewOf(sites), 'nobody', nobody)).toEqual([]);
  // One that has told nothing of its tunnel reaches no other site.
  const fresh = [{ name: 'laptop', site: 'home', hasTunnel: false }, ...named(1, 'dc', { endpoint: '192.0.2.9:1' })];
  expect(chooseBackups(viewOf(fresh), 'laptop', nobody)).toEqual([]);
});

test('all see the same order of those that stand by: the own site first', () => {
  const sites = [...named(2, 'dc', { site: 'dc' }), ...named(2, 'cloud', { site: 'cloud' })];
  const view = viewOf(sites);
  expect(backupsInOrder(view, row('dc1', ['cloud1', 'dc2']))).toEqual(['dc2', 'cloud1']);
  expect(backupsInOrder(view, row('dc1', ['dc2', 'cloud1']))).toEqual(['dc2', 'cloud1']);
  const order = backupsInOrder(view, row('dc1', ['cloud1', 'cloud2']));
  expect(backupsInOrder(view, row('dc1', ['cloud2', 'cloud1']))).toEqual(order);
});
