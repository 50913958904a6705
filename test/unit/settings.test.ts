import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { formatCidr } from '../../src/base/addresses';
import { readSettings } from '../../src/settings';

test('nothing set: every setting has its default', () => {
  const settings = readSettings({});
  expect(settings).toMatchObject({
    idleTimeoutSeconds: 60,
    logLevel: 'info',
    mtu: 1500,
    bridge: 'br-int',
    datapath: 'auto',
  });
  expect(formatCidr(settings.locatorRange)).toBe('100.64.0.0/10');
  expect(readSettings({ DAOLINET_MTU: '', HOME: '/' })).toEqual(settings);
});

test.each([
  ['DAOLINET_IDLE_TIMEOUT', 'abc', 'is not a whole number of seconds from 1 to 65535'],
  ['DAOLINET_IDLE_TIMEOUT', '0', 'is not a whole number of seconds'],
  ['DAOLINET_MTU', '1e3', 'is not a whole number of bytes from 576 to 9216'],
  ['DAOLINET_LOCATORS', '100.64.0.0/30', 'is not a prefix of /10 to /22'],
  ['DAOLINET_LOCATORS', '100.64.0.1/10', 'is not an IPv4 prefix'],
  ['DAOLINET_LOG_LEVEL', 'loud', 'is not one of debug, info, warn, error'],
  ['DAOLINET_DATAPATH', 'dpdk', 'is not one of auto, system, netdev'],
  ['DAOLINET_BRIDGE', 'br int; reboot', 'is not an interface name'],
  ['DAOLINET_API', '192.0.2.1', 'is neither "off" nor an IPv4 address with a port'],
])('%s=%s is refused by name', (name, value, reason) => {
  expect(() => readSettings({ [name]: value })).toThrow(`${name}: "${value}" ${reason}`);
});

test('every wrong setting is named at once, and one that does not exist', () => {
  expect(() => readSettings({ DAOLINET_MTU: '5', DAOLINET_OVS: 'x' })).toThrow(/DAOLINET_MTU.*DAOLINET_OVS/);
  expect(() => readSettings({ DAOLINET_IDLE: '5' })).toThrow('there is no setting DAOLINET_IDLE');
});

test('config.json declares settings that exist, with the same defaults', () => {
  const config = JSON.parse(readFileSync(join(__dirname, '../../config.json'), 'utf8')) as {
    env: { name: string; value: string; description: string }[];
  };
  const declared = config.env.filter(({ name }) => name.startsWith('DAOLINET_'));
  expect(declared.length).toBeGreaterThan(5);
  expect(readSettings(Object.fromEntries(declared.map(({ name, value }) => [name, value])))).toEqual(readSettings({}));
  expect(declared.filter(({ description }) => description.length < 10)).toEqual([]);
});
