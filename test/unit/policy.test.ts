// Who may talk to whom: selectors as text, rules in their order, what is worked out beforehand against what a plain reading of
// the rules says, and the words for it.
import fc from 'fast-check';
import { parseIpv4 } from '../../src/base/addresses';
import type { PairRow, PolicyRow } from '../../src/directory/rows';
import { explain, explainOutside } from '../../src/policy/explain';
import { isConnected, PolicyBook } from '../../src/policy/policy-book';
import { coversRule, formatRule, policyRule, rulesOf, speaksOf, type Rule } from '../../src/policy/rule';
import {
  covers,
  formatSelector,
  matchOutside,
  matchSubject,
  parseSelector,
  type Selector,
  type Subject,
  type SubjectNetwork,
} from '../../src/policy/selector';

const [ICMP, TCP, UDP] = [1, 6, 17];

function network(name: string, changes: Partial<SubjectNetwork> = {}): SubjectNetwork {
  return { id: name.repeat(4), name, isDefaultDeny: false, groups: new Set(), ...changes };
}
const SHOP = network('shop');
const DATA = network('data');

function subject(containerName: string | undefined, changes: Partial<Subject> = {}): Subject {
  const address = parseIpv4('10.1.0.5');
  return { address, host: 'h1', network: SHOP, containerName, service: undefined, labels: new Map(), ...changes };
}

let named = 0;
function policy(text: string): PolicyRow {
  const [, action, from, to, protocol, ports] =
    /^(allow|deny) from (\S+) to (\S+)(?: (tcp|udp|sctp|icmp)(?:\/(\S+))?)?$/.exec(text) ?? [];
  named += 1;
  return {
    name: `p${named}`,
    position: named,
    action: action as PolicyRow['action'],
    from: from!,
    to: to!,
    protocol: protocol as PolicyRow['protocol'],
    ports: ports?.split(',') ?? [],
  } as unknown as PolicyRow;
}
const rules = (...texts: string[]) => rulesOf([], texts.map(policy));
const pair = (a: string, b: string, isConnected: boolean) => ({ a, b, isConnected, created: 0 }) as PairRow;
const book = (list: readonly Rule[]) => new PolicyBook(list, () => undefined);
function may(list: readonly Rule[], from: Subject, to: Subject, protocol = TCP, port = 80): boolean {
  const policies = book(list);
  const [source, destination] = [policies.subject(from), policies.subject(to)];
  const judgement = policies.judge(source, destination);
  if (judgement === 'depends') return policies.permits(source, destination, protocol, port);
  // Where it does not depend, the long way says the same.
  expect(policies.permits(source, destination, protocol, port)).toBe(judgement === 'allow');
  return judgement === 'allow';
}

describe('selectors', () => {
  test.each([
    'any',
    'container:web',
    'container:h1/web',
    'service:shop_web',
    'network:shop',
    'group:g',
    'label:app',
    'label:app=web',
    'label:note=a=b',
    '10.1.0.0/16',
  ])('%s', (text) => {
    expect(formatSelector(parseSelector(text)!)).toBe(text);
  });

  test('one address is a prefix of 32 bits', () => {
    expect(formatSelector(parseSelector('10.1.0.5')!)).toBe('10.1.0.5/32');
  });

  test.each(['contianer:web', 'network:', '10.1.0.5/16', '10.1.0.0/33'])('%s is refused', (text) => {
    expect(() => parseSelector(text)).toThrow(`"${text}"`);
  });

  test('a bare name has no kind', () => {
    expect(parseSelector('web')).toBeUndefined();
  });

  test.each([
    ['container:web', 'yes', 'maybe'],
    ['container:h2/web', 'no', 'no'],
    ['container:h1/web', 'yes', 'maybe'],
    ['service:shop_web', 'yes', 'maybe'],
    ['label:app', 'yes', 'maybe'],
    ['label:app=web', 'yes', 'maybe'],
    ['label:app=db', 'no', 'maybe'],
    ['network:shop', 'yes', 'yes'],
    ['network:data', 'no', 'no'],
    ['10.1.0.0/24', 'yes', 'yes'],
    ['10.2.0.0/24', 'no', 'no'],
  ])('%s means one whose name is known: %s, before that: %s', (text, known, unknown) => {
    const facts = { service: 'shop_web', labels: new Map([['app', 'web']]) };
    expect(matchSubject(parseSelector(text)!, subject('web', facts))).toBe(known);
    expect(matchSubject(parseSelector(text)!, subject(undefined))).toBe(unknown);
  });

  test.each([
    ['any', 'container:web', true],
    ['container:web', 'container:h1/web', true],
    ['container:h1/web', 'container:web', false],
    ['10.0.0.0/8', '10.1.0.0/16', true],
    ['10.1.0.0/16', '10.0.0.0/8', false],
    ['label:app', 'label:app=web', true],
    ['network:shop', 'container:web', false],
  ])('%s covers %s: %s', (wide, narrow, isCovered) => {
    expect(covers(parseSelector(wide)!, parseSelector(narrow)!)).toBe(isCovered);
  });
});

