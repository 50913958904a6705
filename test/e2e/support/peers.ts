// Servers and clients of the end-to-end tests: in containers, on the host, and "outside". A server answers with its name and
// the address that it sees the client at, so that a test reads who reached whom, and as whom: "web 10.1.0.2".

import { execFileSync } from 'node:child_process';
import { copyFileSync, mkdirSync } from 'node:fs';
import * as http from 'node:http';
import * as path from 'node:path';
import { type Host, type HostOptions, IMAGE, startHost, waitFor } from '../../../lab/host';
import type { BackgroundCommand } from '../../../lab/namespace';

/** Where a client runs: a container by its name, or one of these. */
export const ON_HOST = '(host)';
export const OUTSIDE = '(outside)';

/** Where this process's Node.js is on the host, with its libraries: neither the host nor the image needs to have one. */
const PROGRAMS = '/var/lib/peers';
export const NODE = [`${PROGRAMS}/loader`, '--library-path', PROGRAMS, `${PROGRAMS}/node`];
/** Lends them to a container. */
export const WITH_PROGRAMS = ['-v', `${PROGRAMS}:${PROGRAMS}:ro`];

// usage: NAME PORT/PROTOCOL[/ADDRESS]... The answer to a datagram is as long as the datagram. A UDP server of several addresses is
// bound to each, as it would answer from another one than it was asked at otherwise.
const SERVER = `
const { createHash } = require('crypto');
const [name, ...ports] = process.argv.slice(1);
process.on('SIGTERM', () => process.exit());
const answer = (from, data) =>
  JSON.stringify({ name, from: from.replace('::ffff:', ''), sha1: createHash('sha1').update(data).digest('hex') });
let left = ports.length;
const ready = () => { if (--left === 0) console.log('ready'); };
for (const [port, protocol, address = '0.0.0.0'] of ports.map((text) => text.split('/'))) {
  if (protocol === 'udp') {
    const socket = require('dgram').createSocket('udp4').bind(Number(port), address, ready);
    socket.on('message', (data, from) => socket.send(answer(from.address, data).padEnd(data.length), from.port, from.address));
    continue;
  }
  const server = require('net').createServer({ allowHalfOpen: true }, (socket) => {
    const chunks = [];
    const from = socket.remoteAddress;
    socket.on('error', () => undefined).on('data', (chunk) => chunks.push(chunk));
    socket.on('end', () => socket.end(answer(from, Buffer.concat(chunks))));
  });
  server.listen(Number(port), address, ready);
}`;

// usage: PROTOCOL ADDRESS PORT BYTES TIMEOUT. Sends so many bytes, one datagram over UDP, and prints what it heard.
const CLIENT = `
const { createHash, randomBytes } = require('crypto');
const [protocol, address, port, bytes, timeoutMs] = process.argv.slice(1);
const data = randomBytes(Number(bytes));
const end = (text) => { console.log(text); process.exit(); };
const read = (text) => {
  if (text === '') end('closed');
  const { name, from, sha1 } = JSON.parse(text);
  end(sha1 === createHash('sha1').update(data).digest('hex') ? name + ' ' + from : 'damaged');
};
setTimeout(end, Number(timeoutMs), 'timeout');
if (protocol === 'tcp') {
  let text = '';
  const socket = require('net').connect({ host: address, port: Number(port) }, () => socket.end(data));
  socket.setEncoding('utf8').on('data', (chunk) => (text += chunk));
  socket.on('error', (error) => end(error.code)).on('end', () => read(text));
} else {
  const socket = require('dgram').createSocket(require('net').isIPv6(address) ? 'udp6' : 'udp4');
  socket.on('error', (error) => end(error.code)).on('message', (message) => {
    if (message.length < data.length) end('shortened');
    read(String(message));
  });
  socket.connect(Number(port), address, (error) => (error ? end(error.code) : socket.send(data)));
}`;

/** A host, with what the servers and clients here need. */
export async function startHostWithPeers(options?: HostOptions): Promise<Host> {
  const host = await startHost(options);
  lendPrograms(host);
  return host;
}

