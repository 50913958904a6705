// Whom a rule means, as text and as a value: "any", "container:web", "container:h1/web", "service:shop_web", "network:shop",
// "group:g", "label:app", "label:app=web", "10.1.0.0/16". By names, so that a rule holds for what is made again under its
// name.

import { cidrHolds, formatCidr, parseCidr, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';

export type Selector =
  | { readonly kind: 'any' }
  /** Without a host: on whichever it runs. */
  | { readonly kind: 'container'; readonly name: string; readonly host: string | undefined }
  | { readonly kind: 'service'; readonly name: string }
  | { readonly kind: 'network'; readonly name: string }
  | { readonly kind: 'group'; readonly name: string }
  | { readonly kind: 'label'; readonly key: string; readonly value: string | undefined }
  | { readonly kind: 'cidr'; readonly cidr: Cidr };

/** What is known of an endpoint. */
export interface Subject {
  readonly address: Ipv4;
  readonly host: string;
  readonly network: SubjectNetwork;
  /** Undefined for some milliseconds after its start: Docker tells names later. Then its service and labels are unknown, too. */
  readonly containerName: string | undefined;
  readonly service: string | undefined;
  readonly labels: ReadonlyMap<string, string>;
}

export interface SubjectNetwork {
  readonly id: string;
  /** Undefined until Docker has told it. */
  readonly name: string | undefined;
  readonly isDefaultDeny: boolean;
  /** The names of the groups that it is in. */
  readonly groups: ReadonlySet<string>;
}

/** `maybe`: it depends on a name that is not known yet. */
export type Match = 'yes' | 'no' | 'maybe';

const KINDS = ['container', 'service', 'network', 'group', 'label'] as const;
export const SELECTOR_FORMS =
  'any, container:NAME, container:HOST/NAME, service:NAME, network:NAME, group:NAME, label:KEY=VALUE, or a prefix like 10.1.0.0/16';

/** Reads a selector with its kind in front. Undefined for a bare name. Throws `invalid` where what follows makes no sense. */
export function parseSelector(text: string): Selector | undefined {
  if (text === 'any') return { kind: 'any' };
  if (/^[0-9.]+(\/\d+)?$/.test(text))
    return { kind: 'cidr', cidr: parseCidr(text.includes('/') ? text : `${text}/32`) };
  const [, kind, rest = ''] = /^([a-z]+):(.*)$/s.exec(text) ?? [];
  if (kind === undefined) return undefined;
  const known = KINDS.find((each) => each === kind);
  if (known === undefined || rest === '') {
    throw new DaoliError('invalid', `"${text}" selects nothing: it is ${SELECTOR_FORMS}`, text);
  }
  if (known === 'label') {
    const [key = '', ...value] = rest.split('=');
    return { kind: 'label', key, value: value.length === 0 ? undefined : value.join('=') };
  }
  if (known !== 'container') return { kind: known, name: rest };
  const [host, name] = rest.split('/', 2);
  return name === undefined ? { kind: 'container', name: rest, host: undefined } : { kind: 'container', name, host };
}

/** The text that parseSelector reads. */
export function formatSelector(selector: Selector): string {
  switch (selector.kind) {
    case 'any':
      return 'any';
    case 'container':
      return `container:${selector.host === undefined ? '' : `${selector.host}/`}${selector.name}`;
    case 'label':
      return `label:${selector.key}${selector.value === undefined ? '' : `=${selector.value}`}`;
    case 'cidr':
      return formatCidr(selector.cidr);
    default:
      return `${selector.kind}:${selector.name}`;
  }
}

/** Whether a selector means an endpoint. */
export function matchSubject(selector: Selector, subject: Subject): Match {
  switch (selector.kind) {
    case 'any':
      return 'yes';
    case 'network':
      return subject.network.name === undefined ? 'maybe' : yesOrNo(subject.network.name === selector.name);
    case 'group':
      return yesOrNo(subject.network.groups.has(selector.name));
    case 'cidr':
      return yesOrNo(cidrHolds(selector.cidr, subject.address));
    case 'container':
      if (selector.host !== undefined && selector.host !== subject.host) return 'no';
      return whenNamed(subject, subject.containerName === selector.name);
    case 'service':
      return whenNamed(subject, subject.service === selector.name);
    case 'label': {
      const value = subject.labels.get(selector.key);
      return whenNamed(subject, value !== undefined && (selector.value ?? value) === value);
    }
  }
}

/** Whether a selector means an address outside: names are those of containers. */
export function matchOutside(selector: Selector, address: Ipv4): boolean {
  return selector.kind === 'any' || (selector.kind === 'cidr' && cidrHolds(selector.cidr, address));
}

/** Whether it may mean some address outside. */
export function mayBeOutside({ kind }: Selector): boolean {
  return kind === 'any' || kind === 'cidr';
}

/** Whether all that `narrow` means, whatever exists, is also meant by `wide`. */
export function covers(wide: Selector, narrow: Selector): boolean {
  if (wide.kind === 'any' || formatSelector(wide) === formatSelector(narrow)) return true;
  if (wide.kind === 'cidr' && narrow.kind === 'cidr') {
    return wide.cidr.prefix <= narrow.cidr.prefix && cidrHolds(wide.cidr, narrow.cidr.base);
  }
  if (wide.kind === 'container' && narrow.kind === 'container') {
    return wide.host === undefined && wide.name === narrow.name;
  }
  return wide.kind === 'label' && narrow.kind === 'label' && wide.key === narrow.key && wide.value === undefined;
}

function whenNamed({ containerName }: Subject, matches: boolean): Match {
  return containerName === undefined ? 'maybe' : yesOrNo(matches);
}

function yesOrNo(matches: boolean): Match {
  return matches ? 'yes' : 'no';
}
