// The picture on the screen: hosts as boxes, containers in them, connections that come with a first packet and fade when they go.
// What is to be drawn is worked out elsewhere (picture.ts, placement.ts); here it is held against what is drawn, and what differs
// is changed.

import cytoscape, { type Core, type EdgeSingular, type ElementDefinition, type NodeSingular } from 'cytoscape';
import type { Colours } from './colours';
import { FADE_MS, FRESH_MS, graphStyle, MAX_SLICES } from './graph-style';
import { compare, type Connection, type Container, type Door, type hostsInOrder, type Picture } from './picture';
import { Placement, type Point } from './placement';
import { OUTSIDE } from './world';

export interface GraphEvents {
  /** A thing was chosen; undefined: the ground. `isMore`: beside what was chosen before. */
  readonly chosen: (id: string | undefined, isMore: boolean) => void;
}

const FLASH_MS = 1_600;
/** So many come, or go, to be looked at; what is beyond just does. */
const MAX_MOVING = 24;
/** With more than so many, they are straight lines, and come and go at once: that costs less. */
const MANY = 300;
/** A connection that nobody has used for so long is at its palest. */
const PALE_AFTER_MS = 30_000;
const MAX_ZOOM_TO_FIT = 2.4;
const FIT_PADDING = 56;
/** Under which a thing has its place with it. */
const PLACE = 'place';
/** Classes that a thing has for what happens to it, beside those for what it is. */
const PASSING = ['chosen', 'dim', 'fresh', 'new', 'going'];

export class Graph {
  private readonly placement = new Placement();
  private readonly cy: Core;
  /** Somebody would rather that nothing moves. */
  private readonly isStill = matchMedia('(prefers-reduced-motion: reduce)');
  private isMovedByHand = false;
  private isBent = true;
  private extent = '';
  private highlighted: ReadonlySet<string> | undefined;

