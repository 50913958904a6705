// Policies in their order, and the form for another one.

import { ask, pathOf } from '../agent';
import { byId, el, show } from '../dom';
import { compare, type Container, type Picture } from '../picture';
import type { ShownPolicy } from '../../api/operations/policies';
import type { World } from '../world';
import type { Deeds, Scene } from './scene';

export class PoliciesPanel {
  private readonly form = byId<HTMLFormElement>('policy-form');
  /** Whose removal has to be said twice. */
  private doubted: string | undefined;

  constructor(private readonly deeds: Deeds) {
    this.form.addEventListener('submit', (event) => {
      event.preventDefault();
      const wanted = wantedOf(new FormData(this.form));
      deeds.change('policy', async () => {
        await ask('POST', pathOf('policies'), wanted);
        this.form.reset();
      });
    });
  }

  draw(scene: Scene): void {
    const policies = scene.world.orderedPolicies();
    const rows = policies.map((policy, index) => this.row(policy, index, scene));
    const none = el('p', { class: 'quiet' }, 'None: networks, groups and pairs decide alone.');
    show(byId('policy-list'), rows.length === 0 ? none : el('ol', { class: 'rows' }, ...rows));
    byId('policy-error').textContent = this.deeds.error('policy');
    const options = selectorsOf(scene.world, scene.picture).map((selector) => el('option', { value: selector }));
    show(byId('selectors'), ...options);
    const before = policies.map(({ name }) => el('option', { value: name, 'data-key': name }, name));
    show(byId('policy-before'), el('option', { value: '' }, 'none: as the last one'), ...before);
  }

  private row(
    { name, action, from, to, protocol, ports, rule }: ShownPolicy,
    index: number,
    scene: Scene,
  ): HTMLElement {
    const isDoubted = this.doubted === name;
    const onclick = () => {
      if (!isDoubted) {
        this.doubted = name;
        return this.draw(scene);
      }
      this.doubted = undefined;
      this.deeds.change('policy', () => ask('DELETE', pathOf('policies', name)));
    };
    const kind = protocol === null ? '' : `${protocol}${ports.length === 0 ? '' : `/${ports.join(',')}`}`;
    return el(
      'li',
      { 'data-key': name, title: rule },
      el('span', { class: 'place' }, String(index + 1)),
      el('span', { class: `tag ${action}` }, action),
      el('span', { class: 'grow' }, `${from} → ${to} `, el('small', {}, [kind, name].filter(Boolean).join(' · '))),
      el(
        'button',
        { type: 'button', class: isDoubted ? 'small sure' : 'small', onclick, 'aria-label': `Remove ${name}` },
        isDoubted ? 'Sure?' : 'Remove',
      ),
    );
  }
}

/** What the form says, as the API takes it. */
function wantedOf(form: FormData): object {
  const field = (name: string) => {
    const value = form.get(name);
    return typeof value === 'string' && value.trim() !== '' ? value.trim() : undefined;
  };
  const [action, from, to, name, protocol, before] = ['action', 'from', 'to', 'name', 'protocol', 'before'].map(field);
  const ports = field('ports')
    ?.split(/[\s,]+/)
    .filter(Boolean);
  return { action, from, to, name, protocol, before, ports };
}

/** What a rule may name, of what is there. */
export function selectorsOf({ networks, groups }: World, { containers }: Picture): string[] {
  const all = [...containers.values()];
  const named = (kind: string, names: Iterable<string>) =>
    [...new Set(names)].sort(compare).map((name) => `${kind}:${name}`);
  const networkNames = [...networks.values()].flatMap(({ name }) => name ?? []);
  const groupNames = [...groups.values()].map(({ name }) => name);
  const services = all.flatMap(({ service }) => service ?? []);
  const labels = all.flatMap((each) => Object.entries(each.labels).map(([key, value]) => `${key}=${value}`));
  return [
    'any',
    ...named('network', networkNames),
    ...named('group', groupNames),
    ...named('label', labels),
    ...named('service', services),
    ...named(
      'container',
      all.map((each) => nameAmong(each, all)),
    ),
  ];
}

/** With its host where others have its name. */
export function nameAmong({ name, host, id }: Container, all: readonly Container[]): string {
  return all.some((other) => other.id !== id && other.name === name) ? `${host}/${name}` : name;
}
