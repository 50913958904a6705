// Words between the controllers of two hosts: as bytes, and over the door of a host on loopback.
import { connect, type TLSSocket } from 'node:tls';
import fc from 'fast-check';
import { parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import { silentLogger } from '../../src/base/logger';
import { TokenBucket } from '../../src/base/token-bucket';
import { Front } from '../../src/cluster/front';
import { planCertificates, planRemoval } from '../../src/cluster/membership';
import { WordSender, type WordSenderParts } from '../../src/cluster/word-sender';
import { WordTaker } from '../../src/cluster/word-taker';
import { encodeWord, WORD_BYTES, WordReader, WORDS_PROTOCOL, type RouteWord } from '../../src/cluster/words';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { freePort } from '../fakes/free-port';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const word = (n: number): RouteWord => ({ source: n as Ipv4, destination: (0xffffffff - n) as Ipv4 });

describe('as bytes', () => {
  test('one is ten bytes: the length of what follows, what is said, and two locators', () => {
    const bytes = encodeWord({ source: parseIpv4('100.64.0.2'), destination: parseIpv4('100.64.1.3') });
    expect(bytes.toString('hex')).toBe('0901' + '64400002' + '64400103');
    expect(bytes).toHaveLength(WORD_BYTES);
  });

  test('they are found in any chunks', () => {
    const bytes = Buffer.concat([1, 2, 3].map((n) => encodeWord(word(n))));
    for (let size = 1; size <= bytes.length; size += 1) {
      const found: (RouteWord | undefined)[] = [];
      const reader = new WordReader((each) => void found.push(each));
      for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
      expect(found).toEqual([word(1), word(2), word(3)]);
    }
  });

  test.each([
    ['nothing', '00'],
    ['a route without all of its locators', '08010000000100000002'],
  ])('what is none ends it: %s', (_, hex) => {
    const found: (RouteWord | undefined)[] = [];
    const reader = new WordReader((each) => void found.push(each));
    expect(() => reader.push(Buffer.concat([encodeWord(word(7)), Buffer.from(hex, 'hex')]))).toThrow('no word');
    expect(found).toEqual([word(7)]);
  });

  test.each([
    ['a word of its own', '0302abcd', undefined],
    ['a word as long as ours', '09020000000100000002', undefined],
    ['a word without more', '0102', undefined],
    ['more behind a route', '0b0100000001fffffffeabcd', word(1)],
  ])('what a later version says is passed over, in any chunks: %s', (_, hex, said) => {
    const bytes = Buffer.concat([encodeWord(word(7)), Buffer.from(hex, 'hex'), encodeWord(word(8))]);
    for (let size = 1; size <= bytes.length; size += 1) {
      const found: (RouteWord | undefined)[] = [];
      const reader = new WordReader((each) => void found.push(each));
      for (let at = 0; at < bytes.length; at += size) reader.push(bytes.subarray(at, at + size));
      expect(found).toEqual([word(7), said, word(8)]);
    }
  });

  test('random bytes are words, or one error', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
        let count = 0;
        const reader = new WordReader((each) => (count += each === undefined ? 0 : 1));
        try {
          for (const chunk of chunks) reader.push(Buffer.from(chunk));
        } catch (error) {
          expect(String(error)).toContain('no word');
        }
        expect(count).toBeLessThanOrEqual(chunks.reduce((sum, chunk) => sum + chunk.length, 0) / WORD_BYTES);
      }),
    );
  });
});

test('a bucket gives a burst, then its rate, and keeps no more than a burst', () => {
  const bucket = new TokenBucket(10, 3, 0);
  const taken = (now: number) => Array.from({ length: 5 }, () => bucket.take(now)).filter(Boolean).length;
  expect([taken(0), taken(0), taken(99), taken(100), taken(300), taken(60_000)]).toEqual([3, 0, 0, 1, 2, 3]);
});

