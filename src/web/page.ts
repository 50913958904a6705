// The page: follows what the agent sees, draws it, and passes on what somebody does.

import { Refused, watch } from './agent';
import { Colours } from './colours';
import { byId, el, show, swatch } from './dom';
import { Graph } from './graph';
import { containersPanel, isFound } from './panels/containers';
import { keyOf, networksPanel } from './panels/networks';
import { PairState, pairsPanel } from './panels/pairs';
import { PoliciesPanel } from './panels/policies';
import type { Deeds, ErrorPlace, Scene } from './panels/scene';
import { hostsInOrder, compare, pictureOf, type Picture } from './picture';
import { count } from './words';
import { World } from './world';

const TABS = ['details', 'networks', 'policies', 'pairs'] as const;
type Tab = (typeof TABS)[number];
const TICK_MS = 1_000;
const MAX_KEYS = 12;
const MAX_FLASHES = 24;

class Page {
  private readonly world = new World();
  private readonly colours = new Colours();
  private readonly graph = new Graph(byId('graph'), this.colours, {
    chosen: (id, isMore) => this.tapped(id, isMore),
  });
  private readonly deeds: Deeds = {
    choose: (ids) => this.choose(ids),
    choosePartner: () => this.choosePartner(),
    highlight: (networks) => this.highlight(networks),
    change: (place, act) => void this.change(place, act),
    error: (place) => this.errors.get(place) ?? '',
  };
  private readonly policies = new PoliciesPanel(this.deeds);
  private readonly pair = new PairState(() => this.drawPanel());
  private readonly errors = new Map<ErrorPlace, string>();
  private picture: Picture = pictureOf(this.world);
  private chosen: readonly string[] = [];
  private highlighted: ReadonlySet<string> | undefined;
  private tab: Tab = 'details';
  private away = 'connecting…';
  private hasWorld = false;
  private isWaitingForPartner = false;
  private isDue = false;

  start(): void {
    this.listen();
    window.setInterval(() => this.due(), TICK_MS);
    this.drawHead();
    let isAnew = false;
    void watch({
      begins: () => {
        this.away = '';
        isAnew = true;
      },
      sight: (sight) => {
        // Until there is something new, what was known is shown.
        if (isAnew) this.world.clear();
        isAnew = false;
        const denials = this.world.take(sight, performance.now());
        this.hasWorld = true;
        this.due();
        for (const { from, to } of denials.slice(0, MAX_FLASHES)) this.flash(from, to);
      },
      ended: (why) => {
        this.away = why;
        this.due();
      },
    });
  }

