// What a container would have of the host that it comes to. A container is what the host that it comes from says it is: whoever has
// taken over one host must not get another by a container that somebody moves, unless that is what is wanted. Pure; read from what
// Docker will be asked for, not from what is said about it.

type Json = Readonly<Record<string, unknown>>;

/** Linux capabilities that are as good as being root of the host. */
const CAPABILITIES = new Set([
  ...['ALL', 'SYS_ADMIN', 'SYS_MODULE', 'SYS_PTRACE', 'SYS_RAWIO', 'SYS_BOOT', 'DAC_READ_SEARCH', 'BPF', 'MAC_ADMIN'],
  ...['SYSLOG', 'PERFMON', 'CHECKPOINT_RESTORE'],
]);

/** What speaks against a container on `host`, for somebody to insist on. */
export function objectionsOf(hostConfig: Json, host: string): string[] {
  const mounts = hostPathsOf(hostConfig).map(
    ({ source, target }) =>
      `${target} is ${source} of its host: on host ${host} it would be what is there, or an empty folder`,
  );
  const powers = powersOf(hostConfig);
  if (powers.length === 0) return mounts;
  return [...mounts, `it has power over its host (${powers.join(', ')}), and would have it on host ${host}`];
}

/** Bind mounts, in each way to ask for them. */
function hostPathsOf(hostConfig: Json): { source: string; target: string }[] {
  const binds = list(hostConfig['Binds']).map(String);
  const fromBinds = binds
    .filter((bind) => bind.startsWith('/'))
    .map((bind) => {
      const [source = '', target = ''] = bind.split(':');
      return { source, target };
    });
  const fromMounts = list(hostConfig['Mounts']).map(object).flatMap(hostPathOfMount);
  return [...fromBinds, ...fromMounts];
}

function hostPathOfMount(mount: Json): { source: string; target: string }[] {
  const target = String(mount['Target']);
  if (mount['Type'] === 'bind' || mount['Type'] === 'npipe') return [{ source: String(mount['Source']), target }];
  // A volume can be a path of the host as well: type=none, o=bind.
  const { DriverConfig } = object(mount['VolumeOptions']);
  const { device } = object(object(DriverConfig)['Options']);
  return typeof device === 'string' ? [{ source: device, target }] : [];
}

function powersOf(hostConfig: Json): string[] {
  const powers: string[] = [];
  // Which has all others.
  if (hostConfig['Privileged'] === true) return ['privileged'];
  for (const key of ['PidMode', 'IpcMode', 'UTSMode', 'UsernsMode']) {
    if (hostConfig[key] === 'host') powers.push(`${key.replace('Mode', '').toLowerCase()} of the host`);
  }
  const capabilities = list(hostConfig['CapAdd']).map((name) => String(name).toUpperCase().replace(/^CAP_/, ''));
  powers.push(...capabilities.filter((name) => CAPABILITIES.has(name)).map((name) => `capability ${name}`));
  const devices = list(hostConfig['Devices']).map((device) => String(object(device)['PathOnHost']));
  powers.push(...devices.map((device) => `device ${device}`));
  if (list(hostConfig['DeviceCgroupRules']).length > 0) powers.push('rules for devices');
  const options = list(hostConfig['SecurityOpt']).map(String);
  powers.push(...options.filter((option) => /unconfined|disable/.test(option)));
  // Docker hides parts of /proc and /sys unless it is told not to.
  const isBare = Array.isArray(hostConfig['MaskedPaths']) && hostConfig['MaskedPaths'].length === 0;
  if (isBare) powers.push('all of /proc');
  return powers;
}

const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : []);

function object(value: unknown): Json {
  return typeof value === 'object' && value !== null ? (value as Json) : {};
}