describe('over the door', () => {
  const RATE = 50;
  const MAC = parseMac('02:da:00:00:00:fe');
  let authority: Identity;
  let h1: Identity;
  let h2: Identity;
  let store: MemoryDirectory;
  let front: Front;
  let taker: WordTaker;
  let port: number;
  const senders: WordSender[] = [];
  const sockets: TLSSocket[] = [];
  const heard: string[] = [];
  const warned: string[] = [];
  const logger = { ...silentLogger, warn: (message: string) => void warned.push(message) };

  async function identity(name: string): Promise<Identity> {
    const { request, key } = await createRequest(name);
    return { certificate: await issue(authority, request, name, Date.now()), key };
  }
  function certify(name: string, ...identities: Identity[]): Promise<void> {
    const fingerprints = identities.map(({ certificate }) => fingerprintOf(certificate));
    return store.transact((context) => ({ ops: planCertificates(context, name, fingerprints), result: undefined }));
  }
  const macOf = (name: string) => store.view.host(name)!.routerMac;

  beforeAll(async () => {
    authority = await createAuthority(Date.now());
    [h1, h2] = [await identity('h1'), await identity('h2')];
  });

  beforeEach(async () => {
    for (const list of [heard, warned]) list.length = 0;
    const database = createMemoryDatabase();
    const address = parseIpv4('127.0.0.1');
    store = createMemoryDirectory({ host: 'h1', database, address });
    createMemoryDirectory({ host: 'h2', database, address: parseIpv4('127.0.0.2') });
    await certify('h1', h1);
    await certify('h2', h2);
    port = await freePort();
    await open(h1);
  });

  /** h1's door: that of a client. */
  async function open(own: Identity): Promise<void> {
    taker = new WordTaker({
      take: (mac: Mac, { source }) => void heard.push(`${mac === macOf('h2') ? 'h2' : mac} ${source}`),
      hostRow: (name) => store.view.host(name),
      wordsPerSecond: RATE,
      clock: systemClock,
      logger,
    });
    front = new Front({
      address: () => parseIpv4('127.0.0.1'),
      port,
      authority: authority.certificate,
      identity: own,
      store,
      socketPath: undefined,
      locatorRange: parseCidr('100.64.0.0/10'),
      app: () => undefined,
      api: () => undefined,
      acceptMember: (socket) => void socket.destroy(),
      acceptWords: (socket, { name }) => taker.accept(socket, name),
      acceptPulse: (socket) => void socket.destroy(),
      acceptOpenFlow: (socket) => void socket.destroy(),
      logger,
      clock: systemClock,
    });
    await front.start();
  }

  afterEach(() => {
    senders.splice(0).forEach((sender) => sender.stop());
    sockets.splice(0).forEach((socket) => socket.destroy());
    front.stop();
  });

  function sender(parts: Partial<WordSenderParts> = {}): WordSender {
    const locatorRange = parseCidr('100.64.0.0/10');
    const base = {
      store,
      authority: authority.certificate,
      identity: h2,
      port,
      clock: systemClock,
      logger,
      locatorRange,
    };
    const made = new WordSender({ ...base, ...parts });
    senders.push(made);
    return made;
  }

  /** As somebody who writes bytes of his own. */
  function come(protocol: string, who?: Identity): TLSSocket {
    const socket = connect({
      host: '127.0.0.1',
      port,
      ca: authority.certificate,
      checkServerIdentity: () => undefined,
      ALPNProtocols: [protocol],
      ...(who === undefined ? {} : { cert: who.certificate, key: who.key }),
    }).on('error', () => undefined);
    sockets.push(socket.resume());
    return socket;
  }
  const closed = (socket: TLSSocket) => new Promise((resolve) => socket.once('close', resolve));

  async function until(condition: () => boolean): Promise<void> {
    const deadline = Date.now() + 4000;
    while (!condition()) {
      if (Date.now() > deadline) throw new Error(`it did not come to that; heard ${heard.join()}`);
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }

  test('the first word opens the connection; those said meanwhile, and later, come in order', async () => {
    const sends = sender();
    for (const n of [1, 2, 3]) sends.tell(macOf('h1'), word(n));
    await until(() => heard.length === 3);
    sends.tell(macOf('h1'), word(4));
    await until(() => heard.length === 4);
    expect(heard).toEqual(['h2 1', 'h2 2', 'h2 3', 'h2 4']);
    expect([sends.size, sends.dropped, taker.dropped]).toEqual([1, 0, 0]);
  });

  test('more than may wait is dropped, and a host that nobody knows is none', async () => {
    const sends = sender();
    for (let n = 0; n < 300; n += 1) sends.tell(macOf('h1'), word(n));
    expect(sends.dropped).toBe(44);
    sends.tell(MAC, word(1));
    expect([sends.size, sends.dropped]).toEqual([1, 45]);
  });

  test('a connection that is not used ends without a word, and the next one opens another', async () => {
    const sends = sender({ idleMs: 50 });
    sends.tell(macOf('h1'), word(1));
    await until(() => heard.length === 1 && sends.size === 0);
    sends.tell(macOf('h1'), word(2));
    await until(() => heard.length === 2);
    expect(warned).toEqual([]);
  });

  test('where nobody answers, words are dropped, and it is said once', async () => {
    front.stop();
    const sends = sender();
    sends.tell(macOf('h1'), word(1));
    await until(() => warned.length === 1);
    sends.tell(macOf('h1'), word(2));
    expect(warned).toEqual(['a host is not told of routes: their first packets make them']);
    expect(sends.dropped).toBe(2);
  });

  test('a host with another certificate than its row has is told nothing', async () => {
    await certify('h1', await identity('h1'));
    const sends = sender();
    sends.tell(macOf('h1'), word(1));
    await until(() => warned.length === 1);
    expect([heard, sends.dropped]).toEqual([[], 1]);
  });

  test('nobody else is heard: without a certificate, and with one that is no host’s', async () => {
    for (const who of [undefined, await identity('h2')]) {
      const socket = come(WORDS_PROTOCOL, who);
      socket.write(encodeWord(word(1)));
      await closed(socket);
    }
    expect(heard).toEqual([]);
    expect(warned).toEqual(['a connection of another host was refused']);
  });

  test.each(['ovsdb', 'http/1.1', 'daolinet-member', 'daolinet-words/2'])(
    'on a client there is no %s',
    async (protocol) => {
      const socket = come(protocol, h2);
      socket.write('{"id":1,"method":"list_dbs","params":[]}');
      await closed(socket);
      expect(heard).toEqual([]);
    },
  );

  test('a host that is removed is out at once, and so is its open connection', async () => {
    const socket = come(WORDS_PROTOCOL, h2);
    socket.write(encodeWord(word(1)));
    await until(() => heard.length === 1);
    const end = closed(socket);
    await store.transact((context) => ({ ops: planRemoval(context, 'h2'), result: undefined }));
    await end;
    await closed(come(WORDS_PROTOCOL, h2));
    expect(heard).toHaveLength(1);
  });

  test('what a host sends that is no word ends its connection, and is said once', async () => {
    for (const bytes of [[0], [2, 1, 0]]) {
      const socket = come(WORDS_PROTOCOL, h2);
      socket.write(Buffer.concat([encodeWord(word(1)), Buffer.from(bytes)]));
      await closed(socket);
    }
    expect(heard).toEqual(['h2 1', 'h2 1']);
    expect(warned).toEqual(['a host sends what is no word']);
  });

  test('what a later version says ends nothing, and counts', async () => {
    const socket = come(WORDS_PROTOCOL, h2);
    socket.write(Buffer.concat([Buffer.from('0302abcd', 'hex'), encodeWord(word(1))]));
    await until(() => heard.length === 1);
    socket.write(Buffer.concat(Array.from({ length: RATE }, () => Buffer.from('0302abcd', 'hex'))));
    await until(() => taker.dropped > 0);
    expect(warned).toEqual([]);
  });

  test('a flood is read at the rate alone, and coming anew does not help', async () => {
    const flood = Buffer.concat(Array.from({ length: 100_000 }, (_, n) => encodeWord(word(n))));
    const begin = performance.now();
    for (let round = 0; round < 3; round += 1) {
      const socket = come(WORDS_PROTOCOL, h2);
      socket.write(flood);
      await until(() => taker.dropped > round * 100);
      socket.destroy();
      await closed(socket);
    }
    const seconds = (performance.now() - begin) / 1000;
    expect(heard.length).toBeGreaterThanOrEqual(RATE);
    expect(heard.length).toBeLessThanOrEqual(RATE * (1 + seconds) + 1);
    // Most was never read.
    expect(taker.dropped).toBeLessThan(60_000);
  });

  test('one connection a host: the next takes its place', async () => {
    const first = come(WORDS_PROTOCOL, h2);
    first.write(encodeWord(word(1)));
    await until(() => heard.length === 1);
    const end = closed(first);
    come(WORDS_PROTOCOL, h2).write(encodeWord(word(2)));
    await end;
    await until(() => heard.length === 2);
  });
});
