// Published ports as real sockets on this machine's loopback: conflicts, choice, and the proxies behind them.
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { parseIpv4 } from '../../src/base/addresses';
import { systemClock } from '../../src/base/clock';
import type { PortRequest } from '../../src/host/host';
import { publishedPortOf, SocketPortReservations } from '../../src/host/port-reservations';
import { freePort } from '../fakes/free-port';
import { ManualClock } from '../fakes/manual-clock';

const LOOPBACK = parseIpv4('127.0.0.1');
let ports: SocketPortReservations;
const cleanups: (() => unknown)[] = [];

beforeEach(() => (ports = new SocketPortReservations(systemClock)));
afterEach(async () => {
  await ports.stop();
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

function request(fields: Partial<PortRequest> & { port?: number }): PortRequest {
  const { port = 0, ...rest } = fields;
  return {
    endpointId: 'web',
    protocol: 'tcp',
    hostIp: '',
    firstPort: port,
    lastPort: port,
    containerPort: 80,
    locator: LOOPBACK,
    ...rest,
  };
}

/** Another program that listens. */
async function listen(host: string, port = 0, serve: (socket: Socket) => void = () => undefined): Promise<number> {
  const sockets = new Set<Socket>();
  const server: Server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket);
    serve(socket);
  });
  server.listen({ host, port, ipv6Only: true });
  await once(server, 'listening');
  cleanups.push(() => {
    for (const socket of sockets) socket.destroy();
    return new Promise((resolve) => server.close(resolve));
  });
  return (server.address() as AddressInfo).port;
}

async function udpSocket(host: string, port = 0): Promise<UdpSocket> {
  const socket = createSocket({ type: host.includes(':') ? 'udp6' : 'udp4' });
  socket.bind(port, host);
  await once(socket, 'listening');
  cleanups.push(() => new Promise<void>((resolve) => socket.close(resolve)));
  return socket;
}