  /** Draws once for all that comes within a frame. */
  private due(): void {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.draw();
    });
  }

  private draw(): void {
    this.picture = pictureOf(this.world);
    for (const network of [...this.world.networks.values()].map(keyOf).sort(compare)) this.colours.of(network);
    if (this.hasWorld) this.graph.draw(hostsInOrder(this.world), this.picture, performance.now());
    this.graph.choose(this.chosen);
    this.drawHead();
    this.drawKey();
    this.drawPanel();
  }

  private scene(): Scene {
    const { world, picture, colours, chosen, highlighted } = this;
    const search = byId<HTMLInputElement>('search-text').value;
    return { world, picture, colours, chosen, highlighted, search, now: performance.now() };
  }

  private drawHead(): void {
    const { world, picture, away } = this;
    const agent = byId('agent');
    agent.dataset['state'] = away === '' ? 'live' : 'away';
    agent.textContent = away === '' ? `agent of ${world.host}` : away;
    const number = (thing: string, value: number) => el('div', {}, el('dt', {}, thing), el('dd', {}, String(value)));
    show(
      byId('numbers'),
      number(world.hosts.size === 1 ? 'host' : 'hosts', world.hosts.size),
      number(picture.containers.size === 1 ? 'container' : 'containers', picture.containers.size),
      number('live', picture.connections.size),
    );
    const names = [...new Set([...picture.containers.values()].map(({ name }) => name))].sort(compare);
    show(byId('container-names'), ...names.map((name) => el('option', { value: name })));
    byId('hint').textContent = this.hint();
    this.drawEmpty();
  }

  private drawEmpty(): void {
    const { world, picture } = this;
    const empty = byId('empty');
    empty.hidden = this.hasWorld && picture.containers.size > 0;
    if (!this.hasWorld) return show(empty, el('h2', {}, this.away));
    const example =
      world.networks.size === 0
        ? 'docker network create -d daolinet demo'
        : `docker run -d --network ${[...world.networks.values()][0]?.name ?? 'demo'} IMAGE`;
    show(
      empty,
      el('h2', {}, 'No containers yet'),
      el('p', {}, 'Start one in a DaoliNet network:'),
      el('code', {}, example),
    );
  }

  /** What is to be done next, or seen, or why something is not. */
  private hint(): string {
    const { world, picture } = this;
    if (this.isWaitingForPartner) return 'Click the other container. Esc: none';
    if (!this.hasWorld || picture.containers.size === 0) return '';
    const unseen = [...world.hosts.keys()].filter((host) => world.sights.get(host)?.problem !== null);
    const missing =
      unseen.length === 0 ? '' : `Routes between containers of ${unseen.join(', ')} are not seen from here`;
    if (picture.connections.size > 0) return missing;
    return ['No routes: nobody talks', missing].filter(Boolean).join(' · ');
  }

  private drawKey(): void {
    const networks = [...this.world.networks.values()].sort((a, b) => compare(keyOf(a), keyOf(b)));
    const chips = networks.slice(0, MAX_KEYS).map((network) => {
      const key = keyOf(network);
      const isAlone = this.highlighted?.size === 1 && this.highlighted.has(key);
      const short = network.name ?? network.id.slice(0, 12);
      const name = network.tenant === 'default' ? short : `${network.tenant}/${short}`;
      const onclick = () => this.highlight(isAlone ? undefined : new Set([key]));
      return el(
        'button',
        { type: 'button', class: 'chip', 'aria-pressed': String(isAlone), onclick, 'data-key': key },
        swatch(this.colours.of(key)),
        name,
      );
    });
    const more = networks.length - chips.length;
    const rest = { type: 'button', class: 'chip', onclick: () => this.open('networks') } as const;
    show(byId('key'), ...chips, more > 0 && el('button', rest, count(more, 'more network')));
  }

  private drawPanel(): void {
    const scene = this.scene();
    if (this.tab === 'details') show(byId('details'), ...containersPanel(scene, this.deeds));
    if (this.tab === 'networks') show(byId('networks'), ...networksPanel(scene, this.deeds));
    if (this.tab === 'policies') this.policies.draw(scene);
    if (this.tab !== 'pairs') return;
    this.pair.follow(scene);
    show(byId('pairs'), ...pairsPanel(scene, this.deeds, this.pair));
  }

  private tapped(id: string | undefined, isMore: boolean): void {
    const isContainer = (each: string | undefined) => each !== undefined && this.picture.containers.has(each);
    const [first] = this.chosen;
    const isSecond = (isMore || this.isWaitingForPartner) && isContainer(id) && isContainer(first) && id !== first;
    this.isWaitingForPartner = false;
    if (isSecond) return this.choose([first!, id!]);
    // A part of something else: a port leads to what it is of.
    const thing = id?.replace(/\/to$/, '');
    this.choose(thing === undefined || thing.startsWith('denied ') ? [] : [thing]);
  }

  private choose(ids: readonly string[]): void {
    this.chosen = ids;
    this.errors.delete('pair');
    const isPair = ids.length === 2;
    if (isPair) this.open('pairs');
    else if (ids.length === 1 || this.tab === 'details') this.open('details');
    this.draw();
  }

  private choosePartner(): void {
    this.isWaitingForPartner = true;
    this.drawHead();
  }

  private highlight(networks: ReadonlySet<string> | undefined): void {
    this.highlighted = networks;
    this.graph.highlight(networks);
    this.draw();
  }

  private async change(place: ErrorPlace, act: () => Promise<unknown>): Promise<void> {
    this.errors.delete(place);
    try {
      await act();
    } catch (error) {
      if (!(error instanceof Refused)) throw error;
      this.errors.set(place, error.message);
    }
    this.draw();
  }

  private flash(from: string, to: string): void {
    const { nodeOf } = this.picture;
    this.graph.flash(nodeOf.get(from) ?? '', nodeOf.get(to) ?? '');
  }

  private open(tab: Tab): void {
    this.tab = tab;
    for (const each of TABS) {
      const [button, panel] = [byId(`tab-${each}`), byId(each)];
      button.setAttribute('aria-selected', String(each === tab));
      button.tabIndex = each === tab ? 0 : -1;
      panel.hidden = each !== tab;
    }
    this.drawPanel();
  }

  private listen(): void {
    TABS.forEach((tab, index) => {
      const button = byId(`tab-${tab}`);
      button.addEventListener('click', () => this.open(tab));
      button.addEventListener('keydown', ({ key }) => {
        const step = { ArrowRight: 1, ArrowLeft: -1 }[key];
        if (step === undefined) return;
        const next = TABS[(index + step + TABS.length) % TABS.length]!;
        this.open(next);
        byId(`tab-${next}`).focus();
      });
    });
    byId('zoom-in').addEventListener('click', () => this.graph.zoomBy(1.3));
    byId('zoom-out').addEventListener('click', () => this.graph.zoomBy(1 / 1.3));
    byId('fit').addEventListener('click', () => this.graph.fit());
    byId('search').addEventListener('submit', (event) => {
      event.preventDefault();
      this.find();
    });
    byId('search-text').addEventListener('input', () => this.searched());
    document.addEventListener('keydown', (event) => this.pressed(event));
  }

  private searched(): void {
    if (this.chosen.length > 0) this.choose([]);
    this.open('details');
  }

  /** Chooses the first that is like what is searched. */
  private find(): void {
    const { search } = this.scene();
    const all = [...this.picture.containers.values()].sort((a, b) => compare(a.name, b.name));
    const found = all.find(({ name }) => name === search) ?? all.find((each) => isFound(each, search));
    if (found === undefined || search.trim() === '') return;
    this.choose([found.id]);
    this.graph.reveal(found.id);
  }

  private pressed(event: KeyboardEvent): void {
    if (event.key === 'Escape') {
      this.isWaitingForPartner = false;
      return this.choose([]);
    }
    const isTyping = event.target instanceof HTMLInputElement || event.target instanceof HTMLSelectElement;
    if (isTyping || event.ctrlKey || event.metaKey || event.altKey) return;
    switch (event.key) {
      case '/':
        event.preventDefault();
        return byId('search-text').focus();
      case '+':
        return this.graph.zoomBy(1.3);
      case '-':
        return this.graph.zoomBy(1 / 1.3);
      case '0':
        return this.graph.fit();
    }
  }
}

new Page().start();
