// The management API from elsewhere: of another host of the cluster through its door, and over TCP with certificates that are made
// as docs/api.md says.
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { joinAll, startHosts, stopCluster, type LabCluster } from '../../lab/cluster';
import { waitFor, type Host } from '../../lab/host';

jest.setTimeout(120_000);

/** On the host; its /run is not this machine's. */
const FOLDER = '/run/api-test';
let lab: LabCluster;
let h1: Host;
let h2: Host;

beforeAll(async () => {
  lab = await startHosts(2, { settings: { DAOLINET_API: '0.0.0.0:7480' } });
  [h1, h2] = lab.hosts as [Host, Host];
  await joinAll(lab.hosts);
}, 900_000);
afterEach(() => lab.site.heal());
afterAll(() => lab && stopCluster(lab), 60_000);

/** What a command of daolictl refuses with. */
async function refusal(host: Host, ...args: string[]): Promise<string> {
  const { code, stderr } = await host.tryDaolictl(...args);
  expect(code).toBe(1);
  return stderr.trim();
}

describe('another host of the cluster', () => {
  test('is asked from a server by its name', async () => {
    // Its door opens when it is ready.
    await waitFor('the door of h2', async () => (await h1.tryDaolictl('--host', 'h2', 'host', 'ls')).code === 0);
    expect(await h1.daolictl('--host', 'h2', 'host', 'ls')).toMatch(/^h2 \(this\) .*client/m);
    expect(await h1.daolictl('--host', 'h1', 'host', 'ls')).toMatch(/^h1 \(this\) .*server/m);
    const access = JSON.parse(await h1.daolictl('--host', 'h2', '--output', 'json', 'api', 'status'));
    expect(access).toMatchObject({ address: '0.0.0.0:7480', isListening: false });
  });

  test('is completed by its name', async () => {
    expect(await h1.daolictl('complete', '--', '--host', '')).toBe('h1\thost\nh2\thost');
    expect(await h2.daolictl('complete', '--', 'host', 'rm', 'h2')).toBe('h2\thost');
  });

  test('acts as if it were asked there', async () => {
    expect(await h1.daolictl('--host', 'h2', 'cluster', 'rotate')).toContain('This host has a new certificate');
    expect(await h1.daolictl('--host', 'h2', 'host', 'ls')).toContain('h2 (this)');
    expect(await refusal(h1, '--host', 'h2', 'cluster', 'token')).toContain(
      'only servers of the cluster give out tokens',
    );
  });

  test('is not asked from a client', async () => {
    const said = `only servers of the cluster reach the agents of other hosts: do it on ${h1.address}`;
    expect(await refusal(h2, '--host', 'h1', 'host', 'ls')).toContain(said);
    expect(await refusal(h2, '--host', 'h1', 'cluster', 'token')).toContain(said);
  });

  test('that is none, or out of reach, is named', async () => {
    expect(await refusal(h1, '--host', 'h12', 'host', 'ls')).toContain('there is no host h12; did you mean');
    await lab.site.cut(h1.name, h2.name);
    const begun = performance.now();
    expect(await refusal(h1, '--host', 'h2', 'host', 'ls')).toContain('the agent of host h2 cannot be reached');
    expect(performance.now() - begun).toBeLessThan(10_000);
  });
});

describe('over TCP', () => {
  /** GET by curl on h2. */
  const get = (host: Host, who: string) => {
    const identity = who === '' ? [] : ['--cert', `${FOLDER}/${who}/cert.pem`, '--key', `${FOLDER}/${who}/key.pem`];
    const url = `https://${host.address}:7480/v1/status`;
    return h2.tryExec('curl', ['-sS', '--max-time', '10', '--cacert', `${FOLDER}/ca.pem`, ...identity, url]);
  };

  beforeAll(async () => {
    await h2.exec('mkdir', ['-p', FOLDER]);
    const docs = readFileSync(join(__dirname, '../../docs/api.md'), 'utf8');
    const recipe = /```sh\n([^]*?)```/.exec(docs)?.[1]?.replaceAll('192.0.2.1', h1.address);
    const options = { cwd: h2.path(FOLDER), encoding: 'utf8' as const };
    const { status, stderr } = spawnSync('bash', ['-ec', recipe ?? 'exit 1'], options);
    expect({ status, stderr }).toMatchObject({ status: 0 });
  });

  test('nothing listens before there are certificates', async () => {
    expect(await h1.daolictl('api', 'status')).toContain('it has no certificates: give it some with');
    expect((await get(h1, 'ann')).code).not.toBe(0);
  });

  test('with certificates who has one comes in, and nobody else', async () => {
    expect(await h1.daolictl('api', 'certificates', join(h2.path(FOLDER), 'h1'))).toContain(
      'The agent has the certificates. It listens on 0.0.0.0:7480 as CN=h1, until',
    );
    expect(JSON.parse((await get(h1, 'ann')).stdout)).toMatchObject({ host: 'h1', state: 'ready' });
    expect((await get(h1, '')).code).not.toBe(0);
    expect((await h2.tryExec('curl', ['-sS', `http://${h1.address}:7480/v1/status`])).stdout).not.toContain('ready');
  });

  test('they are there when the agent has started anew', async () => {
    await h1.daolictl('cluster', 'rotate');
    expect(JSON.parse((await get(h1, 'ann')).stdout)).toMatchObject({ host: 'h1' });
  });
});
