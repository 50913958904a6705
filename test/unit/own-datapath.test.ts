// What this host tells of its own datapath, and whom Open vSwitch is told to connect to.
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseCidr, parseIpv4, parseMac } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { planSwitch } from '../../src/directory/switch-operations';
import { formatProfile, parseProfile } from '../../src/flow-profile';
import type { FlowHost } from '../../src/flowctl/model';
import { DIALLED_WITHIN_MS, OwnDatapath } from '../../src/own-datapath';
import type { BackupController, BackupStatus } from '../../src/switch/backup-controllers';
import { keyFilesIn, type SwitchKeys } from '../../src/switch/key-files';
import { ManualClock } from '../fakes/manual-clock';
import { change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort: { portNo: 10, mac: parseMac('02:da:00:00:00:10') },
  hostAddress: parseIpv4('100.64.0.1'),
  fabric: { portNo: 11, mtu: 1500, isNarrow: false },
  hasTunnels: true,
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};
const settings = { idleTimeoutSeconds: 60, packetInRate: 1000, packetInBurst: 1000, maxRoutesPerEndpoint: 4096 };
const { hostPort, fabric, kernelDatapath } = host;
const profile = { hostPort, fabric, kernelDatapath, settings };

describe('a profile', () => {
  test('is text that says the same again, of a few hundred characters', () => {
    const text = formatProfile(profile);
    expect(parseProfile(text)).toEqual(profile);
    expect(text.length).toBeLessThan(1000);
    const bare = { kernelDatapath: true, settings };
    expect(parseProfile(formatProfile(bare))).toEqual(bare);
  });

  test('has nothing that the directory has', () => {
    expect(JSON.parse(formatProfile({ ...host, settings }))).toEqual({ layout: 2, ...profile });
  });

  test('of a later version may say more', () => {
    const written = JSON.parse(formatProfile(profile)) as object;
    const more = { ...written, fabric: { ...host.fabric, more: 1 }, settings: { ...settings, more: [] }, more: {} };
    expect(parseProfile(JSON.stringify(more))).toEqual(profile);
  });

  test.each([
    ['nothing', ''],
    ['no profile', '{}'],
    ['a port that is none', formatProfile({ ...profile, hostPort: { portNo: 0, mac: host.routerMac } })],
    ['one of flows that mean something else', formatProfile(profile).replace('"layout":2', '"layout":3')],
    ['no timeout', formatProfile({ ...profile, settings: { ...settings, idleTimeoutSeconds: 0 } })],
  ])('%s is none', (_, text) => {
    expect(() => parseProfile(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });
});

describe('who stands by', () => {
  let cluster: SmallCluster;
  let folder: string;
  let keys: SwitchKeys | undefined;
  let isForeign: boolean;
  let told: (readonly BackupController[])[];
  let tellChange: () => void;
  let clock: ManualClock;
  let own: OwnDatapath;
  let connections: number;
  const dials: string[] = [];

  beforeEach(async () => {
    cluster = await createSmallCluster();
    folder = mkdtempSync(join(tmpdir(), 'own-'));
    keys = { certificate: 'certificate', key: 'key', authority: 'authority' };
    [isForeign, told, clock, connections] = [false, [], new ManualClock(), 0];
    dials.length = 0;
    own = new OwnDatapath({
      store: cluster.h1,
      switch: {
        setBackups: (backups) => (told.push(backups), Promise.resolve(!isForeign)),
        backups: (): BackupStatus[] => [],
        get hasForeignSsl() {
          return isForeign;
        },
        onControllerChange: (listener) => ((tellChange = listener), () => undefined),
        redial: () => (dials.push('redial'), Promise.resolve()),
        reconfigure: () => (dials.push('reconfigure'), Promise.resolve()),
      },
      controller: { setHost: () => undefined, isServing: true, counters: () => ({ connections }) as never },
      settings,
      locatorRange: host.locatorRange,
      keys: () => keys,
      keyFolder: join(folder, 'keys'),
      logger: silentLogger,
      clock,
      random: () => 0,
    });
    cluster.h1.onChange((changes) => own.follow(changes));
    own.start();
    await settled();
  });
  afterEach(() => {
    own.stop();
    rmSync(folder, { recursive: true });
  });

  const settled = () => new Promise((resolve) => setImmediate(resolve));
  const setBackups = async (...backups: string[]) => {
    await change(cluster.h1, (context) => planSwitch(context, { generation: 1, backups, profile: '' }));
    await settled();
  };
  const files = () => keyFilesIn(join(folder, 'keys'));

  test('Open vSwitch follows the directory, with what it is to show beside it', async () => {
    expect(told).toEqual([[]]);
    await setBackups('h2');
    expect(told.at(-1)).toEqual([{ host: 'h2', target: 'ssl:192.0.2.2:7470' }]);
    const { certificate, privateKey, authority } = files();
    const read = () => [certificate, privateKey, authority].map((path) => readFileSync(path, 'utf8'));
    expect(read()).toEqual(['certificate', 'key', 'authority']);
    keys = { certificate: 'next', key: 'next key', authority: 'authority' };
    tellChange();
    await settled();
    expect(read()).toEqual(['next', 'next key', 'authority']);
    await setBackups();
    expect(told.at(-1)).toEqual([]);
    expect(existsSync(privateKey)).toBe(false);
  });

  test('Open vSwitch that has not connected after a moment is told to, once', () => {
    clock.advance(DIALLED_WITHIN_MS - 1);
    expect(dials).toEqual([]);
    clock.advance(60_000);
    expect(dials).toEqual(['redial']);
    own.handleConnected();
    expect(dials).toEqual(['redial', 'reconfigure']);
  });

  test('one that has connected by itself is not', () => {
    connections = 1;
    clock.advance(60_000);
    expect(dials).toEqual([]);
  });

  test('a host that has left its cluster has none', async () => {
    keys = undefined;
    await setBackups('h2');
    expect(told.at(-1)).toEqual([]);
  });

  test('an SSL row of somebody else is told as what is in the way; so is a profile that changes', () => {
    let changes = 0;
    own.onChange(() => (changes += 1));
    own.setHost(host);
    own.setHost({ ...host });
    expect(changes).toBe(1);
    expect(parseProfile(own.profile())).toEqual(profile);
    expect(own.obstacle).toBeUndefined();
    isForeign = true;
    tellChange();
    tellChange();
    expect(changes).toBe(2);
    expect(own.obstacle).toContain('not DaoliNet’s');
  });
});
