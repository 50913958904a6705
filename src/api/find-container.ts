// Which container somebody means: by its name, by its id or the beginning of it (four digits at least), or by either with the
// host in front, as in `h1/web`. Every command that takes a container asks here, so that all refuse in the same words.

import { DaoliError } from '../base/errors';
import { didYouMean } from '../base/similar-names';
import type { EndpointRow } from '../directory/rows';
import type { DirectoryView } from '../directory/view';

export interface FoundContainer {
  readonly containerId: string;
  /** Undefined until Docker has told it. */
  readonly name: string | undefined;
  readonly host: string;
  /** One for each of its networks, in the order of the networks' names. */
  readonly endpoints: readonly EndpointRow[];
}

const ID_PREFIX = /^[0-9a-f]{4,64}$/;
const SHOWN_ID = 12;
const MAX_LISTED = 10;

/** Every container that the directory has here. */
export function containersOf(view: DirectoryView): FoundContainer[] {
  const byContainer = new Map<string, EndpointRow[]>();
  for (const endpoint of view.endpoints()) {
    const { containerId, host } = endpoint;
    if (containerId === undefined) continue;
    const key = `${host}/${containerId}`;
    const others = byContainer.get(key);
    if (others === undefined) byContainer.set(key, [endpoint]);
    else others.push(endpoint);
  }
  return [...byContainer.values()].map((endpoints) => describe(view, endpoints));
}

function describe(view: DirectoryView, unordered: readonly EndpointRow[]): FoundContainer {
  const nameOf = ({ networkId }: EndpointRow) => view.network(networkId)?.name ?? networkId;
  const endpoints = [...unordered].sort((a, b) => (nameOf(a) < nameOf(b) ? -1 : 1));
  const name = endpoints.find(({ containerName }) => containerName !== undefined)?.containerName;
  return { containerId: endpoints[0]?.containerId ?? '', name, host: endpoints[0]?.host ?? '', endpoints };
}

/** "h1/web", or with the beginning of its id where it has no name. */
export function containerLabel({ host, name, containerId }: FoundContainer): string {
  return `${host}/${name ?? containerId.slice(0, SHOWN_ID)}`;
}

/**
 * The container that is meant. Throws `not-found`, with names that are like it, and `conflict` where there are several, which it
 * lists. A name goes before an id that begins the same.
 */
export function findContainer(view: DirectoryView, text: string): FoundContainer {
  const slash = text.indexOf('/');
  const [host, wanted] = slash < 0 ? [undefined, text] : [text.slice(0, slash), text.slice(slash + 1)];
  if (host !== undefined && view.host(host) === undefined) throw unknownHost(view, host);
  const all = containersOf(view).filter((container) => host === undefined || container.host === host);
  const named = all.filter(({ name }) => name === wanted);
  const matching = named.length > 0 || !ID_PREFIX.test(wanted) ? named : withId(all, wanted);
  const [found, ...others] = matching;
  if (found === undefined) throw unknown(view, text, wanted, all);
  if (others.length > 0) throw ambiguous(text, matching);
  return found;
}

export function unknownHost(view: DirectoryView, host: string): DaoliError {
  const hosts = [...view.hosts()].map(({ name }) => name);
  return new DaoliError('not-found', `there is no host ${host}${didYouMean(host, hosts)}`, host);
}

function withId(all: readonly FoundContainer[], id: string): FoundContainer[] {
  return all.filter(({ containerId }) => containerId.startsWith(id));
}

function unknown(view: DirectoryView, text: string, wanted: string, all: readonly FoundContainer[]): DaoliError {
  const names = all.flatMap(({ name }) => name ?? []);
  const hint = didYouMean(wanted, names);
  const rest = view.isWhole
    ? ''
    : ' (this host knows only those that its own containers may talk to; a server knows all)';
  return new DaoliError('not-found', `no container ${text} is in a DaoliNet network${hint}${rest}`, text);
}

function ambiguous(text: string, matching: readonly FoundContainer[]): DaoliError {
  const labels = matching.map((each) => `${containerLabel(each)} (${each.containerId.slice(0, SHOWN_ID)})`).sort();
  const shown = labels.slice(0, MAX_LISTED).join(', ');
  const more = labels.length > MAX_LISTED ? ` and ${labels.length - MAX_LISTED} more` : '';
  return new DaoliError('conflict', `${text} is ${labels.length} containers: ${shown}${more}; say which`, text);
}

/**
 * One of a container's endpoints: the only one, or that in `network`, by name or id. Throws `conflict` where it has to be said
 * which, and `not-found` where it is not in that network.
 */
export function endpointIn(view: DirectoryView, container: FoundContainer, network: string | undefined): EndpointRow {
  const nameOf = ({ networkId }: EndpointRow) => view.network(networkId)?.name ?? networkId;
  const label = containerLabel(container);
  const names = container.endpoints.map(nameOf);
  const found = container.endpoints.filter(
    (each) => network === undefined || nameOf(each) === network || each.networkId === network,
  );
  const [endpoint, ...others] = found;
  if (endpoint === undefined) {
    const where = `${label} is not in network ${network ?? ''}, but in ${names.join(', ')}`;
    throw new DaoliError('not-found', `${where}${didYouMean(network ?? '', names)}`, network);
  }
  if (others.length === 0) return endpoint;
  throw new DaoliError('conflict', `${label} is in ${names.join(', ')}: say which network`, label);
}
