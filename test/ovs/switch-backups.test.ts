// Controllers of other hosts on a real OVS: they come and go without a flow lost, over TLS with the host's own certificate, and
// nothing that somebody else has set up is touched.
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { createServer, type Server, type TLSSocket } from 'node:tls';
import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { systemClock } from '../../src/base/clock';
import { createAuthority, createRequest, fingerprintOf, issue, type Identity } from '../../src/pki/authority';
import { keyFilesIn, removeKeyFiles, writeKeyFiles } from '../../src/switch/key-files';
import { Switch } from '../../src/switch/switch';
import { until } from './flowctl-lab';
import { startOvs, type Ovs } from './ovs';

let ovs: Ovs;
let ovsSwitch: Switch;
let authority: Identity;
let server: Server;
let port: number;
const sockets: TLSSocket[] = [];
/** Fingerprints of the certificates that OVS has shown, in order. */
const shown: string[] = [];

async function identity(name: string): Promise<Identity> {
  const { request, key } = await createRequest(name);
  return { certificate: await issue(authority, request, name, Date.now()), key };
}

beforeAll(async () => {
  authority = await createAuthority(Date.now());
  const own = await identity('h2');
  // As the door of a host is.
  server = createServer({
    ca: authority.certificate,
    cert: own.certificate,
    key: own.key,
    minVersion: 'TLSv1.3',
    requestCert: true,
    rejectUnauthorized: false,
    ALPNProtocols: ['ovsdb', 'http/1.1'],
  });
  server.on('secureConnection', (socket) => {
    sockets.push(socket);
    shown.push(fingerprintOf(socket.getPeerCertificate().raw));
    socket.on('error', () => undefined);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ({ port } = server.address() as AddressInfo);
});
afterAll(() => void server.close());

beforeEach(async () => {
  ovs = await startOvs();
  ovsSwitch = new Switch({
    remote: ovs.dbRemote,
    bridge: 'br-int',
    controllerTarget: `unix:${ovs.rundir}/of.sock`,
    datapathId: '0000da0100000001',
    datapathType: 'dummy',
    owner: 'host-1',
    clock: systemClock,
    random: Math.random,
  });
  ovsSwitch.start();
  await ovsSwitch.ensureBridge();
  await ovs.ofctl('add-flow', 'br-int', 'cookie=0x7,priority=9,actions=drop');
});
afterEach(async () => {
  sockets.splice(0).forEach((socket) => socket.destroy());
  ovsSwitch.stop();
  await ovs.stop();
});

const folder = () => join(ovs.rundir, 'keys');
const files = () => keyFilesIn(folder());
const targets = async () => (await ovs.vsctl('get-controller', 'br-int')).trim().split('\n').sort();
const own = () => `unix:${ovs.rundir}/of.sock`;
const ssl = (host: string, at = port) => ({ host, target: `ssl:127.0.0.1:${at}` });
const write = ({ certificate, key }: Identity) =>
  writeKeyFiles(folder(), { certificate, key, authority: authority.certificate });

test('they come and go beside the own one, and no flow is lost', async () => {
  const [one, two] = [ssl('h2'), ssl('h3', 1)];
  for (const backups of [[one], [one, two], [two], []]) {
    expect(await ovsSwitch.setBackups(backups, files())).toBe(true);
    expect(await targets()).toEqual([...backups.map(({ target }) => target), own()].sort());
    expect(
      ovsSwitch
        .backups()
        .map(({ host }) => host)
        .sort(),
    ).toEqual(backups.map(({ host }) => host));
    expect(await ovs.ofctl('dump-flows', 'br-int')).toContain('cookie=0x7');
    const configuration = await ovs.vsctl('get', 'open_vswitch', '.', 'next_cfg');
    await ovsSwitch.setBackups(backups, files());
    await ovsSwitch.ensureBridge();
    expect(await ovs.vsctl('get', 'open_vswitch', '.', 'next_cfg')).toBe(configuration);
    expect(ovsSwitch.inspect()).toEqual({ differences: 0, otherControllers: [] });
  }
  expect(await ovs.vsctl('get-ssl')).not.toContain('Private key: /');
});

test('OVS shows the certificate that it was given, and the next one after that', async () => {
  const [first, second] = [await identity('h1'), await identity('h1')];
  write(first);
  expect(statSync(files().privateKey).mode & 0o777).toBe(0o600);
  const connected = once(server, 'secureConnection');
  await ovsSwitch.setBackups([ssl('h2')], files());
  const [socket] = (await connected) as [TLSSocket];
  expect([socket.authorized, socket.alpnProtocol]).toEqual([true, false]);
  expect(shown).toEqual([fingerprintOf(first.certificate)]);
  expect((await once(socket, 'data'))[0]).toBeInstanceOf(Buffer);
  write(second);
  const last = fingerprintOf(second.certificate);
  for (socket.destroy(); !shown.includes(last); sockets.at(-1)?.destroy()) await once(server, 'secureConnection');
  expect(readFileSync(files().certificate, 'utf8')).toBe(second.certificate);
  removeKeyFiles(folder());
});

test('an SSL row that is another’s stays, and then there are none', async () => {
  await ovs.vsctl('set-ssl', '/their/key', '/their/certificate', '/their/authority');
  await until('their row', () => ovsSwitch.hasForeignSsl);
  expect(await ovsSwitch.setBackups([ssl('h2')], files())).toBe(false);
  expect(await targets()).toEqual([own()]);
  expect(await ovs.vsctl('get-ssl')).toContain('/their/key');
});

test('whoever takes over the SSL row is noticed, and left alone', async () => {
  write(await identity('h1'));
  await ovsSwitch.setBackups([ssl('h2')], files());
  expect(ovsSwitch.hasForeignSsl).toBe(false);
  let changes = 0;
  ovsSwitch.onControllerChange(() => (changes += 1));
  await ovs.vsctl('set-ssl', '/their/key', '/their/certificate', '/their/authority');
  await until('notice', () => changes > 0 && ovsSwitch.hasForeignSsl);
  expect(await ovsSwitch.setBackups([ssl('h2')], files())).toBe(false);
  expect(await targets()).toEqual([own()]);
  expect(await ovs.vsctl('get-ssl')).toContain('/their/key');
});
