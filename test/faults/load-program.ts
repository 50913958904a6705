// What runs in each container of the load: it answers everybody, keeps conversations going with some, opens new ones with others, and
// writes down each answer and how long it took. Its file is on this machine, so it outlives container, engine and host.

/** What one container is to do. */
export interface LoadTask {
  readonly name: string;
  /** Where its records go, as the container sees it. */
  readonly file: string;
  /** A datagram each 50 ms, and a line over one TCP stream each 100 ms. */
  readonly steady: readonly LoadPeer[];
  /** A new TCP connection each period; its route has gone by then. */
  readonly fresh: readonly (LoadPeer & { readonly offsetMs: number })[];
  readonly periodMs: number;
}

export interface LoadPeer {
  readonly name: string;
  readonly address: string;
}

/**
 * One thing that was tried: [kind, peer, began at, took]. Times in ms since 1970, and -1 where nothing came back. "udp": a datagram and
 * its answer; "tcp": a line and its echo; "reset": a stream that broke; "new": a connection, tried again each 250 ms until one
 * was answered; "wrong": whoever answered was not the peer, whose name stands in the fifth place.
 */
export type LoadRecord = readonly [
  kind: 'udp' | 'tcp' | 'reset' | 'new' | 'wrong',
  peer: string,
  at: number,
  ms: number,
  name?: string,
];

/** A datagram that has not come back by then is lost. */
export const LOST_AFTER_MS = 3000;
/** A connection that nobody answered for so long was not made. */
export const GIVE_UP_MS = 60_000;

export const LOAD_PROGRAM = `
const fs = require('fs'), net = require('net'), dgram = require('dgram');
const task = JSON.parse(process.argv[1]);
process.on('SIGTERM', () => process.exit());
const now = () => Math.round(10 * (performance.timeOrigin + performance.now())) / 10;
let lines = '';
const note = (...record) => { lines += JSON.stringify(record) + '\\n'; };
setInterval(() => { if (lines !== '') { fs.appendFileSync(task.file, lines); lines = ''; } }, 200);

net.createServer((socket) => {
  socket.setNoDelay().on('error', () => undefined).pipe(socket);
}).listen(7001);
net.createServer((socket) => { socket.on('error', () => undefined).end(task.name); }).listen(7002);
const echo = dgram.createSocket('udp4').bind(7003);
echo.on('message', (data, from) => echo.send(data, from.port, from.address)).on('error', () => undefined);

for (const peer of task.steady) {
  datagrams(peer);
  stream(peer);
}
for (const peer of task.fresh) setTimeout(() => connections(peer), peer.offsetMs);

function datagrams({ name, address }) {
  const socket = dgram.createSocket('udp4').bind();
  const sent = new Map();
  let next = 0;
  socket.on('error', () => undefined).on('message', (data) => {
    const at = sent.get(data.readUInt32BE());
    if (at !== undefined && sent.delete(data.readUInt32BE())) note('udp', name, at, now() - at);
  });
  setInterval(() => {
    const data = Buffer.alloc(32);
    data.writeUInt32BE(next);
    sent.set(next++, now());
    socket.send(data, 7003, address, () => undefined);
    for (const [key, at] of sent) {
      if (now() - at < ${LOST_AFTER_MS}) break;
      sent.delete(key);
      note('udp', name, at, -1);
    }
  }, 50);
}

function stream(peer) {
  const socket = net.connect({ host: peer.address, port: 7001 });
  const sent = [];
  let timer;
  socket.setNoDelay().on('connect', () => {
    timer = setInterval(() => { sent.push(now()); socket.write('.'); }, 100);
  });
  socket.on('data', (data) => {
    for (const _ of data) { const at = sent.shift(); note('tcp', peer.name, at, now() - at); }
  });
  socket.on('error', () => undefined).on('close', () => {
    clearInterval(timer);
    if (timer !== undefined) note('reset', peer.name, now(), -1);
    setTimeout(stream, 250, peer);
  });
}

async function connections(peer) {
  for (;;) {
    const at = now();
    const heard = await reach(peer, at);
    if (heard === undefined) note('new', peer.name, at, -1);
    else if (heard !== peer.name) note('wrong', peer.name, at, now() - at, heard);
    else note('new', peer.name, at, now() - at);
    await new Promise((resolve) => setTimeout(resolve, task.periodMs));
  }
}

function reach({ address }, at) {
  return new Promise((resolve) => {
    const sockets = [];
    const end = (text) => {
      clearInterval(again);
      sockets.forEach((socket) => socket.destroy());
      resolve(text);
    };
    const once = () => {
      if (now() - at > ${GIVE_UP_MS}) return end();
      const socket = net.connect({ host: address, port: 7002 });
      sockets.push(socket);
      socket.setEncoding('utf8').on('data', end).on('error', () => undefined);
    };
    const again = setInterval(once, 250);
    once();
  });
}
`;
