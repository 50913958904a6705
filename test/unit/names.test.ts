// Names of containers on other hosts: who asks decides what they are; and the messages, over UDP and TCP.
import { decode, encode } from 'dns-packet';
import * as fc from 'fast-check';
import { createSocket } from 'node:dgram';
import { connect } from 'node:net';
import { formatIpv4, parseCidr, parseIpv4, parseMac, type Ipv4 } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import * as endpoints from '../../src/directory/endpoint-operations';
import * as networks from '../../src/directory/operations';
import type { EndpointId, NetworkId } from '../../src/directory/rows';
import type { Ops, PlanContext } from '../../src/directory/store';
import { NameServer } from '../../src/names/name-server';
import { resolve } from '../../src/names/resolver';
import { freePort } from '../fakes/free-port';
import { ManualClock } from '../fakes/manual-clock';
import { createMemoryDatabase, createMemoryDirectory, type MemoryDirectory } from '../fakes/memory-directory';

const LOOPBACK = parseIpv4('127.0.0.1');
const [RED, BLUE] = ['a', 'b'].map((digit) => digit.repeat(64) as NetworkId) as [NetworkId, NetworkId];
let h1: MemoryDirectory;
let h2: MemoryDirectory;

function run(store: MemoryDirectory, make: (context: PlanContext) => Ops): Promise<void> {
  return store.transact((context) => ({ ops: make(context), result: undefined }));
}

async function makeNetwork(id: NetworkId, tenant: string, name: string): Promise<void> {
  const newPools = [{ cidr: parseCidr('10.1.0.0/24') }];
  const network = {
    id,
    tenant,
    internal: false,
    gateway: undefined,
    ipam: 'docker',
    mtu: 1500,
    options: {},
    newPools,
  } as const;
  await run(h1, (c) => networks.insertNetwork(c, network));
  await run(h1, (c) => networks.renameNetwork(c, id, name));
}

/** A joined container of one network; resolves with its locator. */
async function add(
  store: MemoryDirectory,
  networkId: NetworkId,
  last: number,
  name: string,
  aliases: string[] = [],
): Promise<Ipv4> {
  const id = `${networkId[0]}${last}` as EndpointId;
  const [address, mac] = [parseIpv4(`10.1.0.${last}`), parseMac(`02:00:00:00:00:${String(last).padStart(2, '0')}`)];
  await run(store, (c) => endpoints.insertEndpoint(c, { id, networkId, address, mac, interfaceName: id }));
  const containerId = Buffer.from(name).toString('hex').padEnd(64, '0');
  await run(store, (c) =>
    endpoints.updateEndpoint(c, id, { sandbox: '/x', containerId, containerName: name, aliases }),
  );
  return store.view.endpoint(id)!.locator;
}

let ann: Ipv4;
beforeEach(async () => {
  const database = createMemoryDatabase();
  [h1, h2] = [createMemoryDirectory({ host: 'h1', database }), createMemoryDirectory({ host: 'h2', database })];
  await makeNetwork(RED, 'red', 'demo');
  await makeNetwork(BLUE, 'blue', 'other');
  ann = await add(h1, RED, 10, 'ann');
  await add(h2, RED, 20, 'Bob', ['web', 'www']);
  await add(h2, RED, 21, 'bob2', ['web']);
  await add(h2, BLUE, 30, 'eve', ['web']);
});

const ask = (name: string, asker = ann) => {
  const answer = resolve(h1.view, 'h1', asker, name);
  return answer.kind === 'addresses' ? answer.addresses.map(formatIpv4).sort() : answer.kind;
};

describe('a name', () => {
  test.each<[string, string | string[]]>([
    ['bob', ['10.1.0.20']],
    ['BOB', ['10.1.0.20']],
    ['www', ['10.1.0.20']],
    ['web', ['10.1.0.20', '10.1.0.21']],
    ['bob.demo', ['10.1.0.20']],
    [Buffer.from('Bob').toString('hex').padEnd(12, '0'), ['10.1.0.20']],
    ['ann', ['10.1.0.10']],
    ['nobody', 'no-such-name'],
    ['eve', 'no-such-name'],
    ['eve.other', 'not-ours'],
    ['example.com', 'not-ours'],
    ['', 'no-such-name'],
  ])('%s is %j', (name, expected) => {
    expect(ask(name)).toEqual(expected);
  });

  test('is what it is in every network of the container that asks, and in no other', async () => {
    await add(h1, BLUE, 11, 'ann');
    expect(ask('eve')).toEqual(['10.1.0.30']);
    expect(ask('web')).toEqual(['10.1.0.20', '10.1.0.21', '10.1.0.30']);
  });

  test('is nobody’s who asks from elsewhere, and of nobody who has left', async () => {
    expect(ask('bob', parseIpv4('192.0.2.1'))).toBe('not-ours');
    expect(ask('bob', h2.view.endpoint('a20' as EndpointId)!.locator)).toBe('not-ours');
    await run(h2, (c) => endpoints.updateEndpoint(c, 'a20' as EndpointId, { sandbox: undefined }));
    expect(ask('bob')).toBe('no-such-name');
  });

  test('of very many has as many addresses as fit', async () => {
    for (let n = 40; n < 70; n += 1) await add(h2, RED, n, `many${n}`, ['many']);
    expect(ask('many')).toHaveLength(16);
  });
});

