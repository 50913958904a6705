// Docker sets the policy of iptables' FORWARD chain to DROP, and an accept in a table of our own does not overrule that. This
// says which rules are missing where. Pure: a listing of `iptables -S` in, arguments for iptables out.

/** What one flavour of iptables (nft or legacy) has now. A flavour that is not in use has empty lists. */
export interface ForwardListing {
  /** Lines of `iptables -S FORWARD`. */
  readonly forward: readonly string[];
  /** Lines of `iptables -S DOCKER-USER`; empty where there is no such chain. */
  readonly dockerUser: readonly string[];
}

const CHAIN = { forward: 'FORWARD', dockerUser: 'DOCKER-USER' } as const;

/** Both directions are accepted here: what may pass in truth is decided in the table `inet daolinet`. */
function ruleTexts(interfaces: readonly string[]): string[] {
  return interfaces.flatMap((name) =>
    ['-i', '-o'].map((direction) => `${direction} ${name} -m comment --comment daolinet -j ACCEPT`),
  );
}

/** Reads the output of `iptables -S CHAIN` for FORWARD and then DOCKER-USER. Comments and warnings are left out. */
export function parseForwardListing(output: string): ForwardListing {
  // The nft flavour prints a comment of one word with quotes in some versions.
  const lines = output.split('\n').map((line) => line.trim().replaceAll('"daolinet"', 'daolinet'));
  const of = (chain: string): string[] =>
    lines.filter((line) => /^-[APN]$/.test(line.split(' ')[0] ?? '') && line.split(' ')[1] === chain);
  return { forward: of(CHAIN.forward), dockerUser: of(CHAIN.dockerUser) };
}

/**
 * The argument lists that make iptables accept what is forwarded to and from `interfaces`. In DOCKER-USER the rules go last, but
 * before its final RETURN: what the user put there decides first. Without that chain, and where the policy is DROP, they go to the
 * top of FORWARD.
 */
export function planForwardAcceptance(listing: ForwardListing, interfaces: readonly string[]): string[] {
  const usesDockerUser = listing.forward.includes(`-A ${CHAIN.forward} -j ${CHAIN.dockerUser}`);
  if (usesDockerUser && listing.dockerUser.length > 0) return planDockerUser(listing.dockerUser, interfaces);
  if (!listing.forward.includes(`-P ${CHAIN.forward} DROP`)) return [];
  return ruleTexts(interfaces)
    .filter((rule) => !listing.forward.includes(`-A ${CHAIN.forward} ${rule}`))
    .map((rule) => `-I ${CHAIN.forward} 1 ${rule}`);
}

function planDockerUser(lines: readonly string[], interfaces: readonly string[]): string[] {
  const rules = lines.filter((line) => line.startsWith('-A '));
  const end = rules.indexOf(`-A ${CHAIN.dockerUser} -j RETURN`);
  const reached = end < 0 ? rules : rules.slice(0, end);
  return ruleTexts(interfaces)
    .filter((rule) => !reached.includes(`-A ${CHAIN.dockerUser} ${rule}`))
    .map((rule) => (end < 0 ? `-A ${CHAIN.dockerUser} ${rule}` : `-I ${CHAIN.dockerUser} ${end + 1} ${rule}`));
}

/** The argument lists that take away every rule of ours, duplicates included. */
export function planForwardRemoval(listing: ForwardListing, interfaces: readonly string[]): string[] {
  const ours = Object.values(CHAIN).flatMap((chain) => ruleTexts(interfaces).map((rule) => `-A ${chain} ${rule}`));
  return [...listing.forward, ...listing.dockerUser]
    .filter((line) => ours.includes(line))
    .map((line) => line.replace(/^-A/, '-D'));
}
