// The page in a browser: what is there is drawn, a first packet draws a line, which fades; policies and pairs are changed in it; and
// nothing in it is anybody else's.

import { startHost, waitFor, type Host } from '../../lab/host';
import { PageView, WebCommand } from './support/browser';
import { ping, remove, startClient, lendPrograms } from './support/peers';

jest.setTimeout(60_000);

const IDLE_SECONDS = 5;
const NASTY = '<img src=x onerror=alert(1)>';
const ADDRESS = { ann: '10.50.0.10', bob: '10.50.0.11', cat: '10.51.0.10' } as const;

let host: Host;
let web: WebCommand;
let view: PageView;

beforeAll(async () => {
  host = await startHost({ settings: { DAOLINET_IDLE_TIMEOUT: String(IDLE_SECONDS) } });
  lendPrograms(host);
  const create = ['network', 'create', '-d', 'daolinet', '--ipam-driver', 'daolinet'];
  await host.docker(...create, '--subnet', '10.50.0.0/24', 'shop');
  await host.docker(...create, '--subnet', '10.51.0.0/24', 'data');
  await startClient(host, 'ann', ['--network', 'shop', '--ip', ADDRESS.ann, '--label', `app=${NASTY}`]);
  await startClient(host, 'bob', ['--network', 'shop', '--ip', ADDRESS.bob, '-p', '8080:80']);
  await startClient(host, 'cat', ['--network', 'data', '--ip', ADDRESS.cat]);
  web = await WebCommand.start(host);
  view = await PageView.open(web.url);
}, 900_000);

afterAll(async () => {
  await view?.close();
  await web?.stop();
  await host?.stop();
}, 60_000);

/** The lines of `daolictl ARGUMENTS`. */
const daolictl = async (...args: string[]) => JSON.parse(await host.daolictl('--output', 'json', ...args)) as unknown;

const policies = async () => ((await daolictl('policy', 'list')) as { policies: unknown[] }).policies;

test('shows the host, its networks and its containers, with their ports, and says that nobody talks', async () => {
  await waitFor('the containers', async () => (await view.containers()).size === 3);
  const drawn = await view.drawn();
  expect(drawn.filter(({ classes }) => classes.includes('host')).map(({ label }) => label)).toEqual([host.name]);
  expect((await view.containers()).get('bob')?.label).toBe('bob\n:8080');
  expect((await view.text('#numbers')).split(/\s+/)).toEqual(['host', '1', 'containers', '3', 'live', '0']);
  expect((await view.text('#key')).split('\n')).toEqual(['data', 'shop']);
  await waitFor('that nobody talks', async () => (await view.text('#hint')) === 'No routes: nobody talks', 20_000);
});

test('draws a line with the first packet, which fades when nobody talks any more', async () => {
  expect(await ping(host, 'ann', ADDRESS.bob)).toBe(1);
  await waitFor('the line', async () => (await view.connections()).includes('ann bob'), 3000);
  await waitFor('it to fade', async () => (await view.connections()).length === 0, 3 * IDLE_SECONDS * 1000);
  await waitFor('it to be gone', async () => !(await view.drawn()).some(({ kind }) => kind === 'edge'));
});

test('shows what comes and goes, where there is room; all else stays where it is', async () => {
  const before = (await view.containers()).get('ann');
  await startClient(host, 'dan', ['--network', 'shop']);
  await waitFor('the container', async () => (await view.containers()).has('dan'));
  await remove(host, ['dan'], []);
  await waitFor('it to go', async () => !(await view.containers()).has('dan'));
  expect((await view.containers()).get('ann')).toEqual(before);
});

test('tells of a container that is clicked, text of others as text', async () => {
  await view.click('ann');
  await waitFor('what is known', async () => (await view.text('#details')).includes(ADDRESS.ann));
  const text = await view.text('#details');
  expect(text).toContain(`app=${NASTY}`);
  expect(text).toMatch(/MAC\s+[0-9a-f:]{17}/);
  expect(await view.page.$$('#details img')).toEqual([]);
});