  constructor(
    container: HTMLElement,
    private readonly colours: Colours,
    events: GraphEvents,
  ) {
    this.cy = cytoscape({
      container,
      style: graphStyle(true),
      layout: { name: 'preset' },
      minZoom: 0.08,
      maxZoom: 4,
      boxSelectionEnabled: false,
      autounselectify: true,
      hideLabelsOnViewport: false,
      textureOnViewport: true,
    });
    this.cy.on('tap', ({ target, originalEvent }) => {
      const { shiftKey = false, ctrlKey = false, metaKey = false } = (originalEvent ?? {}) as Partial<MouseEvent>;
      const id = target === this.cy ? undefined : (target as EdgeSingular).id();
      events.chosen(id, shiftKey || ctrlKey || metaKey);
    });
    this.cy.on('scrollzoom dragpan pinchzoom', () => (this.isMovedByHand = true));
    this.cy.on('mouseover', 'node.container, edge.connection', () => (container.style.cursor = 'pointer'));
    this.cy.on('mouseout', 'node, edge', () => (container.style.cursor = ''));
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => {
      this.cy.style(graphStyle(this.isBent));
    });
    new ResizeObserver(() => {
      this.cy.resize();
      if (!this.isMovedByHand) this.fit();
    }).observe(container);
  }

  /** Makes what is drawn what is there. */
  draw(hosts: ReturnType<typeof hostsInOrder>, picture: Picture, now: number): void {
    const aspect = this.cy.width() / Math.max(1, this.cy.height());
    const names = hosts.map(({ name }) => name);
    this.placement.place(names, inOrder(picture), [...picture.doors.values()], aspect);
    this.cy.batch(() => {
      const wanted = new Map<string, ElementDefinition>();
      for (const each of this.hostElements(hosts)) wanted.set(each.data.id!, each);
      for (const each of picture.containers.values()) wanted.set(each.id, this.containerElement(each));
      for (const each of picture.doors.values())
        for (const part of this.doorElements(each)) wanted.set(part.data.id!, part);
      for (const each of picture.connections.values()) {
        if (wanted.has(each.one) && wanted.has(each.other)) wanted.set(each.id, this.connectionElement(each, now));
      }
      this.removeOthers(wanted);
      for (const [id, element] of wanted) this.put(id, element);
    });
    this.bend(picture.connections.size <= MANY);
    this.dim();
    this.fitToNew();
  }

  /** Shows what was chosen. */
  choose(ids: readonly string[]): void {
    this.cy.batch(() => {
      this.cy.elements('.chosen').removeClass('chosen');
      for (const id of ids) this.cy.getElementById(id).addClass('chosen');
    });
  }

  /** Only these networks' containers are clear. Undefined: all. */
  highlight(networks: ReadonlySet<string> | undefined): void {
    this.highlighted = networks;
    this.dim();
  }

  /** A try that was refused. */
  flash(one: string, other: string): void {
    const [source, target] = [this.cy.getElementById(one), this.cy.getElementById(other)];
    if (source.empty() || target.empty() || one === other) return;
    const id = `denied ${one} ${other}`;
    this.cy.getElementById(id).remove();
    const edge = this.cy.add({ data: { id, source: one, target: other }, classes: 'denied' });
    edge.animate(
      { style: { opacity: 0 } },
      { duration: FLASH_MS, easing: 'ease-in', complete: () => void edge.remove() },
    );
  }

  /** Brings it into sight. */
  reveal(id: string): void {
    const element = this.cy.getElementById(id);
    if (element.nonempty()) this.cy.animate({ center: { eles: element } }, { duration: 200 });
  }

  fit(): void {
    this.isMovedByHand = false;
    this.cy.fit(undefined, FIT_PADDING);
    if (this.cy.zoom() > MAX_ZOOM_TO_FIT) {
      this.cy.zoom(MAX_ZOOM_TO_FIT);
      this.cy.center();
    }
  }

  zoomBy(factor: number): void {
    this.isMovedByHand = true;
    const level = this.cy.zoom() * factor;
    this.cy.zoom({ level, renderedPosition: { x: this.cy.width() / 2, y: this.cy.height() / 2 } });
  }

  private hostElements(hosts: ReturnType<typeof hostsInOrder>): ElementDefinition[] {
    const boxes = hosts.map(({ name, label }) => {
      const { width, height, ...position } = this.placement.boxes.get(name)!;
      return { data: { id: `host/${name}`, label, width, height }, position, classes: 'host', grabbable: false };
    });
    const outside = {
      data: { id: OUTSIDE, label: 'outside' },
      position: this.placement.outside,
      classes: 'outside',
      grabbable: false,
    };
    return boxes.length === 0 ? [] : [...boxes, outside];
  }

  private containerElement({ id, name, networks, ports, isJoined }: Container): ElementDefinition {
    const colours = networks.slice(0, MAX_SLICES).map((network) => this.colours.of(network));
    const slices = colours.map((colour, index) => [`colour${index + 1}`, colour] as const);
    const published = [...new Set(ports.map(({ hostPort }) => `:${hostPort}`))].slice(0, 3).join(' ');
    return {
      data: {
        ...{ id, label: published === '' ? name : `${name}\n${published}` },
        ...{ colour: colours[0], networks: networks.join('\n') },
        ...Object.fromEntries(slices),
      },
      position: this.placement.points.get(id) ?? { x: 0, y: 0 },
      classes: `container${isJoined ? '' : ' waiting'}${colours.length > 1 ? ` slices${colours.length}` : ''}`,
    };
  }

  private doorElements({ id, hostPort, target, status }: Door): ElementDefinition[] {
    const isOpen = target !== undefined && (status === 'open' || status === null || status === undefined);
    const door = {
      data: { id, label: `:${hostPort}` },
      position: this.placement.points.get(id) ?? { x: 0, y: 0 },
      classes: isOpen ? 'door' : 'door shut',
      grabbable: false,
    };
    if (target === undefined) return [door];
    const data = { id: `${id}/to`, source: id, target };
    return [door, { data, classes: isOpen ? 'way' : 'way shut' }];
  }

  private connectionElement(connection: Connection, now: number): ElementDefinition {
    const { id, one, other, network, isTunnelled, activeAt, packetsPerSecond } = connection;
    const paleness = Math.min(1, (now - activeAt) / PALE_AFTER_MS);
    const data = {
      ...{ id, source: one, target: other },
      // In few steps: what is the same as before costs nothing.
      width: 1.6 + Math.round(Math.log10(1 + packetsPerSecond) * 2) * 0.7,
      clarity: Math.round((1 - 0.65 * paleness) * 10) / 10,
      colour: network === undefined ? '' : this.colours.of(network),
    };
    const classes = `connection${network === undefined ? ' mixed' : ''}${isTunnelled ? ' tunnelled' : ''}`;
    return { data, classes };
  }

  private put(id: string, element: ElementDefinition): void {
    const present = this.cy.getElementById(id);
    const { data, position, classes = '' } = element;
    const isKeeping = present.nonempty() && (!present.isEdge() || !present.hasClass('going'));
    if (!isKeeping) {
      present.remove();
      this.appear(element);
      return;
    }
    if (Object.entries(data).some(([name, value]) => present.data(name) !== value)) present.data(data);
    const passing = PASSING.filter((name) => present.hasClass(name));
    const wanted = [...String(classes).split(' '), ...passing];
    if (wanted.length !== present.classes().length || !wanted.every((name) => present.hasClass(name))) {
      present.classes(wanted);
    }
    // Where somebody has dragged it, it stays, until its place is another one.
    if (position === undefined || !present.isNode()) return;
    const last = present.scratch(PLACE) as Point | undefined;
    if (last?.x !== position.x || last.y !== position.y) moveTo(present, position);
  }

  private appear(element: ElementDefinition): void {
    const isConnection = String(element.classes).startsWith('connection');
    const isShown = isConnection && this.mayBeSlow() && this.cy.edges('.fresh').length < MAX_MOVING;
    const added = this.cy.add(isShown ? { ...element, classes: `${String(element.classes)} fresh new` } : element);
    if (element.position !== undefined) moveTo(added, element.position);
    if (!isShown) return;
    // Drawn once as it begins, or there were nothing to go on from.
    requestAnimationFrame(() => requestAnimationFrame(() => added.removeClass('new')));
    window.setTimeout(() => added.removeClass('fresh'), 2 * FRESH_MS);
  }

  /** Whether what comes and goes may do so slowly: with many, some would at every moment, and all were drawn all the time. */
  private mayBeSlow(): boolean {
    return this.isBent && !this.isStill.matches;
  }

  /** What is there no more goes; a connection fades. */
  private removeOthers(wanted: ReadonlyMap<string, unknown>): void {
    let going = this.mayBeSlow() ? this.cy.edges('.going').length : MAX_MOVING;
    for (const element of this.cy.elements()) {
      if (wanted.has(element.id()) || element.hasClass('denied') || element.hasClass('going')) continue;
      const endsStay = element.isEdge() && wanted.has(element.source().id()) && wanted.has(element.target().id());
      if (!element.hasClass('connection') || !endsStay || going >= MAX_MOVING) {
        element.remove();
        continue;
      }
      going += 1;
      element.addClass('going');
      window.setTimeout(() => {
        if (element.hasClass('going')) element.remove();
      }, FADE_MS);
    }
  }

  /** Bent, those pass beside what is between. */
  private bend(isWanted: boolean): void {
    if (isWanted === this.isBent) return;
    this.isBent = isWanted;
    this.cy.style(graphStyle(isWanted));
  }

  private dim(): void {
    const { highlighted } = this;
    this.cy.batch(() => {
      if (highlighted === undefined) return void this.cy.elements('.dim').removeClass('dim');
      for (const node of this.cy.nodes('.container')) {
        const networks = String(node.data('networks')).split('\n');
        node.toggleClass('dim', !networks.some((network) => highlighted.has(network)));
      }
      for (const edge of this.cy.edges('.connection, .way')) {
        edge.toggleClass('dim', edge.source().hasClass('dim') || edge.target().hasClass('dim'));
      }
    });
  }

  /** Only when the whole has grown, and nobody has moved it by hand. */
  private fitToNew(): void {
    const extent = [...this.placement.boxes].map(([name, box]) => `${name} ${box.x} ${box.y} ${box.width}`).join();
    if (extent === this.extent) return;
    this.extent = extent;
    if (!this.isMovedByHand) this.fit();
  }
}

/** The library keeps a position that was given, and changes it. */
function moveTo(node: NodeSingular, place: Point): void {
  node.scratch(PLACE, { ...place });
  node.position({ ...place });
}

/** Those of one network side by side. */
function inOrder({ containers }: Picture): Container[] {
  const keyOf = ({ networks, name }: Container) => `${networks.join(' ')} ${name}`;
  return [...containers.values()].sort((a, b) => compare(keyOf(a), keyOf(b)));
}
