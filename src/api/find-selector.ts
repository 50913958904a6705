// Whom somebody means in a rule, as a selector of src/policy: what has its kind in front is taken as it is where it could come to
// be later (containers, services, labels), and has to be there else; a bare name is looked for.

import { DaoliError } from '../base/errors';
import { didYouMean } from '../base/similar-names';
import type { DirectoryView } from '../directory/view';
import { existingGroup } from '../policy/rule-writer';
import { formatSelector, parseSelector, SELECTOR_FORMS, type Selector } from '../policy/selector';
import { containersOf, findContainer, unknownHost, type FoundContainer } from './find-container';
import { findNetwork } from './find-network';

/** As Docker takes them. */
const CONTAINER_NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** Throws `invalid`, `not-found` and `conflict`, saying what it could be. */
export function findSelector(view: DirectoryView, text: string): Selector {
  const selector = parseSelector(text);
  if (selector === undefined) return findBare(view, text);
  if (selector.kind === 'network') return ofNetwork(view, selector.name);
  if (selector.kind === 'group') existingGroup(view, selector.name);
  checkPossible(selector, text);
  if (selector.kind === 'container' && selector.host !== undefined && view.host(selector.host) === undefined) {
    throw unknownHost(view, selector.host);
  }
  return selector;
}

/** One side of a pair: a container, or a service. */
export function findPairSide(view: DirectoryView, text: string): Selector {
  const selector = parseSelector(text) ?? findContainerOrService(view, text) ?? findBare(view, text);
  checkPossible(selector, text);
  if (selector.kind === 'container' || selector.kind === 'service') return selector;
  const remedy = 'for others there is `daolictl policy add`';
  throw new DaoliError(
    'invalid',
    `${formatSelector(selector)} is no container: pairs are of containers; ${remedy}`,
    text,
  );
}

/** Refuses what nothing could ever be called: a rule about it would look as if it held. */
function checkPossible(selector: Selector, text: string): void {
  if (/\p{Cc}/u.test(text)) throw new DaoliError('invalid', 'whom a rule is about has no control characters', text);
  if (selector.kind === 'label' && selector.key === '') {
    throw new DaoliError('invalid', `"${text}" is a label without a name: it is label:KEY or label:KEY=VALUE`, text);
  }
  if (selector.kind !== 'container' || (CONTAINER_NAME.test(selector.name) && text.split('/').length <= 2)) return;
  throw new DaoliError('invalid', `"${text}" is no container: its name is letters, digits, "_", "." and "-"`, text);
}

function findBare(view: DirectoryView, text: string): Selector {
  const container = findContainerOrService(view, text);
  const isNetwork = [...view.networks()].some(({ name, id }) => name === text || id === text);
  if (container !== undefined && isNetwork) {
    const both = `${formatSelector(container)} or network:${text}`;
    throw new DaoliError('conflict', `${text} is a ${container.kind} and a network: say ${both}`, text);
  }
  if (isNetwork) return ofNetwork(view, text);
  if (container === undefined) throw unknown(view, text);
  return container;
}

function findContainerOrService(view: DirectoryView, text: string): Selector | undefined {
  if (servicesOf(view).has(text)) {
    const isContainer = containersOf(view).some(({ name }) => name === text);
    if (!isContainer) return { kind: 'service', name: text };
  }
  try {
    return containerSelector(findContainer(view, text), text);
  } catch (error) {
    if (error instanceof DaoliError && error.code === 'not-found' && !text.includes('/')) return undefined;
    throw error;
  }
}

/** By its name, which it has again when it is made again; with its host where that was given. */
function containerSelector({ name, host, containerId }: FoundContainer, text: string): Selector {
  if (name === undefined) {
    throw new DaoliError(
      'unavailable',
      `the name of container ${containerId.slice(0, 12)} is not known yet: try again`,
    );
  }
  return { kind: 'container', name, host: text.includes('/') ? host : undefined };
}

function ofNetwork(view: DirectoryView, text: string): Selector {
  const { name } = findNetwork(view, text);
  if (name === undefined)
    throw new DaoliError('unavailable', `the name of network ${text} is not known yet: try again`);
  return { kind: 'network', name };
}

/** The services that containers are of. */
export function servicesOf(view: DirectoryView): ReadonlySet<string> {
  const services = new Set<string>();
  for (const { service } of view.endpoints()) if (service !== undefined) services.add(service);
  return services;
}

function unknown(view: DirectoryView, text: string): DaoliError {
  const containers = containersOf(view).flatMap(({ name }) => name ?? []);
  const networks = [...view.networks()].flatMap(({ name }) => name ?? []);
  const hint = didYouMean(text, [...containers, ...servicesOf(view), ...networks]);
  const forms = hint === '' ? `; a rule may name ${SELECTOR_FORMS}` : hint;
  return new DaoliError('not-found', `there is no container, service or network ${text}${forms}`, text);
}
