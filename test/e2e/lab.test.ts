// `npm run lab`, as a user who tries a cluster on one machine has it.
import { execFile } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { startSites, stopCluster } from '../../lab/cluster';
import { waitFor } from '../../lab/host';

jest.setTimeout(120_000);

const folder = mkdtempSync(join(tmpdir(), `daolinet-lab-${process.pid}-`));
/** By this the lab's own processes are known, and by the names of its hosts' folders what runs in those: their cgroups have them. */
const environment = { ...process.env, DAOLINET_LAB: join(folder, 'lab'), TMPDIR: folder };
const marks = new Set([folder]);

function read(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return ''; // the process is gone
  }
}

/** What a lab could leave: interfaces, mounts, folders and processes. What other suites beside this one have is not the lab's. */
function leftBehind() {
  const folders = readdirSync(folder).filter((name) => name.startsWith('daolinet-'));
  for (const name of folders) marks.add(name);
  const isOurs = (text: string): boolean => [...marks].some((mark) => text.includes(mark));
  const processes = readdirSync('/proc').filter((entry) => /^\d+$/.test(entry));
  return {
    folders,
    links: readdirSync('/sys/class/net').sort(),
    mounts: read('/proc/mounts').split('\n').filter(isOurs),
    processes: processes
      .filter((pid) => ['environ', 'cgroup', 'cmdline'].some((name) => isOurs(read(`/proc/${pid}/${name}`))))
      .map((pid) => read(`/proc/${pid}/comm`).trim()),
  };
}

const before = leftBehind();

/** `npm run lab -- ARGS`: what it said, and its exit code. */
function lab(...args: string[]): Promise<{ code: number; said: string }> {
  const script = join(__dirname, '../../lab/run.sh');
  return new Promise((resolve) => {
    execFile('bash', [script, ...args], { env: environment }, (error, stdout, stderr) => {
      resolve({ code: typeof error?.code === 'number' ? error.code : 0, said: stdout + stderr });
    });
  });
}

afterAll(async () => {
  await lab('down');
  rmSync(folder, { recursive: true, force: true });
}, 60_000);

test('before it is up, commands say so', async () => {
  expect(await lab('up', '--hosts', 'many')).toMatchObject({ code: 1, said: expect.stringContaining('--hosts many') });
  expect(await lab('status')).toMatchObject({ code: 1, said: expect.stringContaining('no lab is there') });
});

test('up makes one cluster of the hosts', async () => {
  const { code, said } = await lab('up', '--hosts', '2');
  expect([code, said]).toEqual([0, expect.stringMatching(/h1 +192\.0\.2\.1 +up +up +up +up/)]);
  expect((await lab('exec', 'h2', 'daolictl', 'host', 'ls')).said).toMatch(/h1 .*server[^]*h2 \(this\).*client/);
  expect(await lab('up')).toMatchObject({ code: 1, said: expect.stringContaining('a lab is there already') });
  const { folders, processes } = leftBehind();
  expect(folders).toHaveLength(3); // two hosts, and the network between them
  expect(processes).toEqual(
    expect.arrayContaining(['dockerd', 'containerd', 'ovs-vswitchd', 'ovsdb-server', 'daolinetd']),
  );
});

test('exec runs anything on a host, and ends as it ended', async () => {
  expect(await lab('exec', 'h1', 'sh', '-c', 'hostname; exit 3')).toEqual({ code: 3, said: 'h1\n' });
  expect((await lab('exec', 'h2', 'docker', 'info', '--format', '{{.Name}}')).said).toBe('h2\n');
  expect(await lab('exec', 'h9', 'true')).toMatchObject({ code: 1, said: expect.stringContaining('there are h1, h2') });
});

test('cut and heal', async () => {
  const ping = async () => (await lab('exec', 'h1', 'busybox', 'ping', '-c', '1', '-W', '1', '192.0.2.2')).code;
  expect(await ping()).toBe(0);
  expect((await lab('cut', 'h1', 'h2')).code).toBe(0);
  expect(await ping()).toBe(1);
  expect((await lab('status')).said).toMatch(/h1 .* h2\nh2 .* h1\n/);
  await lab('heal');
  expect(await ping()).toBe(0);
});

test('a wire that is slow or loses frames, or is cut one way', async () => {
  const ping = async () => (await lab('exec', 'h1', 'busybox', 'ping', '-c', '1', '-W', '2', '192.0.2.2')).said;
  expect((await lab('link', 'h2', '--delay', '150')).code).toBe(0);
  expect(Number(/time=([\d.]+) ms/.exec(await ping())?.[1])).toBeGreaterThan(300);
  await lab('heal');
  expect((await lab('link', 'h2', '--loss', '100')).code).toBe(0);
  expect(await ping()).toContain('100% packet loss');
  await lab('heal');
  await lab('cut', 'h1', 'h2', '--one-way');
  expect(await ping()).toContain('100% packet loss');
  await lab('heal');
  expect(await ping()).toContain(' 0% packet loss');
});