describe('reserving', () => {
  test('any port: one that is bound for both families', async () => {
    const { hostPort } = await ports.reserve(request({}));
    for (const host of ['127.0.0.1', '::1']) {
      const client = connect({ host, port: hostPort });
      await once(client, 'connect');
      client.destroy();
    }
  });

  test.each(['0.0.0.0', '::', '127.0.0.1'])('a port that another program has on %s is refused', async (host) => {
    const port = await listen(host);
    await expect(ports.reserve(request({ port }))).rejects.toMatchObject({
      code: 'conflict',
      message: `port ${port}/tcp on 0.0.0.0 is already in use by another program`,
    });
    expect(ports.list()).toEqual([]);
  });

  test('nothing stays bound when one family of two is refused', async () => {
    const port = await listen('::');
    await expect(ports.reserve(request({ port }))).rejects.toMatchObject({ code: 'conflict' });
    await listen('0.0.0.0', port);
  });

  test('UDP likewise, and apart from TCP', async () => {
    const { port } = (await udpSocket('0.0.0.0')).address();
    await expect(ports.reserve(request({ protocol: 'udp', port }))).rejects.toMatchObject({ code: 'conflict' });
    await ports.reserve(request({ port, hostIp: '127.0.0.1' }));
  });

  test('a port of ours is refused by the name of its endpoint', async () => {
    const { hostPort } = await ports.reserve(request({}));
    for (const hostIp of ['', '0.0.0.0', '127.0.0.1', '::', '::1']) {
      await expect(ports.reserve(request({ endpointId: 'b', port: hostPort, hostIp }))).rejects.toMatchObject({
        code: 'conflict',
        message: `port ${hostPort}/tcp on ${hostIp || '0.0.0.0'} is already published by endpoint web`,
      });
    }
  });

  test('one port on two addresses, and in two families', async () => {
    const { hostPort: port } = await ports.reserve(request({ hostIp: '127.0.0.1' }));
    await ports.reserve(request({ hostIp: '127.0.0.2', port, endpointId: 'b' }));
    await ports.reserve(request({ hostIp: '::1', port, endpointId: 'c' }));
    expect(ports.list()).toHaveLength(3);
  });

  test('a range gives its first free port, until there is none', async () => {
    const port = await listen('127.0.0.1');
    const range = { firstPort: port, lastPort: port + 1, hostIp: '127.0.0.1' };
    const { hostPort } = await ports.reserve(request(range));
    expect(hostPort).toBe(port + 1);
    await expect(ports.reserve(request({ ...range, endpointId: 'b' }))).rejects.toMatchObject({
      code: 'exhausted',
      message: `no port of ${port}-${port + 1}/tcp is free on 127.0.0.1`,
    });
  });

  test('requests at the same time get different ports', async () => {
    const ids = Array.from({ length: 20 }, (_, i) => `e${i}`);
    const reserved = await Promise.all(ids.map((endpointId) => ports.reserve(request({ endpointId }))));
    expect(new Set(reserved.map(({ hostPort }) => hostPort)).size).toBe(20);
  });

  test('SCTP is kept in the books', async () => {
    const { hostPort } = await ports.reserve(request({ protocol: 'sctp' }));
    const other = await ports.reserve(request({ protocol: 'sctp', endpointId: 'b' }));
    expect(other.hostPort).not.toBe(hostPort);
    const taken = ports.reserve(request({ protocol: 'sctp', endpointId: 'c', port: hostPort }));
    await expect(taken).rejects.toMatchObject({ code: 'conflict' });
  });

  test('an address that is not of this host', async () => {
    await expect(ports.reserve(request({ hostIp: '192.0.2.200' }))).rejects.toMatchObject({
      code: 'invalid',
      message: '192.0.2.200 is not an address of this host',
    });
  });

  test.each([
    [{ hostIp: 'localhost' }],
    [{ firstPort: 5, lastPort: 4 }],
    [{ firstPort: 0, lastPort: 4 }],
    [{ firstPort: -1, lastPort: -1 }],
    [{ firstPort: 65_536, lastPort: 65_536 }],
    [{ firstPort: 1.5, lastPort: 1.5 }],
  ])('%j is refused', async (fields) => {
    await expect(ports.reserve(request(fields))).rejects.toMatchObject({ code: 'invalid' });
  });

  test('after a restart a port that is still held is waited for', async () => {
    const clock = new ManualClock();
    const patient = new SocketPortReservations(clock);
    const lingering = await udpSocket('127.0.0.1');
    const fields = { protocol: 'udp', hostIp: '127.0.0.1', port: lingering.address().port, rebind: true } as const;
    const reserving = patient.reserve(request(fields));
    while (clock.waiting === 0) await new Promise((resolve) => setImmediate(resolve));
    cleanups.pop();
    await new Promise<void>((resolve) => lingering.close(resolve));
    clock.advance(100);
    expect((await reserving).hostPort).toBe(fields.port);
    await patient.stop();
  });

  test('but not for ever', async () => {
    const port = await listen('127.0.0.1');
    const clock = new ManualClock();
    const reserving = new SocketPortReservations(clock).reserve(request({ port, hostIp: '127.0.0.1', rebind: true }));
    let refused = false;
    reserving.catch(() => (refused = true));
    while (!refused) {
      clock.advance(100);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(clock.now()).toBeLessThanOrEqual(3000);
    await expect(reserving).rejects.toMatchObject({ code: 'conflict' });
  });

  test('what the packet filter has to do', async () => {
    const of = async (hostIp: string) => publishedPortOf(await ports.reserve(request({ hostIp, endpointId: hostIp })));
    const all = await of('');
    expect(all).toEqual({ protocol: 'tcp', hostPort: all?.hostPort, containerPort: 80 });
    expect(await of('0.0.0.0')).not.toHaveProperty('hostIp');
    expect(await of('127.0.0.1')).toMatchObject({ hostIp: LOOPBACK });
    expect(await of('::1')).toBeUndefined();
  });
});

describe('the TCP proxy', () => {
  async function proxied(serve: (socket: Socket) => void): Promise<number> {
    const containerPort = await listen('127.0.0.1', 0, serve);
    return (await ports.reserve(request({ containerPort, hostIp: '::1' }))).hostPort;
  }

  test('carries bytes both ways and the end of each direction apart', async () => {
    const sent = Buffer.alloc(3_000_000, 'daolinet');
    // Answers only when the client has said all.
    const port = await proxied((socket) => {
      const chunks: Buffer[] = [];
      socket.on('data', (chunk: Buffer) => chunks.push(chunk)).on('end', () => socket.end(Buffer.concat(chunks)));
    });
    const client = connect({ host: '::1', port, allowHalfOpen: true });
    client.end(sent);
    const received: Buffer[] = [];
    client.on('data', (chunk: Buffer) => received.push(chunk));
    await once(client, 'end');
    expect(Buffer.concat(received).equals(sent)).toBe(true);
  });

  test('a service that is not there is a reset', async () => {
    const port = await listen('127.0.0.1');
    await cleanups.pop()?.();
    const { hostPort } = await ports.reserve(request({ containerPort: port, hostIp: '127.0.0.2' }));
    const [error] = (await once(connect({ host: '127.0.0.2', port: hostPort }), 'error')) as [NodeJS.ErrnoException];
    expect(error.code).toBe('ECONNRESET');
  });

  test('connections end with the reservation', async () => {
    const port = await proxied(() => undefined);
    const client = connect({ host: '::1', port });
    client.on('error', () => undefined);
    await once(client, 'connect');
    await ports.release('web');
    await once(client, 'close');
    await expect(once(connect({ host: '::1', port }), 'connect')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
  });

  test('goes to where the endpoint has moved', async () => {
    const port = await listen('127.0.0.3', 0, (socket) => socket.end('moved'));
    const fields = { containerPort: port, hostIp: '::1' };
    await ports.reserve(request(fields));
    const { hostPort } = await ports.reserve(request({ ...fields, locator: parseIpv4('127.0.0.3') }));
    const [data] = (await once(connect({ host: '::1', port: hostPort }), 'data')) as [Buffer];
    expect(data.toString()).toBe('moved');
  });
});

describe('the UDP proxy', () => {
  async function echo(host = '127.0.0.1'): Promise<UdpSocket> {
    const server = await udpSocket(host);
    server.on('message', (message, from) => server.send(`echo ${message.toString()}`, from.port, from.address));
    return server;
  }

  async function ask(port: number, text: string): Promise<string> {
    const client = await udpSocket('::1');
    client.send(text, port, '::1');
    const [answer] = (await once(client, 'message')) as [Buffer];
    return answer.toString();
  }

  test('gives each client its own answers', async () => {
    const containerPort = (await echo()).address().port;
    const { hostPort } = await ports.reserve(request({ protocol: 'udp', containerPort, hostIp: '::1' }));
    const texts = Array.from({ length: 10 }, (_, i) => `hello ${i}`);
    expect(await Promise.all(texts.map((text) => ask(hostPort, text)))).toEqual(texts.map((text) => `echo ${text}`));
  });

  test('is not an open door: others cannot answer in the place of the container', async () => {
    const server = await udpSocket('127.0.0.1');
    const stranger = await udpSocket('127.0.0.1');
    server.on('message', (_, from) => {
      stranger.send('forged', from.port, from.address, () => server.send('real', from.port, from.address));
    });
    const containerPort = server.address().port;
    const { hostPort } = await ports.reserve(request({ protocol: 'udp', containerPort, hostIp: '::1' }));
    expect(await ask(hostPort, 'hello')).toBe('real');
  });

  /** A proxied service that says from which ports it was asked, in order. */
  async function watched(reservations: SocketPortReservations): Promise<{ hostPort: number; sources: number[] }> {
    const server = await echo();
    const sources: number[] = [];
    server.on('message', (_, from) => sources.push(from.port));
    const fields = { protocol: 'udp', containerPort: server.address().port, hostIp: '::1' } as const;
    return { hostPort: (await reservations.reserve(request(fields))).hostPort, sources };
  }

  async function say(client: UdpSocket, port: number): Promise<void> {
    client.send('hello', port, '::1');
    await once(client, 'message');
  }

  test('keeps a bounded number of clients: beyond it the longest silent one is forgotten', async () => {
    const { hostPort, sources } = await watched(ports);
    const first = await udpSocket('::1');
    await say(first, hostPort);
    for (let i = 0; i < 255; i += 1) await ask(hostPort, 'fill');
    await say(first, hostPort);
    expect(sources.at(-1)).toBe(sources[0]);
    for (let i = 0; i < 256; i += 1) await ask(hostPort, 'fill');
    await say(first, hostPort);
    expect(sources.at(-1)).not.toBe(sources[0]);
  });

  test('forgets clients that are silent for a minute or two', async () => {
    const clock = new ManualClock();
    const timed = new SocketPortReservations(clock);
    const { hostPort, sources } = await watched(timed);
    const client = await udpSocket('::1');
    await say(client, hostPort);
    clock.advance(59_000);
    await say(client, hostPort);
    clock.advance(121_000);
    expect(clock.waiting).toBe(0);
    await say(client, hostPort);
    expect(sources[1]).toBe(sources[0]);
    expect(sources[2]).not.toBe(sources[0]);
    await timed.stop();
    expect(clock.waiting).toBe(0);
  });
});

describe('a port that leads nowhere', () => {
  test('is held, lets nobody in, and leads on when it is asked for again with a locator', async () => {
    const upstream = await listen('127.0.0.1', 0, (socket) => socket.end('here'));
    const fields = { containerPort: upstream, locator: undefined };
    const { hostPort } = await ports.reserve(request({ ...fields, port: await freePort() }));
    const hear = () =>
      new Promise<string>((resolve) => {
        const socket = connect({ host: '127.0.0.1', port: hostPort });
        socket.on('data', (data) => resolve(String(data))).on('error', ({ message }) => resolve(message));
        socket.on('close', () => resolve('closed'));
      });
    expect(await hear()).not.toBe('here');
    await expect(listen('127.0.0.1', hostPort)).rejects.toMatchObject({ code: 'EADDRINUSE' });
    await ports.reserve(request({ ...fields, port: hostPort, locator: LOOPBACK }));
    expect(await hear()).toBe('here');
  });
});
