// Two containers, and what is said about them; and all pairs about which something is said.

import { ask, pathOf, Refused } from '../agent';
import { el } from '../dom';
import type { Container } from '../picture';
import type { ShownPair, ShownPairState } from '../../api/operations/pairs';
import { title } from './containers';
import { nameAmong } from './policies';
import type { Deeds, Scene } from './scene';

/** What holds between the two that are chosen, as the agent says it. */
export class PairState {
  /** For which two, and with which rules, it was asked last. */
  private asked = { between: '', key: '' };
  state: ShownPairState | undefined;
  problem = '';

  constructor(private readonly changed: () => void) {}

  /** Asks where the two, or the rules, are others than before. */
  follow({ world, picture, chosen }: Scene): void {
    const [a, b] = chosen.map((id) => picture.containers.get(id));
    if (a === undefined || b === undefined) return;
    const between = `${a.id} ${b.id}`;
    const rules = [world.policies, world.pairs, world.groups, world.defaults].map((list) => [...list.values()]);
    const key = JSON.stringify([between, a.networks, b.networks, rules]);
    if (key === this.asked.key) return;
    if (between !== this.asked.between) [this.state, this.problem] = [undefined, ''];
    this.asked = { between, key };
    void this.ask(key, pairPath(a, b, picture.containers.values()));
  }

  private async ask(key: string, path: string): Promise<void> {
    try {
      const state = await ask<ShownPairState>('GET', path);
      if (key === this.asked.key) [this.state, this.problem] = [state, ''];
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      if (key === this.asked.key) [this.state, this.problem] = [undefined, error.message];
    }
    this.changed();
  }
}

export function pairsPanel(scene: Scene, deeds: Deeds, pair: PairState): Node[] {
  const { picture, world, chosen } = scene;
  const [a, b] = chosen.map((id) => picture.containers.get(id));
  const pairs = [...world.pairs.values()];
  const list = pairs.length === 0 ? [] : [el('h3', {}, 'All pairs'), pairList(deeds, pairs)];
  if (a === undefined || b === undefined) {
    const how =
      'Click two containers, the second one with Shift, to connect or disconnect them whatever networks and policies say.';
    return [el('p', { class: 'note' }, how), el('p', { class: 'error', role: 'alert' }, deeds.error('pair')), ...list];
  }
  return [...pairFacts(scene, deeds, pair, [a, b]), ...list];
}

function pairFacts(scene: Scene, deeds: Deeds, { state, problem }: PairState, [a, b]: [Container, Container]): Node[] {
  const path = pairPath(a, b, scene.picture.containers.values());
  const set = (connected: boolean) => () => deeds.change('pair', () => ask('PUT', path, { connected }));
  const said = state?.connected ?? null;
  const words =
    said === null ? 'Nothing is said about the two.' : said ? 'Connected by hand.' : 'Disconnected by hand.';
  const button = (text: string, disabled: boolean, onclick: () => void) =>
    el('button', { type: 'button', disabled, onclick }, text);
  return [
    title(`${a.name} and ${b.name}`, deeds),
    el('p', {}, words),
    el('p', { class: 'error', role: 'alert' }, deeds.error('pair') || problem),
    el(
      'div',
      { class: 'buttons' },
      button('Connect', said === true, set(true)),
      button('Disconnect', said === false, set(false)),
      button('Clear', said === null, () => deeds.change('pair', () => ask('DELETE', path))),
    ),
    el('h3', {}, 'What holds now'),
    el('ul', { class: 'rows' }, ...(state?.verdicts ?? []).map(verdictRow)),
  ];
}

function verdictRow({ from, to, allowed, reason }: ShownPairState['verdicts'][number]): HTMLElement {
  const word = allowed === null ? 'depends' : allowed ? 'allow' : 'deny';
  const sides = [from, to].map(({ container, address }) => container ?? address).join(' → ');
  return el(
    'li',
    {},
    el('span', { class: `tag ${word}` }, word),
    el('span', { class: 'grow' }, sides, el('br'), el('small', {}, reason)),
  );
}

function pairList(deeds: Deeds, pairs: readonly ShownPair[]): HTMLElement {
  const rows = pairs.map(({ a, b, connected }) => {
    const onclick = () => deeds.change('pair', () => ask('DELETE', pathOf('pairs', a, b)));
    const names = [a, b].map((each) => each.replace(/^container:/, '')).join(' ↔ ');
    return el(
      'li',
      { 'data-key': `${a} ${b}` },
      el('span', { class: `tag ${connected === true ? 'allow' : 'deny'}` }, connected === true ? 'connected' : 'apart'),
      el('span', { class: 'grow' }, names),
      el('button', { type: 'button', class: 'small', onclick, 'aria-label': `Clear ${names}` }, 'Clear'),
    );
  });
  return el('ul', { class: 'rows' }, ...rows);
}

function pairPath(a: Container, b: Container, containers: Iterable<Container>): string {
  const all = [...containers];
  return pathOf('pairs', nameAmong(a, all), nameAmong(b, all));
}
