// The managed plugin as a thing that Docker installs: settings, disable and enable, upgrade, removal, and what its
// supervisor keeps running. What networks do is tested elsewhere.
import { IMAGE, PLUGIN, REMOTE_PLUGIN, startHost, waitFor, type Host } from '../../lab/host';

const START_MS = 900_000; // the first host of a run builds the plugin
const STEP_MS = 120_000;

async function startPair(host: Host, network: string): Promise<void> {
  for (const name of ['a', 'b']) {
    await host.docker(
      'run',
      '-d',
      '--init',
      '--name',
      `${network}-${name}`,
      '--network',
      network,
      IMAGE,
      'sleep',
      '9999',
    );
  }
}

/** Succeeds when the two containers of `startPair` reach one another by name. */
function pingPair(host: Host, network: string): Promise<string> {
  return host.docker('exec', `${network}-a`, 'ping', '-c', '2', '-W', '2', `${network}-b`);
}

async function isEnabled(host: Host): Promise<boolean> {
  return (await host.docker('plugin', 'inspect', '--format', '{{.Enabled}}', PLUGIN)) === 'true';
}

describe('on a host with Open vSwitch', () => {
  let host: Host;

  beforeAll(async () => {
    host = await startHost({ plugin: 'registry' });
    await host.docker('network', 'create', '-d', 'daolinet', 'bare');
    await startPair(host, 'bare');
  }, START_MS);

  afterAll(() => host?.stop(), STEP_MS);

  test(
    'the driver has a bare name and a full one',
    async () => {
      await host.docker('network', 'create', '-d', PLUGIN, 'full');
      await startPair(host, 'full');
      await pingPair(host, 'full');
      await pingPair(host, 'bare');
      await host.docker('rm', '-f', 'full-a', 'full-b');
      await host.docker('network', 'rm', 'full');
    },
    STEP_MS,
  );

  test('each setting of config.json has a default and a description', async () => {
    const text = await host.docker('plugin', 'inspect', '--format', '{{json .Config.Env}}', PLUGIN);
    const settings = JSON.parse(text) as Array<{
      Name: string;
      Description: string;
      Value: string;
      Settable: string[];
    }>;
    expect(settings.length).toBeGreaterThan(0);
    for (const setting of settings) {
      expect(setting).toEqual({
        Name: expect.stringMatching(/^DAOLINET_[A-Z_]+$/),
        Description: expect.stringMatching(/.{20}/),
        Value: expect.stringMatching(/./),
        Settable: ['value'],
      });
    }
  });

  test(
    'a wrong setting is refused by its name, and a right one is taken',
    async () => {
      await host.docker('plugin', 'disable', '-f', PLUGIN);
      await expect(host.docker('plugin', 'set', PLUGIN, 'DAOLINET_NO_SUCH=1')).rejects.toThrow('DAOLINET_NO_SUCH');
      await host.docker('plugin', 'set', PLUGIN, 'DAOLINET_MTU=99999');
      await host.docker('plugin', 'enable', PLUGIN);
      await expect(host.docker('network', 'create', '-d', 'daolinet', 'refused')).rejects.toThrow(
        'DAOLINET_MTU: "99999"',
      );

      await host.docker('plugin', 'disable', '-f', PLUGIN);
      await host.docker('plugin', 'set', PLUGIN, 'DAOLINET_MTU=1400');
      await host.docker('plugin', 'enable', PLUGIN);
      await host.docker('network', 'create', '-d', 'daolinet', 'small');
      const link = await host.docker('run', '--rm', '--network', 'small', IMAGE, 'ip', 'link', 'show', 'eth0');
      expect(link).toContain('mtu 1400');
      await host.docker('network', 'rm', 'small');
    },
    STEP_MS,
  );

  test(
    'containers talk while the plugin is disabled, and after',
    async () => {
      await pingPair(host, 'bare');
      await host.docker('plugin', 'disable', '-f', PLUGIN);
      await pingPair(host, 'bare');
      await host.docker('plugin', 'enable', PLUGIN);
      await pingPair(host, 'bare');
    },
    STEP_MS,
  );

  test(
    'an upgrade keeps settings, networks and containers',
    async () => {
      const before = await host.docker('plugin', 'inspect', '--format', '{{.ID}} {{.Settings.Env}}', PLUGIN);
      await host.docker('plugin', 'disable', '-f', PLUGIN);
      await host.docker('plugin', 'upgrade', '--grant-all-permissions', PLUGIN, REMOTE_PLUGIN);
      await host.docker('plugin', 'enable', PLUGIN);
      expect(await host.docker('plugin', 'inspect', '--format', '{{.ID}} {{.Settings.Env}}', PLUGIN)).toBe(before);
      await pingPair(host, 'bare');
      await host.docker('run', '--rm', '--network', 'bare', IMAGE, 'ping', '-c', '2', '-W', '2', 'bare-a');
    },
    STEP_MS,
  );

  test(
    'each part that dies is started again, alone',
    async () => {
      const partsOf = async (pattern: string): Promise<string> =>
        (await host.tryExec('pgrep', ['-f', pattern])).stdout.trim();
      const databaseBefore = await partsOf('^ovsdb-server /data/directory.db');
      const startedAt = Date.now();
      await host.replaceAgent();
      expect(Date.now() - startedAt).toBeLessThan(5_000);
      expect(await partsOf('^ovsdb-server /data/directory.db')).toBe(databaseBefore);

      const agentBefore = host.agentPid();
      await host.exec('kill', ['-KILL', databaseBefore]);
      await waitFor('another database', async () => {
        const now = await partsOf('^ovsdb-server /data/directory.db');
        return now !== '' && now !== databaseBefore;
      });
      expect(host.agentPid()).toBe(agentBefore);
      await host.docker('network', 'create', '-d', 'daolinet', 'after');
      await host.docker('network', 'rm', 'after');
    },
    STEP_MS,
  );

  test(
    'an agent that hangs does not keep the plugin from stopping',
    async () => {
      await host.killAgent('SIGSTOP');
      const startedAt = Date.now();
      await host.docker('plugin', 'disable', '-f', PLUGIN);
      expect(Date.now() - startedAt).toBeLessThan(9_000); // Docker kills everything after ten
      await host.docker('plugin', 'enable', PLUGIN);
      await pingPair(host, 'bare');
    },
    STEP_MS,
  );

  test('no docker_gwbridge appears', async () => {
    expect(await host.docker('network', 'ls', '--format', '{{.Name}}')).not.toContain('docker_gwbridge');
  });

  test(
    'removal takes the sockets along, and the plugin can be installed again',
    async () => {
      await host.docker('rm', '-f', 'bare-a', 'bare-b');
      await host.docker('network', 'rm', 'bare');
      await host.docker('plugin', 'disable', PLUGIN);
      await host.docker('plugin', 'rm', PLUGIN);
      expect(await host.docker('plugin', 'ls', '--quiet')).toBe('');
      expect(await host.exec('ls', ['/run/docker/plugins'])).toBe('');
      await host.installPlugin();
      await host.docker('network', 'create', '-d', 'daolinet', 'again');
      await startPair(host, 'again');
      await pingPair(host, 'again');
    },
    STEP_MS,
  );

  // Last: for a second or two after such a start Docker 20.10 cannot disable the plugin.
  test(
    'Docker starts the plugin anew when its process 1 dies, whatever files it left',
    async () => {
      const supervisor = await host.exec('pgrep', ['-o', '-f', '^/bin/sh /usr/lib/daolinet/supervisor.sh']);
      const agent = host.agentPid();
      await host.exec('kill', ['-KILL', supervisor]);
      await waitFor('another agent', () => {
        const now = host.agentPid();
        return now !== undefined && now !== agent;
      });
      await waitFor('the plugin', () => isEnabled(host));
      await pingPair(host, 'again');
    },
    STEP_MS,
  );
});

describe('on a host without Open vSwitch', () => {
  let host: Host;

  beforeAll(async () => {
    host = await startHost({ ovs: false });
  }, START_MS);

  afterAll(() => host?.stop(), STEP_MS);

  test(
    'the one that the plugin carries does it, also after a restart of the plugin',
    async () => {
      await host.docker('network', 'create', '-d', 'daolinet', 'own');
      await startPair(host, 'own');
      await pingPair(host, 'own');
      await host.docker('plugin', 'disable', '-f', PLUGIN);
      await host.docker('plugin', 'enable', PLUGIN);
      await waitFor('the containers to talk again', async () =>
        pingPair(host, 'own').then(
          () => true,
          () => false,
        ),
      );
    },
    STEP_MS,
  );
});