describe('the server', () => {
  let port: number;
  let server: NameServer;
  beforeEach(async () => {
    // Questions of this test come from 127.0.0.1, which plays ann's locator.
    const { view } = h1;
    const store = new Proxy(h1, {
      get: (target, key) =>
        key === 'view'
          ? new Proxy(view, {
              get: (v, k) => (k === 'endpointByLocator' ? () => v.endpointByLocator(ann) : Reflect.get(v, k).bind(v)),
            })
          : Reflect.get(target, key),
    });
    port = await freePort();
    server = new NameServer({ address: LOOPBACK, port, store, clock: new ManualClock(), logger: silentLogger });
    await server.start();
  });
  afterEach(() => server.stop());

  const question = (name: string, type: string, rest: object = {}) =>
    encode({ type: 'query', id: 7, flags: 1 << 8, questions: [{ name, type } as never], ...rest });

  function overUdp(message: Buffer): Promise<Buffer> {
    const socket = createSocket('udp4');
    return new Promise((resolve) => {
      socket.on('message', (answer) => {
        socket.close();
        resolve(answer);
      });
      socket.send(message, port, '127.0.0.1');
    });
  }

  test.each<[string, string, string, string[]]>([
    ['bob', 'A', 'NOERROR', ['10.1.0.20']],
    ['bob', 'AAAA', 'NOERROR', []],
    ['bob', 'MX', 'NOERROR', []],
    ['nobody', 'A', 'NXDOMAIN', []],
    ['example.com', 'A', 'REFUSED', []],
  ])('%s %s: %s %j', async (name, type, code, addresses) => {
    const answer = decode(await overUdp(question(name, type))) as unknown as {
      rcode: string;
      id: number;
      answers: { data: string }[];
      flag_aa: boolean;
    };
    expect([answer.id, answer.rcode, answer.flag_aa]).toEqual([7, code, true]);
    expect(answer.answers.map(({ data }) => data)).toEqual(addresses);
  });

  test('over TCP, several questions of one connection, in pieces', async () => {
    const framed = (message: Buffer) => Buffer.concat([Buffer.from([0, message.length]), message]);
    const bytes = Buffer.concat([framed(question('bob', 'A')), framed(question('web', 'A'))]);
    const socket = connect(port, '127.0.0.1');
    const answers: number[] = [];
    let heard = Buffer.alloc(0);
    const done = new Promise<void>((resolve) => {
      socket.on('data', (chunk: Buffer) => {
        heard = Buffer.concat([heard, chunk]);
        while (heard.length >= 2 && heard.length >= 2 + heard.readUInt16BE(0)) {
          const end = 2 + heard.readUInt16BE(0);
          answers.push(decode(heard.subarray(2, end)).answers?.length ?? 0);
          heard = heard.subarray(end);
        }
        if (answers.length === 2) resolve();
      });
    });
    socket.write(bytes.subarray(0, 5));
    await new Promise((resolve) => setTimeout(resolve, 20));
    socket.write(bytes.subarray(5));
    await done;
    socket.destroy();
    expect(answers).toEqual([1, 2]);
  });

  test('what is no question ends nothing', async () => {
    const socket = createSocket('udp4');
    for (const hex of ['', '00', 'ff'.repeat(12), '00'.repeat(600)])
      socket.send(Buffer.from(hex, 'hex'), port, '127.0.0.1');
    const response = encode({ type: 'response', id: 1, questions: [{ name: 'bob', type: 'A' }] });
    socket.send(response, port, '127.0.0.1');
    const answer = decode(await overUdp(question('bob', 'A')));
    expect(answer.answers).toHaveLength(1);
    socket.close();
    const tcp = connect(port, '127.0.0.1');
    const closed = new Promise((resolve) => tcp.on('close', resolve));
    tcp.write(Buffer.concat([Buffer.from([0, 3]), Buffer.from('xyz')]));
    await closed;
  });

  test('nor does a question, however it is bent', async () => {
    const honest = question('bob.demo', 'A');
    const bends = fc.array(fc.tuple(fc.nat(honest.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    const socket = createSocket('udp4');
    await fc.assert(
      fc.asyncProperty(bends, async (places) => {
        const bent = Buffer.from(honest);
        for (const [at, byte] of places) bent[at] = byte;
        socket.send(bent, port, '127.0.0.1');
        expect(decode(await overUdp(honest)).answers).toHaveLength(1);
      }),
      { numRuns: 500 },
    );
    socket.close();
  });

  test('two questions in one are refused as malformed', async () => {
    const both = [
      { name: 'bob', type: 'A' },
      { name: 'web', type: 'A' },
    ];
    expect((decode(await overUdp(question('bob', 'A', { questions: both }))) as { rcode?: string }).rcode).toBe(
      'FORMERR',
    );
  });
});
