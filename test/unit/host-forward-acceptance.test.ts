// Which accept rules are missing in iptables, for every state that Docker, a user or a firewall tool can leave it in.
import { parseForwardListing, planForwardAcceptance, planForwardRemoval } from '../../src/host/forward-acceptance';

const IN = '-i daoli0 -m comment --comment daolinet -j ACCEPT';
const OUT = '-o daoli0 -m comment --comment daolinet -j ACCEPT';

const DOCKER = `-P FORWARD DROP
-A FORWARD -j DOCKER-USER
-A FORWARD -j DOCKER-ISOLATION-STAGE-1
-A FORWARD -o docker0 -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
-N DOCKER-USER
-A DOCKER-USER -j RETURN
`;

const CASES: Record<string, { listing: string; plan: string[] }> = {
  'no rules at all': { listing: '', plan: [] },
  'nothing is dropped': { listing: '-P FORWARD ACCEPT\n', plan: [] },
  'Docker as it starts': { listing: DOCKER, plan: [`-I DOCKER-USER 1 ${IN}`, `-I DOCKER-USER 1 ${OUT}`] },
  'Docker 28, whose chain has no RETURN': {
    listing: DOCKER.replace('-A DOCKER-USER -j RETURN\n', ''),
    plan: [`-A DOCKER-USER ${IN}`, `-A DOCKER-USER ${OUT}`],
  },
  "the user's own rules come first": {
    listing: DOCKER.replace(
      '-A DOCKER-USER -j RETURN',
      '-A DOCKER-USER -s 192.0.2.66/32 -j DROP\n-A DOCKER-USER -j RETURN',
    ),
    plan: [`-I DOCKER-USER 2 ${IN}`, `-I DOCKER-USER 2 ${OUT}`],
  },
  'one is there': {
    listing: DOCKER.replace('-A DOCKER-USER -j RETURN', `-A DOCKER-USER ${OUT}\n-A DOCKER-USER -j RETURN`),
    plan: [`-I DOCKER-USER 2 ${IN}`],
  },
  'one stands where nothing reaches it': {
    listing: `${DOCKER}-A DOCKER-USER ${IN}\n-A DOCKER-USER ${OUT}\n`,
    plan: [`-I DOCKER-USER 1 ${IN}`, `-I DOCKER-USER 1 ${OUT}`],
  },
  'quotes around the comment': {
    listing: DOCKER.replace(
      '-A DOCKER-USER -j RETURN',
      [IN, OUT].map((rule) => `-A DOCKER-USER ${rule.replace('daolinet', '"daolinet"')}`).join('\n'),
    ),
    plan: [],
  },
  'FORWARD drops without Docker': {
    listing: '-P FORWARD DROP\n-A FORWARD -j ufw-before-forward\n',
    plan: [`-I FORWARD 1 ${IN}`, `-I FORWARD 1 ${OUT}`],
  },
  'a chain of Docker that nothing jumps to': {
    listing: '-P FORWARD DROP\n-N DOCKER-USER\n-A DOCKER-USER -j RETURN\n',
    plan: [`-I FORWARD 1 ${IN}`, `-I FORWARD 1 ${OUT}`],
  },
  'a policy of ACCEPT with a chain of Docker': {
    listing: DOCKER.replace('DROP', 'ACCEPT'),
    plan: [`-I DOCKER-USER 1 ${IN}`, `-I DOCKER-USER 1 ${OUT}`],
  },
};

/** What iptables lists after the commands of a plan. */
function apply(listing: string, plan: readonly string[]): string {
  const lines = listing.split('\n').filter(Boolean);
  for (const command of plan) {
    const [, verb, chain, number, rule] = /^-([AID]) (\S+)(?: (\d+))? (-[io] .*)$/.exec(command) ?? [];
    const line = `-A ${chain} ${rule}`;
    const inChain = lines.flatMap((each, index) => (each.startsWith(`-A ${chain} `) ? [index] : []));
    if (verb === 'D') lines.splice(lines.indexOf(line), 1);
    else if (verb === 'A') lines.push(line);
    else lines.splice(inChain[Number(number) - 1] ?? lines.length, 0, line);
  }
  return `${lines.join('\n')}\n`;
}

describe.each(Object.entries(CASES))('%s', (_, { listing, plan }) => {
  test('what is missing', () => {
    expect(planForwardAcceptance(parseForwardListing(listing), ['daoli0'])).toEqual(plan);
  });

  test('after that nothing is missing, and all of it can be taken away again', () => {
    const after = apply(listing, plan);
    expect(planForwardAcceptance(parseForwardListing(after), ['daoli0'])).toEqual([]);
    const removed = apply(after, planForwardRemoval(parseForwardListing(after), ['daoli0']));
    expect(removed).not.toContain('-j ACCEPT -m');
    expect(parseForwardListing(removed).forward.filter((line) => line.includes('daoli0'))).toEqual([]);
    expect(parseForwardListing(removed).dockerUser.filter((line) => line.includes('daoli0'))).toEqual([]);
  });

  test('with tunnels besides, all of it comes and goes', () => {
    const interfaces = ['daoli0', 'daoli-wg+'];
    const wanted = planForwardAcceptance(parseForwardListing(listing), interfaces);
    expect(wanted.filter((rule) => rule.includes('daoli-wg+'))).toHaveLength(
      listing.includes('DROP') || plan.length ? 2 : 0,
    );
    const after = apply(listing, wanted);
    expect(planForwardAcceptance(parseForwardListing(after), interfaces)).toEqual([]);
    expect(apply(after, planForwardRemoval(parseForwardListing(after), interfaces))).not.toContain('daoli');
  });
});

test('warnings and other chains are not read', () => {
  const listing = parseForwardListing(
    '# Warning: iptables-legacy tables present\n-P INPUT DROP\n-N DOCKER-USER-MORE\n',
  );
  expect(listing).toEqual({ forward: [], dockerUser: [] });
});