test.each(['daolinetd', 'dockerd', 'ovs-vswitchd', 'ovsdb-server'])('kill %s: it runs again', async (daemon) => {
  expect(await lab('kill', 'h2', daemon)).toMatchObject({ code: 0, said: expect.stringContaining('runs again') });
  expect((await lab('status')).said).not.toContain('down');
});

test('what it cannot kill is refused, naming what it can', async () => {
  expect((await lab('kill', 'h1', 'init')).said).toContain(
    'the lab can kill daolinetd, dockerd, ovs-vswitchd, ovsdb-server',
  );
});

async function downLeavesNothing(): Promise<void> {
  expect(await lab('down')).toEqual({ code: 0, said: 'down\n' });
  // Its own process ends a moment after it has said so.
  await waitFor('everything to be gone', () => isDeepStrictEqual(leftBehind(), before), 3000).catch(() => undefined);
  expect(leftBehind()).toEqual(before);
}

test('down leaves nothing behind', downLeavesNothing);

/** Says on UDP port 7471 who it is that asks. */
const MIRROR = `
  use IO::Socket::INET;
  my $socket = IO::Socket::INET->new(Proto => "udp", LocalPort => 7471) or die "udp: $!";
  close(STDIN); close(STDOUT); close(STDERR);
  while ($socket->recv(my $question, 9)) { $socket->send($socket->peerhost . ":" . $socket->peerport) }
`;
const UNTIL_BOUND = 'for try in $(seq 50); do ss -Huln "sport = :7471" | grep -q . && exit 0; sleep 0.1; done; exit 1';
/** Asks it, from a port of the same number where no other is given, and prints the answer. */
const ASK = `
  use IO::Socket::INET;
  my $socket = IO::Socket::INET->new(Proto => "udp", LocalPort => $ARGV[1] // 7471, PeerAddr => $ARGV[0], PeerPort => 7471);
  $socket->send("who"); $socket->recv(my $answer, 99); print $answer;
`;

test('tests see what passes between sites, and what stays within one', async () => {
  const sites = await startSites({ dc: 2, home: 1 }, { nat: ['home'], isBare: true });
  try {
    const { internet } = sites;
    const [between, within] = await Promise.all([internet.captureBetweenSites(), internet.captureWithin('dc')]);
    const tell = async (from: string, word: string, to: string) => {
      const pattern = Buffer.from(word).toString('hex');
      await sites.host(from).exec('ping', ['-c', '1', '-W', '2', '-p', pattern, to]);
    };
    await tell('home1', 'far', sites.host('dc1').address);
    await tell('dc2', 'near', sites.host('dc1').address);
    await waitFor('what passed', () => between.count('farfar') > 0 && within.count('nearnear') > 0);
    expect(between.count('nearnear')).toBe(0);
    expect(() => sites.host('dc3')).toThrow('there is no host dc3; there are dc1, dc2, home1');
  } finally {
    await stopCluster(sites);
  }
});

