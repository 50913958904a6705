// Which sites a lab is to have, as its command line and its tests say it.

/** A site as it is asked for. */
export interface SiteRequest {
  readonly name: string;
  readonly hosts: number;
  readonly isBehindNat: boolean;
  readonly isWithoutL2: boolean;
  /** Whether its hosts say so when they join. */
  readonly isToldOfL2: boolean;
}

/** What sites are like: names of those of which it is so. */
export interface SiteTraits {
  /** It has private addresses behind one public one, and nothing gets in that was not asked for. */
  readonly nat?: readonly string[];
  /** It passes no frames but those from and to the hosts' own interfaces. */
  readonly noL2?: readonly string[];
  /** The same, and its hosts have to find that out. */
  readonly dropMacs?: readonly string[];
}

/** More would have no public addresses. */
const MAX_SITES = 20;
const MAX_HOSTS = 99;
/** Interfaces are called by it, with a number of two digits; without digits no host of one site is called as one of another. */
const NAME = /^[a-z]{1,10}$/;

/** "dc:2,cloud:1" in numbers. Throws on anything else. */
export function parseSites(text: string): Record<string, number> {
  const sites = text.split(',').map((part) => {
    const [, name = '', hosts = ''] = /^([^:]+):(\d+)$/.exec(part) ?? [];
    if (name === '') throw new Error(`--sites ${text}: give names with numbers of hosts, such as dc:2,cloud:1,home:1`);
    return [name, Number(hosts)] as const;
  });
  const again = sites.find(([name], index) => sites.findIndex((other) => other[0] === name) !== index);
  if (again !== undefined) throw new Error(`the site ${again[0]} is there twice`);
  return Object.fromEntries(sites);
}

/** Throws on what cannot be. */
export function siteRequests(counts: Readonly<Record<string, number>>, traits: SiteTraits = {}): SiteRequest[] {
  const { nat = [], noL2 = [], dropMacs = [] } = traits;
  const names = Object.keys(counts);
  if (names.length > MAX_SITES) throw new Error(`there can be ${MAX_SITES} sites`);
  const unknown = [...nat, ...noL2, ...dropMacs].find((name) => !names.includes(name));
  if (unknown !== undefined) throw new Error(`there is no site ${unknown}; there are ${names.join(', ')}`);
  for (const [name, hosts] of Object.entries(counts)) {
    if (!NAME.test(name))
      throw new Error(`a site of the lab cannot be called ${name}: give it up to 10 letters from a to z`);
    if (hosts < 1 || hosts > MAX_HOSTS) throw new Error(`the site ${name} can have 1 to ${MAX_HOSTS} hosts`);
  }
  const [first] = names;
  if (first === undefined || nat.includes(first))
    throw new Error('the first site has the servers, so it cannot be behind NAT');
  return names.map((name) => ({
    name,
    hosts: counts[name] ?? 0,
    isBehindNat: nat.includes(name),
    isWithoutL2: noL2.includes(name) || dropMacs.includes(name),
    isToldOfL2: noL2.includes(name),
  }));
}

/** What the hosts of a site are called. */
export function hostNames({ name, hosts }: SiteRequest): string[] {
  return Array.from({ length: hosts }, (_, index) => `${name}${index + 1}`);
}