test('adds a policy and removes it, and shows what the agent refuses', async () => {
  await view.page.click('#tab-policies');
  await view.page.type('[name=from]', 'network:shop');
  await view.page.type('[name=to]', 'network:nowhere');
  await view.press('policies', 'Add');
  await waitFor('the refusal', async () => (await view.text('#policy-error')).includes('nowhere'));
  expect(await policies()).toEqual([]);
  // What was typed is there still, to be mended.
  await view.page.click('[name=to]', { count: 3 });
  await view.page.type('[name=to]', 'network:data');
  await view.page.type('[name=name]', 'p-web');
  await view.press('policies', 'Add');
  await waitFor('the policy', async () => (await view.text('#policy-list')).includes('network:shop → network:data'));
  expect(await view.text('#policy-error')).toBe('');
  expect(await policies()).toMatchObject([{ name: 'p-web', action: 'allow', from: 'network:shop' }]);
  await view.press('policies', 'Remove');
  await view.press('policies', 'Sure?');
  await waitFor('it to go', async () => !(await view.text('#policy-list')).includes('network:shop'));
  expect(await policies()).toEqual([]);
});

test('disconnects two containers that are clicked, and lets them talk again', async () => {
  await view.click('ann');
  await view.click('bob', 'Shift');
  await waitFor('the pair', async () => (await view.text('#pairs')).includes('Nothing is said about the two.'));
  await view.press('pairs', 'Disconnect');
  await waitFor('what it says', async () => (await view.text('#pairs')).includes('Disconnected by hand.'));
  expect(await daolictl('show', 'ann:bob')).toMatchObject({ connected: false });
  expect(await ping(host, 'ann', ADDRESS.bob, '-W', '1')).toBe(0);
  await view.press('pairs', 'Clear');
  await waitFor('what it says', async () => (await view.text('#pairs')).includes('Nothing is said about the two.'));
  expect(await ping(host, 'ann', ADDRESS.bob)).toBe(1);
});

test('changes what holds in a network where no rule does', async () => {
  await view.page.click('#tab-networks');
  await view.page.click('[data-default=data]');
  await waitFor('deny', async () => (await view.text('#networks')).includes('default deny'));
  const { defaults } = (await daolictl('policy', 'list')) as { defaults: unknown[] };
  expect(defaults).toContainEqual({ network: 'data', default: 'deny' });
});

test('has had nothing to complain of, but for the refusal that it showed', () => {
  const others = view.complaints.filter((text) => !/404 \(Not Found\)/.test(text));
  expect(others).toEqual([]);
  expect(view.complaints.length).toBeLessThanOrEqual(1);
});

test('has rules for the browser that let nothing in from elsewhere', async () => {
  const answer = await view.page.reload();
  expect(answer?.headers()['content-security-policy']).toMatch(
    /default-src 'none'.*script-src 'self'.*frame-ancestors 'none'/,
  );
  expect(answer?.headers()['x-content-type-options']).toBe('nosniff');
  // A script in the page itself is what an attacker would put there.
  const hasRun = await view.page.evaluate(() => {
    const world = globalThis as unknown as { readonly document: Dom; hasRun?: boolean };
    const script = world.document.createElement('script');
    try {
      script.textContent = 'globalThis.hasRun = true';
      world.document.head.append(script);
    } catch {
      // Even the text is refused.
    }
    return world.hasRun === true;
  });
  expect(hasRun).toBe(false);
});

test('ends with Ctrl-C, and says so in the page', async () => {
  expect(await web.stop()).toBe(0);
  await waitFor('the page to know', () => view.page.$('#agent[data-state=away]'));
});

/** The tests' types know no browser. */
interface Dom {
  readonly head: { append(element: unknown): void };
  createElement(tag: 'script'): { textContent: string };
}