describe('several sites', () => {
  const execOn = (place: string, command: string) => lab('exec', place, 'sh', '-c', command);
  /** Those of the addresses that answer a ping, asked all at once. */
  const answering = async (from: string, ...addresses: string[]) => {
    const ask = addresses.map((address) => `{ busybox ping -c 1 -W 1 ${address} >/dev/null && echo ${address}; } &`);
    const { said } = await execOn(from, `${ask.join(' ')} wait`);
    return addresses.filter((address) => said.split('\n').includes(address));
  };
  const DC1 = '198.18.1.1';
  const CLOUD1 = '198.18.2.1';
  const CLOUD2 = '198.18.2.2';
  const HOME1 = '192.168.3.1';
  const INTERNET = '203.0.113.7';

  test('what cannot be is refused, and nothing starts', async () => {
    expect((await lab('up', '--sites', 'dc:1', '--hub', 'dc2')).said).toContain('there is no host dc2; there are dc1');
    expect((await lab('up', '--nat', 'home')).said).toContain('--nat, --no-l2, --drop-macs and --hub are for --sites');
    expect((await lab('status')).said).toContain('no lab is there');
  });

  test('hosts are called by their site', async () => {
    const sites = ['--sites', 'dc:1,cloud:2,home:1,office:1', '--nat', 'home,office', '--no-l2', 'cloud'];
    const { code, said } = await lab('up', ...sites, '--bare');
    expect([code, said]).toEqual([0, expect.stringMatching(/HOST +SITE +ADDRESS +NAT/)]);
    const rows = said.split('\n').map((line) => line.split(/ +/).slice(0, 4));
    expect(rows).toEqual(
      expect.arrayContaining([
        ['dc1', 'dc', '198.18.1.1', '-'],
        ['cloud1', 'cloud', '198.18.2.1', '-'],
        ['cloud2', 'cloud', '198.18.2.2', '-'],
        ['home1', 'home', '192.168.3.1', '203.0.113.30'],
        ['office1', 'office', '192.168.4.1', '203.0.113.40'],
      ]),
    );
  });

  test('all reach the internet and what is public, and nobody reaches what is behind NAT', async () => {
    const everything = [DC1, CLOUD1, CLOUD2, INTERNET, HOME1, '192.168.4.1'];
    const reached = await Promise.all(
      ['dc1', 'cloud1', 'home1', 'internet'].map((from) => answering(from, ...everything)),
    );
    const open = [DC1, CLOUD1, CLOUD2, INTERNET];
    expect(reached).toEqual([open, open, [...open, HOME1], open]);
  });

  test('NAT: a conversation goes out by another port, and answers come in', async () => {
    expect((await execOn('dc1', `(perl -e '${MIRROR}' &) ; ${UNTIL_BOUND}`)).code).toBe(0);
    const said = (await execOn('home1', `perl -e '${ASK}' 198.18.1.1`)).said;
    expect(said).toMatch(/^203\.0\.113\.30:\d+$/);
    expect(said).not.toContain(':7471');
  });

  test('NAT: nothing else comes in, also not for one who knows the address inside', async () => {
    expect((await execOn('home1', `(perl -e '${MIRROR}' &) ; ${UNTIL_BOUND}`)).code).toBe(0);
    expect((await execOn('home1', `perl -e '${ASK}' 192.168.3.1 0`)).said).toContain('192.168.3.1:');
    await execOn('internet', 'ip route add 192.168.3.1 via 203.0.113.30 dev to-home onlink');
    for (const to of ['203.0.113.30', HOME1]) {
      expect((await execOn('internet', `timeout 1 perl -e '${ASK}' ${to}`)).said).toBe('');
    }
    expect(await answering('internet', HOME1)).toEqual([]);
  });

  test('a site without L2 passes nothing of other MAC addresses; one with L2 does', async () => {
    const add = (address: string) =>
      [
        'ip link add other link eth0 type macvlan mode bridge',
        `ip addr add ${address}/24 dev other`,
        'ip link set other up',
      ].join(' && ');
    const askFrom = (place: string, to: string) => execOn(place, `busybox ping -c 1 -W 1 -I other ${to}`);
    expect((await execOn('cloud1', add('198.18.2.77'))).code).toBe(0);
    expect((await askFrom('cloud1', CLOUD2)).code).toBe(1);
    expect((await execOn('dc1', add('198.18.1.77'))).code).toBe(0);
    expect((await askFrom('dc1', '198.18.1.254')).code).toBe(0);
  });

  test('cut: two hosts, and a host from a site', async () => {
    await lab('cut', 'home1', 'dc1');
    await lab('cut', 'dc1', 'cloud');
    expect((await lab('status')).said).toMatch(/dc1 .* home1 cloud1 cloud2\n(cloud\d .* dc1\n){2}home1 .* dc1\n/);
    expect(await answering('home1', DC1, CLOUD1, INTERNET)).toEqual([CLOUD1, INTERNET]);
    expect(await answering('dc1', CLOUD1, CLOUD2, INTERNET)).toEqual([INTERNET]);
    expect(await answering('office1', DC1)).toEqual([DC1]);
    await lab('heal');
    expect(await answering('home1', DC1)).toEqual([DC1]);
    expect(await answering('dc1', CLOUD1, CLOUD2)).toEqual([CLOUD1, CLOUD2]);
  });

  test('link: small packets, and loss', async () => {
    const big = `ping -c 1 -W 1 -M do -s 1472 ${DC1}`;
    expect((await execOn('home1', big)).code).toBe(0);
    await lab('link', 'home', '--mtu', '1400');
    expect((await execOn('home1', big)).said).toContain('mtu = 1400');
    await lab('link', 'home', '--loss', '100');
    expect(await answering('home1', DC1)).toEqual([]);
    expect(await answering('cloud1', DC1)).toEqual([DC1]);
    await lab('heal');
    expect((await execOn('home1', `ip route flush cache; ${big}`)).code).toBe(0);
  });

  test('roam: another public address, and another site', async () => {
    expect((await lab('roam', 'home1')).said).toBe('home1 is at home, 192.168.3.1, and others see 203.0.113.31\n');
    expect(await answering('home1', DC1)).toEqual([DC1]);
    expect(await answering('dc1', '203.0.113.30', '203.0.113.31')).toEqual(['203.0.113.31']);
    expect((await lab('roam', 'home1', 'office')).said).toContain('home1 is at office, 192.168.4.2');
    expect(await answering('home1', '192.168.4.1', DC1)).toEqual(['192.168.4.1', DC1]);
    expect((await lab('roam', 'dc1')).said).toContain('dc has no NAT');
  });

  test('down leaves nothing behind', downLeavesNothing);
});
