// All containers by host, and what is known of the one that is chosen.

import { el, swatch } from '../dom';
import { compare, type Connection, type Container, type Door } from '../picture';
import { count, duration, size, traffic } from '../words';
import { OUTSIDE } from '../world';
import type { Deeds, Scene } from './scene';

const SHOWN_ID = 12;
const MAX_ROUTES = 40;

export function containersPanel(scene: Scene, deeds: Deeds): Node[] {
  const [id = ''] = scene.chosen;
  const { containers, connections, doors } = scene.picture;
  const [container, connection, door] = [containers.get(id), connections.get(id), doors.get(id)];
  if (container !== undefined) return containerFacts(scene, deeds, container);
  if (connection !== undefined) return connectionFacts(scene, deeds, connection);
  if (door !== undefined) return doorFacts(deeds, door);
  if (id.startsWith('host/')) return hostFacts(scene, deeds, id.slice('host/'.length));
  if (id === OUTSIDE) return outsideFacts(scene, deeds);
  if (id !== '') return [title('Gone', deeds), el('p', { class: 'note' }, 'What was chosen is there no more.')];
  return allContainers(scene, deeds);
}

function allContainers(scene: Scene, deeds: Deeds): Node[] {
  const { world, picture, search } = scene;
  const found = [...picture.containers.values()].filter((each) => isFound(each, search));
  const hosts = [...world.hosts.keys()].sort(compare);
  if (picture.containers.size === 0) return [el('p', { class: 'note' }, 'No container is in a DaoliNet network yet.')];
  if (found.length === 0) return [el('p', { class: 'note' }, `No container is like “${search}”.`)];
  return hosts.flatMap((host) => {
    const own = found.filter((each) => each.host === host).sort((a, b) => compare(a.name, b.name));
    if (own.length === 0) return [];
    return [el('h3', {}, host), el('ul', { class: 'rows' }, ...own.map((each) => containerRow(scene, deeds, each)))];
  });
}

/** By its name, its id, an address, a network, or a label. */
export function isFound({ name, containerId, endpoints, labels }: Container, search: string): boolean {
  const wanted = search.trim().toLowerCase();
  if (wanted === '') return true;
  const words = endpoints.flatMap(({ address, network }) => [address, network]);
  const marks = Object.entries(labels).map(([key, value]) => `${key}=${value}`);
  const isIn = [name, ...words, ...marks].some((word) => word.toLowerCase().includes(wanted));
  return isIn || (wanted.length >= 4 && containerId.startsWith(wanted));
}

function containerRow({ picture, colours }: Scene, deeds: Deeds, container: Container): HTMLElement {
  const live = picture.talks.get(container.id)?.length ?? 0;
  const networks = container.endpoints.map(({ network }) => network).join(', ');
  return el(
    'li',
    { 'data-key': container.id },
    ...container.networks.slice(0, 3).map((network) => swatch(colours.of(network))),
    el('button', { type: 'button', class: 'link', onclick: () => deeds.choose([container.id]) }, container.name),
    el('span', { class: 'end' }, live === 0 ? networks : `${networks} · talks to ${live}`),
  );
}

function containerFacts(scene: Scene, deeds: Deeds, container: Container): Node[] {
  const { endpoints, ports, labels, service, containerId, host } = container;
  const own = scene.picture.talks.get(container.id) ?? [];
  const partner = el('button', { type: 'button', onclick: () => deeds.choosePartner() }, 'Pair with another…');
  return [
    title(container.name, deeds),
    facts({
      Host: host,
      Container: el('code', {}, containerId.slice(0, SHOWN_ID)),
      Service: service,
      State: container.isJoined ? null : 'not started yet, or stopped',
    }),
    ...endpoints.flatMap((endpoint, index) => [
      el('h3', {}, ...[swatch(scene.colours.of(container.networks[index] ?? '')), ` ${endpoint.network}`]),
      facts({
        Address: el('code', {}, endpoint.address),
        MAC: el('code', {}, endpoint.mac),
        Locator: el('code', {}, endpoint.locator),
        Tenant: endpoint.tenant === 'default' ? null : endpoint.tenant,
        Interface: el('code', {}, `${endpoint.interface} (port ${endpoint.portNo})`),
      }),
    ]),
    ...listed(
      'Published',
      ports.map(({ hostIp, hostPort, containerPort, protocol }) => {
        const address = hostIp === '0.0.0.0' ? '' : hostIp;
        return el('li', {}, el('code', {}, `${host} ${address}:${hostPort} → ${containerPort}/${protocol}`));
      }),
    ),
    ...listed(
      'Labels',
      Object.entries(labels).map(([key, value]) => el('li', {}, el('code', { class: 'grow' }, `${key}=${value}`))),
    ),
    ...talks(scene, deeds, own, container.id),
    el('div', { class: 'buttons' }, partner),
  ];
}