describe('without rules', () => {
  const inGroup = (name: string) => network(name, { groups: new Set(['g']) });
  test.each<[string, SubjectNetwork, SubjectNetwork, boolean]>([
    ['one network', SHOP, SHOP, true],
    ['two networks', SHOP, DATA, false],
    ['two of one group', inGroup('shop'), inGroup('data'), true],
    ['one that is default deny', network('shop', { isDefaultDeny: true }), network('shop'), false],
    ['one of a group that is default deny', { ...inGroup('shop'), isDefaultDeny: true }, inGroup('data'), false],
  ])('%s', (_title, from, to, isAllowed) => {
    expect(isConnected(from, to)).toBe(isAllowed);
    expect(may([], subject('a', { network: from }), subject('b', { network: to }))).toBe(isAllowed);
  });
});

describe('rules', () => {
  const [web, db] = [subject('web'), subject('db')];

  test('the first that speaks of a packet decides', () => {
    const list = rules(
      'deny from container:web to container:db tcp/22',
      'allow from any to any',
      'deny from any to any',
    );
    expect(may(list, web, db, TCP, 22)).toBe(false);
    expect(may(list, web, db, TCP, 23)).toBe(true);
    expect(may(list, web, db, UDP, 22)).toBe(true);
    expect(may(list, db, web, TCP, 22)).toBe(true);
  });

  test('ports and ranges; a protocol without ports', () => {
    const closed = network('shop', { isDefaultDeny: true });
    const [a, b] = [subject('a', { network: closed }), subject('b', { network: closed })];
    const list = rules('allow from any to any tcp/80,8000-8010', 'allow from any to any icmp');
    expect([79, 80, 81, 7999, 8000, 8010, 8011].filter((port) => may(list, a, b, TCP, port))).toEqual([80, 8000, 8010]);
    expect(may(list, a, b, ICMP, 0)).toBe(true);
    expect(may(list, a, b, UDP, 80)).toBe(false);
  });

  test('a pair goes before policies and networks, in both directions', () => {
    const other = subject('db', { network: DATA });
    const connected = rulesOf([pair('container:db', 'container:web', true)], [policy('deny from any to any')]);
    expect(may(connected, web, other)).toBe(true);
    expect(may(connected, other, web)).toBe(true);
    expect(may(rulesOf([pair('container:db', 'container:web', false)], []), web, db)).toBe(false);
  });

  test('of pairs, containers go before services, and no goes before yes', () => {
    const task = subject('web.1', { service: 'web' });
    const list = rulesOf(
      [pair('service:web', 'container:db', false), pair('container:db', 'container:web.1', true)],
      [],
    );
    expect(may(list, task, db)).toBe(true);
    expect(may(list, subject('web.2', { service: 'web' }), db)).toBe(false);
  });

  test('as long as a name is not known, what may deny it denies, and what may allow it does not', () => {
    const unnamed = subject(undefined);
    expect(may(rules('deny from container:web to any'), unnamed, db)).toBe(false);
    expect(may(rules('deny from container:web to container:db'), unnamed, subject('other'))).toBe(true);
    const closed = { network: network('shop', { isDefaultDeny: true }) };
    expect(may(rules('allow from container:web to any'), subject(undefined, closed), subject('b', closed))).toBe(false);
  });

  test('the same of a network whose name is not known', () => {
    const unnamed = subject('a', { network: { ...SHOP, name: undefined } });
    expect(may(rules('deny from network:shop to any'), unnamed, db)).toBe(false);
    expect(may(rules('allow from network:shop to any'), unnamed, subject('b', { network: DATA }))).toBe(false);
    expect(may(rules('allow from network:shop to any', 'deny from any to any'), unnamed, db)).toBe(false);
    const said = explain(book(rules('deny from network:shop to any')), unnamed, db, { protocol: TCP, port: 80 });
    expect(said.reason).toContain('is not known yet');
  });

  test('what cannot be read allows nothing, and denies all', () => {
    expect(may(rules('deny from planet:mars to any'), web, db)).toBe(false);
    expect(may(rules('allow from planet:mars to any'), web, subject('x', { network: DATA }))).toBe(false);
  });

  test('an endpoint that is not known is denied everything', () => {
    const policies = book([]);
    expect(policies.judge(policies.subjectOf('none'), policies.subject(web))).toBe('deny');
    expect(policies.judgeOutside(policies.subjectOf('none'), 'out')).toBe('deny');
  });

  test('endpoints that no rule tells apart are one subject', () => {
    const policies = book(rules('deny from label:app=web to network:data'));
    const labelled = (value: string) => policies.subject(subject('x', { labels: new Map([['app', value]]) }));
    expect(policies.subject(subject('a'))).toBe(policies.subject(subject('b')));
    expect(labelled('web')).not.toBe(labelled('db'));
    expect(labelled('web')).toBe(labelled('web'));
  });

  test('labels are read only where a rule is about labels', () => {
    const unread = {
      ...subject('x'),
      get labels(): never {
        throw new Error('read');
      },
    };
    expect(() => book(rules('deny from container:a to network:shop')).subject(unread)).not.toThrow();
    expect(() => book(rules('deny from label:a to network:shop')).subject(unread)).toThrow('read');
  });
});