/** What the servers and clients here need, for a host that runs already. */
export function lendPrograms(host: Host): void {
  const folder = host.path(PROGRAMS);
  const libraries = execFileSync('ldd', [process.execPath], { encoding: 'utf8' }).match(/\/\S+/g) ?? [];
  mkdirSync(folder, { recursive: true });
  copyFileSync(process.execPath, path.join(folder, 'node'));
  for (const library of libraries) {
    const name = path.basename(library);
    copyFileSync(library, path.join(folder, name.startsWith('ld-') ? 'loader' : name));
  }
}

/** Longer than a request takes on a busy machine. */
const ANSWER_MS = 8000;

export interface Question {
  readonly protocol?: 'tcp' | 'udp';
  /** How many bytes are sent, and with UDP as many come back. Default 32. */
  readonly bytes?: number;
  /** When to say "timeout": short only where nothing is to come. */
  readonly timeoutMs?: number;
}

/**
 * Asks a server from somewhere. Resolves with "NAME ADDRESS" (the server's name and the address it saw), an error's code such as
 * ECONNREFUSED, or "timeout". Never asks twice: a lost packet is seen.
 */
export async function ask(host: Host, from: string, to: string, question: Question = {}): Promise<string> {
  const { protocol = 'tcp', bytes = 32, timeoutMs = ANSWER_MS } = question;
  const [, address = '', port = ''] = /^(.*):(\d+)$/.exec(to) ?? [];
  return run(host, from, [...NODE, '-e', CLIENT, protocol, address, port, String(bytes), String(timeoutMs)]);
}

/** What several questions are answered, side by side. */
export async function answers(questions: Record<string, Promise<string>>): Promise<Record<string, string>> {
  const entries = Object.entries(questions).map(async ([key, answer]) => [key, await answer] as const);
  return Object.fromEntries(await Promise.all(entries));
}

/** Runs a command in a container, on the host or outside. Fails with what it said. */
export function run(host: Host, where: string, command: readonly string[]): Promise<string> {
  const [program = '', ...args] = command;
  if (where === ON_HOST) return host.exec(program, args);
  if (where === OUTSIDE) return host.outside(program, ...args);
  return host.docker('exec', where, ...command);
}

/** Starts a container that serves `ports`, such as "80/tcp", and waits until it does. `args` are of `docker run`. */
export async function startServer(
  host: Host,
  name: string,
  ports: readonly string[],
  args: readonly string[],
): Promise<void> {
  await host.docker('run', '-d', '--name', name, ...args, ...serverCommand(name, ports));
  await waitForServer(host, name);
}

/** What follows the options of `docker run` and `docker create` for a server. */
export function serverCommand(name: string, ports: readonly string[]): string[] {
  return [...WITH_PROGRAMS, IMAGE, ...NODE, '-e', SERVER, name, ...ports];
}

/** A service's task that serves port 80 by the name of its container's host, and what lends it the programs. */
export const PROGRAMS_OF_TASKS = ['--mount', `type=bind,src=${PROGRAMS},dst=${PROGRAMS},readonly`];
export const TASK = ['sh', '-c', 'exec "$0" "$@" "$(hostname)" 80/tcp', ...NODE, '-e', SERVER];

/** Waits until a server that was started serves; a second time, `starts` is 2. */
export async function waitForServer(host: Host, name: string, starts = 1): Promise<void> {
  await waitFor(`server ${name}`, async () => (await host.docker('logs', name)).split('ready').length > starts, 30_000);
}

/** Whether a program in a container listens on a port of TCP. */
export async function listens(host: Host, container: string, port: number): Promise<boolean> {
  return (await host.inNetworkOf(container, 'ss', '-ltnH', 'sport', '=', `:${port}`)) !== '';
}

/** A server on the host or outside; it ends with the host at the latest. */
export async function serveAt(
  host: Host,
  where: typeof ON_HOST | typeof OUTSIDE,
  ports: readonly string[],
): Promise<BackgroundCommand> {
  const name = where.slice(1, -1);
  const server = host.background([...NODE, '-e', SERVER, name, ...ports], where === OUTSIDE ? 'outside' : undefined);
  await waitFor(`the server on ${name}`, () => server.text().includes('ready'), 30_000);
  return server;
}

