// Networks by tenant, their groups, and what holds in them where no rule does.

import { ask, pathOf } from '../agent';
import { networkKey } from '../colours';
import { el, swatch } from '../dom';
import { compare } from '../picture';
import { count } from '../words';
import type { ShownNetwork } from '../../api/operations/networks';
import type { Deeds, Scene } from './scene';

export function networksPanel(scene: Scene, deeds: Deeds): Node[] {
  const { world, highlighted } = scene;
  const networks = [...world.networks.values()].sort((a, b) => compare(nameOf(a), nameOf(b)));
  if (networks.length === 0) {
    const example = el('code', {}, 'docker network create -d daolinet demo');
    return [el('p', { class: 'note' }, 'No networks yet. Make one: ', example)];
  }
  const tenants = [...new Set(networks.map(({ tenant }) => tenant))].sort(compare);
  const error = deeds.error('networks');
  const all = el(
    'button',
    { type: 'button', class: 'small', disabled: highlighted === undefined, onclick: () => deeds.highlight(undefined) },
    'Show all',
  );
  return [
    el('p', { class: 'note' }, 'Choose one to see it alone. ', all),
    el('p', { class: 'error', role: 'alert' }, error),
    ...tenants.flatMap((tenant) => {
      const own = networks.filter((each) => each.tenant === tenant);
      return [tenantHead(deeds, tenant, own, tenants.length), networkList(scene, deeds, own)];
    }),
    ...groups(scene),
  ];
}

/** As it is called in endpoints, too. */
function nameOf({ name, id }: ShownNetwork): string {
  return name ?? id;
}

export function keyOf(network: ShownNetwork): string {
  return networkKey(network.tenant, nameOf(network));
}

function tenantHead(deeds: Deeds, tenant: string, own: readonly ShownNetwork[], tenants: number): HTMLElement {
  if (tenants === 1) return el('h3', {}, tenant === 'default' ? 'Networks' : `Tenant ${tenant}`);
  const onclick = () => deeds.highlight(new Set(own.map(keyOf)));
  return el('h3', {}, el('button', { type: 'button', class: 'chip', onclick }, `Tenant ${tenant}`));
}

function networkList({ world, colours, highlighted }: Scene, deeds: Deeds, networks: readonly ShownNetwork[]): Node {
  const rows = networks.map((network) => {
    const key = keyOf(network);
    const isAlone = highlighted?.size === 1 && highlighted.has(key);
    const about = [network.subnets.join(' '), network.internal ? 'internal' : ''].filter(Boolean).join(' · ');
    const choose = {
      ...{ type: 'button', class: 'link', 'aria-pressed': String(isAlone) },
      onclick: () => deeds.highlight(isAlone ? undefined : new Set([key])),
    };
    const missing = Object.keys(network.problems).length;
    return el(
      'li',
      { 'data-key': network.id },
      swatch(colours.of(key)),
      el('button', choose, nameOf(network), el('br'), el('small', {}, about)),
      missing > 0 && el('span', { class: 'tag deny', title: problemsOf(network) }, `not on ${count(missing, 'host')}`),
      defaultSwitch(deeds, nameOf(network), world.defaults.get(nameOf(network))?.default),
    );
  });
  return el('ul', { class: 'rows' }, ...rows);
}

function problemsOf({ problems }: ShownNetwork): string {
  return Object.entries(problems)
    .map(([host, why]) => `${host}: ${why}`)
    .join('\n');
}

/** What holds between its containers where no rule does. */
function defaultSwitch(deeds: Deeds, network: string, present: 'allow' | 'deny' | undefined): HTMLElement | undefined {
  if (present === undefined) return undefined;
  const next = present === 'allow' ? 'deny' : 'allow';
  const onclick = () =>
    deeds.change('networks', () => ask('PUT', pathOf('policies', 'defaults', network), { default: next }));
  return el(
    'button',
    {
      ...{ type: 'button', class: `small tag ${present}`, onclick },
      ...{ title: `Where no rule says anything: ${present}. Click for ${next}.`, 'data-default': network },
    },
    `default ${present}`,
  );
}

function groups({ world }: Scene): Node[] {
  const rows = [...world.groups.values()]
    .sort((a, b) => compare(a.name, b.name))
    .map(({ name, networks }) =>
      el('li', {}, el('span', { class: 'grow' }, name), el('span', { class: 'end' }, networks.join(' + ') || 'empty')),
    );
  if (rows.length === 0) return [];
  return [el('h3', {}, 'Groups: their networks are as one'), el('ul', { class: 'rows' }, ...rows)];
}