function talks(scene: Scene, deeds: Deeds, connections: readonly Connection[], self: string): Node[] {
  const { picture, now } = scene;
  if (connections.length === 0) {
    return [el('h3', {}, 'Live routes'), el('p', { class: 'quiet' }, 'None: it talks to nobody.')];
  }
  const ordered = [...connections].sort((a, b) => b.activeAt - a.activeAt).slice(0, MAX_ROUTES);
  const rows = ordered.map((connection) => {
    const peer = connection.one === self ? connection.other : connection.one;
    const name = picture.containers.get(peer)?.name ?? 'outside';
    return el(
      'li',
      { 'data-key': connection.id },
      el('button', { type: 'button', class: 'link', onclick: () => deeds.choose([connection.id]) }, name),
      el(
        'span',
        { class: 'end' },
        `${count(connection.packets, 'packet')} · idle ${duration(now - connection.activeAt)}`,
      ),
    );
  });
  return listed('Live routes', rows);
}

function connectionFacts(scene: Scene, deeds: Deeds, connection: Connection): Node[] {
  const { picture, world, now } = scene;
  const nameOf = (node: string) => picture.containers.get(node)?.name ?? 'outside';
  const endName = (endpoint: string | undefined, outside = 'outside') =>
    endpoint === undefined ? outside : nameOf(picture.nodeOf.get(endpoint) ?? '');
  const places = new Set([connection.one, connection.other].map((node) => picture.containers.get(node)?.host));
  places.delete(undefined);
  const rows = connection.routes.slice(0, MAX_ROUTES).map((route) => {
    const outside = route.conversation?.outsideAddress;
    return el(
      'li',
      {},
      el('span', { class: 'grow' }, `${endName(route.source, outside)} → ${endName(route.destination, outside)}`),
      el('span', { class: 'tag' }, traffic(route)),
      el('span', { class: 'end' }, `${route.packets ?? 0}`),
    );
  });
  const open = (node: string) =>
    node === OUTSIDE
      ? el('span', {}, 'outside')
      : el('button', { type: 'button', class: 'link', onclick: () => deeds.choose([node]) }, nameOf(node));
  return [
    title(`${nameOf(connection.one)} ↔ ${nameOf(connection.other)}`, deeds),
    facts({
      Between: el('span', {}, open(connection.one), ' and ', open(connection.other)),
      Hosts: [...places].join(' and ') || null,
      Way: connection.isTunnelled ? 'encrypted, by a tunnel' : null,
      Age: duration(now - connection.bornAt),
      Idle: duration(now - connection.activeAt),
      Packets: `${connection.packets}${rate(connection)}`,
      Bytes: size(connection.bytes),
      'Seen on': [...new Set(connection.routes.map(({ seenOn }) => seenOn))].join(', ') || world.host,
    }),
    ...listed('Routes, and their packets', rows),
  ];
}

function rate({ packetsPerSecond }: Connection): string {
  return packetsPerSecond < 0.5 ? '' : ` (${Math.round(packetsPerSecond)} a second)`;
}

function hostFacts(scene: Scene, deeds: Deeds, name: string): Node[] {
  const { world, picture } = scene;
  const host = world.hosts.get(name);
  if (host === undefined) return [title('Gone', deeds)];
  const own = [...picture.containers.values()].filter((each) => each.host === name);
  const sight = world.sights.get(name);
  return [
    title(name, deeds),
    facts({
      Address: host.address === null ? null : el('code', {}, host.address),
      Site: host.site,
      Role: host.isServer ? `server${host.member === null ? '' : ` (${host.member})`}` : 'client',
      Locators: el('code', {}, host.locators.join(' ')),
      Containers: String(own.length),
      Routes: sight === undefined || sight.problem !== null ? 'not seen from here' : String(sight.routes.size),
    }),
    ...(sight?.problem == null ? [] : [el('p', { class: 'error' }, sight.problem)]),
    ...listed(
      'Containers',
      own.sort((a, b) => compare(a.name, b.name)).map((each) => containerRow(scene, deeds, each)),
    ),
  ];
}

function doorFacts(deeds: Deeds, { name, host, hostPort, protocol, container, containerPort, status }: Door): Node[] {
  return [
    title(name, deeds),
    facts({
      Port: el('code', {}, `${host}:${hostPort}/${protocol}`),
      To: el('code', {}, `${container}:${containerPort}`),
      Status: status ?? 'not seen by its host yet',
    }),
  ];
}

function outsideFacts(scene: Scene, deeds: Deeds): Node[] {
  const own = scene.picture.talks.get(OUTSIDE) ?? [];
  return [
    title('Outside', deeds),
    el('p', { class: 'note' }, 'All that is no container: the hosts themselves, and what lies behind them.'),
    ...talks(scene, deeds, own, OUTSIDE),
  ];
}

/** With what closes it. */
export function title(text: string, { choose }: Deeds): HTMLElement {
  const close = el(
    'button',
    { type: 'button', class: 'small', 'aria-label': 'Show all', onclick: () => choose([]) },
    '✕',
  );
  return el('div', { class: 'title' }, el('h2', {}, text), close);
}

function facts(lines: Readonly<Record<string, Node | string | null>>): HTMLElement {
  const shown = Object.entries(lines).filter(([, value]) => value !== null);
  return el('dl', { class: 'facts' }, ...shown.flatMap(([name, value]) => [el('dt', {}, name), el('dd', {}, value)]));
}

function listed(heading: string, rows: readonly Node[]): Node[] {
  return rows.length === 0 ? [] : [el('h3', {}, heading), el('ul', { class: 'rows' }, ...rows)];
}