describe('outside', () => {
  const address = parseIpv4('192.0.2.7');
  const out = (list: readonly Rule[], protocol = TCP, port = 443) => {
    const policies = book(list);
    const web = policies.subject(subject('web'));
    const judgement = policies.judgeOutside(web, 'out');
    return { judgement, isAllowed: policies.permitsOutside(web, 'out', address, protocol, port) };
  };

  test('is open where no rule speaks of it', () => {
    expect(out([])).toEqual({ judgement: 'allow', isAllowed: true });
    expect(out(rules('deny from any to network:data'))).toEqual({ judgement: 'allow', isAllowed: true });
  });

  test('is closed by rules to prefixes, or to any', () => {
    expect(out(rules('deny from network:shop to any'))).toEqual({ judgement: 'deny', isAllowed: false });
    expect(out(rules('deny from network:shop to 192.0.2.0/24'))).toEqual({ judgement: 'depends', isAllowed: false });
    expect(out(rules('deny from network:shop to 198.51.100.0/24'))).toEqual({ judgement: 'depends', isAllowed: true });
    const some = rules('allow from any to 192.0.2.0/24 tcp/443', 'deny from network:shop to any');
    expect(out(some)).toEqual({ judgement: 'depends', isAllowed: true });
    expect(out(some, TCP, 80).isAllowed).toBe(false);
  });

  test('who comes in from there', () => {
    const policies = book(rules('allow from 192.0.2.0/24 to container:web tcp/80', 'deny from any to container:web'));
    const web = policies.subject(subject('web'));
    expect(policies.judgeOutside(web, 'in')).toBe('depends');
    expect(policies.judgeOutside(web, 'out')).toBe('allow');
    expect(policies.permitsOutside(web, 'in', address, TCP, 80)).toBe(true);
    expect(policies.permitsOutside(web, 'in', parseIpv4('198.51.100.1'), TCP, 80)).toBe(false);
  });
});

