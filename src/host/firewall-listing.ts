// Reads what `nft list table` prints, to tell whether the table is as we left it. Rules are compared with the listing of the time when
// they were made, since nft words them its own way; elements are compared with what is wanted. Pure.

import type { FilterCounts } from './host';
import { elementText, PROTOCOL_NUMBERS, type Element } from './firewall-rules';

export interface Listing {
  /** Everything but elements, in one line. */
  readonly rules: string;
  /** The elements of each map and set, each as in elementKey(). */
  readonly elements: ReadonlySet<string>;
}

/** Reads the output of `nft -s list table`. */
export function parseListing(listing: string): Listing {
  const elements = new Set<string>();
  const rules = listing.replace(
    /(set|map) (\w+) \{([^{}]*)elements = \{([^{}]*)\}/g,
    (_, kind: string, object: string, head: string, list: string) => {
      for (const text of list.split(',')) elements.add(normalized(object, text));
      return `${kind} ${object} {${head}`;
    },
  );
  return { rules: rules.split(/\s+/).join(' '), elements };
}

/** Reads the output of `nft list counters`. */
export function parseCounters(listing: string): FilterCounts {
  const counters = listing.matchAll(/counter (\w+) \{\s*packets (\d+) bytes (\d+)/g);
  return Object.fromEntries(
    [...counters].map(([, name = '', packets, bytes]) => [name, { packets: Number(packets), bytes: Number(bytes) }]),
  );
}

/** True where a map or set holds exactly what is wanted. */
export function holdsElements(listing: Listing, wanted: readonly Element[]): boolean {
  const keys = new Set(wanted.map((element) => normalized(element.object, elementText(element))));
  return keys.size === listing.elements.size && [...keys].every((key) => listing.elements.has(key));
}

/** nft prints protocols by name where it knows them, a prefix of one address as the address, and breaks lines where it likes. */
function normalized(object: string, text: string): string {
  const words = text
    .trim()
    .split(/\s+/)
    .map((word) => (word in PROTOCOL_NUMBERS ? String(PROTOCOL_NUMBERS[word as 'tcp']) : word.replace(/\/32$/, '')));
  return `${object} ${words.join(' ')}`;
}