/** A container that only stays. `args` are of `docker run`. */
export async function startClient(host: Host, name: string, args: readonly string[]): Promise<void> {
  await host.docker('run', '-d', '--name', name, ...args, ...WITH_PROGRAMS, IMAGE, 'sleep', '3600');
}

/** Pings once a count, from a container. Resolves with how many of `count` came back. `args` are busybox's. */
export async function ping(host: Host, from: string, to: string, ...args: string[]): Promise<number> {
  const command = ['busybox', 'ping', '-c', '1', '-W', '5', ...args, to];
  const { stdout } =
    from === ON_HOST
      ? await host.tryExec('busybox', command.slice(1))
      : from === OUTSIDE
        ? await host.tryOutside('busybox', ...command.slice(1))
        : await host.tryDocker('exec', from, ...command);
  return Number(/(\d+) packets received/.exec(stdout)?.[1] ?? 0);
}

/** GET of the management API, as `curl --unix-socket /run/daolinet/api.sock http://d/v1/…` does it. */
export function getApi<T>(host: Host, path: string): Promise<T> {
  return new Promise((resolve, reject) => {
    const options = { socketPath: host.path('/run/daolinet/api.sock'), path, agent: false };
    http
      .get(options, (response) => {
        let text = '';
        response.setEncoding('utf8').on('data', (chunk: string) => (text += chunk));
        response.on('end', () => {
          if (response.statusCode === 200) resolve(JSON.parse(text) as T);
          else reject(new Error(`${path}: ${response.statusCode} ${text}`));
        });
      })
      .on('error', reject);
  });
}

/** Waits until an agent knows a container by its name, which Docker tells a moment after it is there. */
export async function untilNamed(host: Host, container: string): Promise<void> {
  await waitFor(`${host.name} to know ${container}`, async () => {
    const endpoints = await getApi<{ container: string | null }[]>(host, '/v1/endpoints');
    return endpoints.some((endpoint) => endpoint.container === container);
  });
}

/** A published port as the management API shows it. */
export interface ShownPort {
  readonly container: string | null;
  readonly endpoint: string;
  readonly protocol: string;
  readonly hostIp: string;
  readonly hostPort: number;
  readonly containerPort: number;
}

/** The published ports of a container; waits until the agent knows its name. */
export function portsOf(host: Host, container: string, count: number): Promise<ShownPort[]> {
  return waitFor(`${count} published ports of ${container}`, async () => {
    const ports = (await getApi<ShownPort[]>(host, '/v1/ports')).filter((port) => port.container === container);
    return ports.length === count ? ports : undefined;
  });
}

/** What of containers is on the host: veth pairs, ports of the bridge, endpoints of the directory. */
export async function leftovers(host: Host): Promise<{ links: string[]; ports: string[]; endpoints: number }> {
  const links = (await host.exec('ip', ['-o', 'link', 'show', 'type', 'veth']))
    .split('\n')
    .map((line) => /^\d+: ([^:@]+)/.exec(line)?.[1] ?? '')
    .filter((name) => name !== '' && name !== 'eth0');
  const ports = (await host.ovs('ovs-vsctl', 'list-ports', 'br-int')).split('\n').filter((name) => name !== 'daoli0');
  const endpoints = (await getApi<unknown[]>(host, '/v1/endpoints')).length;
  return { links, ports: ports.filter(Boolean), endpoints };
}

/** Removes containers and networks, whatever their state; those that do not exist are no error. */
export async function remove(host: Host, containers: readonly string[], networks: readonly string[]): Promise<void> {
  if (containers.length > 0) await host.tryDocker('rm', '-f', ...containers);
  for (const network of networks) await host.tryDocker('network', 'rm', network);
}

/** The address of a container in a network, as Docker tells it. */
export function addressOf(host: Host, container: string, network: string): Promise<string> {
  return host.docker('inspect', '--format', `{{(index .NetworkSettings.Networks "${network}").IPAddress}}`, container);
}

/** What Docker says when a command fails. Fails when it succeeds. */
export async function refusal(host: Host, ...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await host.tryDocker(...args);
  if (code === 0) throw new Error(`docker ${args.join(' ')} succeeded: ${stdout}`);
  return stderr.trim();
}