describe('any rules, as a plain reading of them says', () => {
  const oneOf = <T>(...values: T[]) => fc.constantFrom(...values);
  const selectors = oneOf(
    'any',
    'container:a',
    'container:b',
    'container:h1/a',
    'service:s',
    'network:shop',
    'network:data',
    'group:g',
    'label:app',
    'label:app=x',
    '10.1.0.0/24',
    '10.1.0.5/32',
  );
  const someRule = fc
    .tuple(oneOf('allow', 'deny'), selectors, selectors, oneOf('', ' tcp/80', ' tcp/1-100', ' tcp', ' udp/53', ' icmp'))
    .map(([action, from, to, what]) => policyRule(policy(`${action} from ${from} to ${to}${what}`)));
  const someSubject = fc
    .record({
      containerName: oneOf('a', 'b', 'c', undefined),
      service: oneOf('s', undefined),
      labels: oneOf(new Map(), new Map([['app', 'x']]), new Map([['app', 'y']])),
      host: oneOf('h1', 'h2'),
      address: oneOf('10.1.0.5', '10.1.0.6', '10.2.0.5').map(parseIpv4),
      network: oneOf(
        SHOP,
        DATA,
        network('shop', { groups: new Set(['g']) }),
        network('data', { groups: new Set(['g']) }),
        network('shop', { name: undefined }),
      ),
    })
    .map((facts): Subject =>
      facts.containerName === undefined ? { ...facts, service: undefined, labels: new Map() } : facts,
    );
  const somePacket = oneOf([TCP, 80], [TCP, 443], [UDP, 53], [ICMP, 0], [47, 0]);

  function plainly(
    list: readonly Rule[],
    otherwise: boolean,
    meant: (rule: Rule) => 'yes' | 'no' | 'maybe',
    packet: number[],
  ) {
    for (const rule of list) {
      const match = meant(rule);
      if (match === 'no' || !speaksOf(rule, packet[0]!, packet[1]!)) continue;
      if (match === 'yes') return rule.action === 'allow';
      if (rule.action === 'deny') return false;
    }
    return otherwise;
  }

  test('between containers', () => {
    fc.assert(
      fc.property(
        fc.array(someRule, { maxLength: 8 }),
        someSubject,
        someSubject,
        somePacket,
        (list, from, to, packet) => {
          const meant = (rule: Rule) => {
            const sides = [matchSubject(rule.from, from), matchSubject(rule.to, to)];
            if (sides.includes('no')) return 'no';
            return sides.includes('maybe') ? 'maybe' : 'yes';
          };
          const expected = plainly(list, isConnected(from.network, to.network), meant, packet);
          expect(may(list, from, to, packet[0], packet[1])).toBe(expected);
          const said = explain(book(list), from, to, { protocol: packet[0]!, port: packet[1]! });
          expect(said.isAllowed).toBe(expected);
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('to and from the outside', () => {
    const someAddress = oneOf('10.1.0.5', '192.0.2.1').map(parseIpv4);
    fc.assert(
      fc.property(
        fc.array(someRule, { maxLength: 8 }),
        someSubject,
        oneOf<'in' | 'out'>('in', 'out'),
        someAddress,
        somePacket,
        (list, who, direction, address, packet) => {
          const meant = (rule: Rule) => {
            const [own, other]: [Selector, Selector] =
              direction === 'out' ? [rule.from, rule.to] : [rule.to, rule.from];
            return matchOutside(other, address) ? matchSubject(own, who) : 'no';
          };
          const expected = plainly(list, true, meant, packet);
          const policies = book(list);
          const number = policies.subject(who);
          expect(policies.permitsOutside(number, direction, address, packet[0]!, packet[1]!)).toBe(expected);
          const judgement = policies.judgeOutside(number, direction);
          if (judgement !== 'depends') expect(judgement === 'allow').toBe(expected);
          const opening = { protocol: packet[0]!, port: packet[1]! };
          expect(explainOutside(policies, who, direction, address, opening).isAllowed).toBe(expected);
        },
      ),
      { numRuns: 2000 },
    );
  });
});

describe('in words', () => {
  const why = (list: readonly Rule[], from: Subject, to: Subject, port = 80) =>
    explain(book(list), from, to, { protocol: TCP, port }).reason;

  test('a rule says what it says', () => {
    const [rule] = rules('allow from network:shop to container:db tcp/5432,6000-6010');
    expect(formatRule(rule!)).toBe('allow from network:shop to container:db tcp/5432,6000-6010');
  });

  test('who decides', () => {
    const [web, db] = [subject('web'), subject('db')];
    named = 0;
    expect(why(rules('deny from network:shop to container:db tcp/80'), web, db)).toBe(
      'policy p1: deny from network:shop to container:db tcp/80',
    );
    expect(why(rulesOf([pair('container:db', 'container:web', false)], []), web, db)).toBe(
      'pair db:web: deny from container:web to container:db',
    );
    expect(why([], web, db)).toBe('no rule says otherwise, and both are in network shop');
    expect(why([], web, subject('db', { network: DATA }))).toBe(
      'no rule allows it, and network shop and network data are in no group together',
    );
    const closed = subject('db', { network: network('data', { isDefaultDeny: true }) });
    expect(why([], web, closed)).toBe('no rule allows it, and network data is default deny');
  });

  test('a rule that is covered by another', () => {
    const [wide, narrow, other] = rules(
      'deny from any to any tcp',
      'allow from any to any tcp/80',
      'allow from any to any',
    );
    expect(coversRule(wide!, narrow!)).toBe(true);
    expect(coversRule(narrow!, wide!)).toBe(false);
    expect(coversRule(wide!, other!)).toBe(false);
  });
});

test('ten thousand endpoints and a thousand rules: as many subjects as rules tell apart', () => {
  const list = rules(...Array.from({ length: 1000 }, (_, n) => `deny from container:c${n} to network:n${n % 50}`));
  const policies = book(list);
  const numbers = Array.from({ length: 10_000 }, (_, n) => policies.subject(subject(`c${n}`)));
  expect(new Set(numbers).size).toBe(1001);
});
