// All that makes a container what it is: read from what the engine says of it, and put again into what another engine is asked to
// make. Pure. Docker's create takes Config and HostConfig nearly as its inspect gives them, fields that we do not know included; what
// is left out, and why, is said here.

import { z } from 'zod';

type Json = Readonly<Record<string, unknown>>;

/** One network that a container is in. */
export interface Attachment {
  /** The network's name. */
  readonly network: string;
  /** Docker's id of it on this host; "" while the container does not run. */
  readonly networkId: string;
  /** What it has at present: "10.9.0.2". */
  readonly address?: string | undefined;
  /** Whether somebody chose it, with `--ip`. */
  readonly isChosen: boolean;
  readonly mac?: string | undefined;
  /** EndpointSettings that `docker network connect` takes: IPAMConfig, Aliases, Links, DriverOpts, GwPriority, … */
  readonly settings: Json;
}

/** A volume that is mounted, or a path of the host. */
export interface DescribedMount {
  readonly type: string;
  /** The volume's name, or the path on the host. */
  readonly source: string;
  readonly destination: string;
  /** The volume's driver: "local". */
  readonly driver: string;
  /** A volume that Docker has named itself: every container gets its own. */
  readonly isAnonymous: boolean;
}

/** A port of the host that the container is to have. */
export interface WantedPort {
  readonly protocol: 'tcp' | 'udp' | 'sctp';
  /** "" for every address of the host. */
  readonly hostIp: string;
  readonly hostPort: number;
}

export type ContainerState = 'created' | 'running' | 'paused' | 'restarting' | 'removing' | 'exited' | 'dead';

/** Plain JSON, so that it goes from host to host. */
export interface ContainerDescription {
  readonly id: string;
  readonly name: string;
  readonly state: ContainerState;
  /** Of its last run, where it does not run. */
  readonly exitCode: number;
  /** As it was asked for: "busybox". */
  readonly image: string;
  readonly imageId: string;
  /** The network that NetworkMode names, where it names one. */
  readonly primary?: string | undefined;
  /** What somebody chose with `--mac-address`: of its primary network. */
  readonly chosenMac?: string | undefined;
  readonly config: Json;
  readonly hostConfig: Json;
  readonly attachments: readonly Attachment[];
  readonly mounts: readonly DescribedMount[];
  readonly ports: readonly WantedPort[];
  readonly labels: Readonly<Record<string, string>>;
  readonly autoRemove: boolean;
  /** How long Docker waits for its end before it kills it. */
  readonly stopSeconds: number;
}

const text = z.string();
const STATES = ['created', 'running', 'paused', 'restarting', 'removing', 'exited', 'dead'] as const;

const SETTINGS = z.looseObject({
  IPAMConfig: z.looseObject({ IPv4Address: text.optional() }).nullish(),
  Aliases: z.array(text).nullish(),
  NetworkID: text,
  IPAddress: text.nullish(),
  MacAddress: text.nullish(),
});

/** GET /containers/{id}/json. */
const INSPECTED = z.object({
  Id: text,
  Name: text,
  Image: text,
  State: z.object({ Status: z.enum(STATES), ExitCode: z.number() }),
  Config: z.looseObject({
    Hostname: text,
    Image: text,
    MacAddress: text.nullish(),
    Labels: z.record(text, text).nullish(),
    StopTimeout: z.number().nullish(),
  }),
  HostConfig: z.looseObject({
    NetworkMode: text,
    AutoRemove: z.boolean().nullish(),
    PortBindings: z
      .record(text, z.array(z.object({ HostIp: text.nullish(), HostPort: text.nullish() })).nullable())
      .nullish(),
  }),
  Mounts: z
    .array(
      z.object({
        Type: text,
        Name: text.nullish(),
        Source: text.nullish(),
        Destination: text,
        Driver: text.nullish(),
      }),
    )
    .nullish(),
  NetworkSettings: z.object({ Networks: z.record(text, SETTINGS).nullish() }),
});
type Inspected = z.infer<typeof INSPECTED>;

/** What an endpoint has while it is there; all else of its settings was asked for. */
const FOUND_OUT = [
  ...['NetworkID', 'EndpointID', 'Gateway', 'IPAddress', 'IPPrefixLen', 'IPv6Gateway', 'GlobalIPv6Address'],
  ...['GlobalIPv6PrefixLen', 'MacAddress', 'DNSNames'],
];
const SHORT_ID = 12;
const ANONYMOUS = /^[0-9a-f]{64}$/;
const DEFAULT_STOP_SECONDS = 10;
/** From this one on a container gets several networks when it is made, and each of them its own MAC address. */
const MAC_PER_NETWORK = [1, 44] as const;

export function readContainer(answer: unknown): ContainerDescription {
  const inspected = INSPECTED.parse(answer);
  const { Id: id, Config, HostConfig, NetworkSettings } = inspected;
  const networks = Object.entries(NetworkSettings.Networks ?? {});
  const attachments = networks.map(([name, settings]) => attachmentOf(id, name, settings)).sort(byNetwork);
  const primary = attachments.find((one) => isNamedBy(one, HostConfig.NetworkMode))?.network;
  return {
    id,
    name: inspected.Name.replace(/^\//, ''),
    state: inspected.State.Status,
    exitCode: inspected.State.ExitCode,
    image: Config.Image,
    imageId: inspected.Image,
    primary,
    chosenMac: Config.MacAddress || undefined,
    config: configOf(inspected),
    // Where the network was given by its id, which is another on every host.
    hostConfig:
      primary === undefined || isDefault(HostConfig.NetworkMode) ? HostConfig : { ...HostConfig, NetworkMode: primary },
    attachments,
    mounts: mountsOf(inspected),
    ports: portsOf(inspected),
    labels: Config.Labels ?? {},
    autoRemove: HostConfig.AutoRemove ?? false,
    stopSeconds: Config.StopTimeout ?? DEFAULT_STOP_SECONDS,
  };
}

const byNetwork = (a: Attachment, b: Attachment) => (a.network < b.network ? -1 : 1);
const isDefault = (networkMode: string) => networkMode === 'default';

function isNamedBy({ network, networkId }: Attachment, networkMode: string): boolean {
  if (isDefault(networkMode)) return network === 'bridge';
  return network === networkMode || (networkId !== '' && networkId === networkMode);
}

function attachmentOf(id: string, network: string, settings: z.infer<typeof SETTINGS>): Attachment {
  const { NetworkID, IPAddress, MacAddress, IPAMConfig, Aliases } = settings;
  const asked = Object.entries(settings).filter(([key, value]) => !FOUND_OUT.includes(key) && value != null);
  // Docker enters the beginning of the id, and does so for the next one.
  const aliases = Aliases?.filter((alias) => alias !== id.slice(0, SHORT_ID));
  const chosen = IPAMConfig?.IPv4Address ?? '';
  return {
    network,
    networkId: NetworkID,
    address: IPAddress || chosen || undefined,
    isChosen: chosen !== '',
    mac: MacAddress || undefined,
    settings: { ...Object.fromEntries(asked), ...(aliases === undefined ? {} : { Aliases: aliases }) },
  };
}

/** Without the name that Docker makes of the id, and without the MAC address, which has its place in the request. */
function configOf({ Id, Config }: Inspected): Json {
  const { Hostname, MacAddress: _, ...rest } = Config;
  return Hostname === Id.slice(0, SHORT_ID) ? rest : { ...rest, Hostname };
}

function mountsOf({ Mounts }: Inspected): DescribedMount[] {
  return (Mounts ?? []).map(({ Type: type, Name, Source, Destination: destination, Driver }) => ({
    type,
    source: (type === 'volume' ? Name : Source) ?? '',
    destination,
    driver: Driver ?? '',
    isAnonymous: type === 'volume' && ANONYMOUS.test(Name ?? ''),
  }));
}

/** Those that are one port; of a range any that is free will do. */
function portsOf({ HostConfig }: Inspected): WantedPort[] {
  return Object.entries(HostConfig.PortBindings ?? {}).flatMap(([key, bindings]) => {
    const protocol = key.split('/')[1] as WantedPort['protocol'];
    return (bindings ?? [])
      .filter(({ HostPort }) => /^[1-9]\d*$/.test(HostPort ?? ''))
      .map(({ HostIp, HostPort }) => ({ protocol, hostIp: HostIp ?? '', hostPort: Number(HostPort) }));
  });
}

/** Whether this engine lets every network of a container have a chosen MAC address; else its first one alone. */
export function hasMacPerNetwork(apiVersion: string): boolean {
  const [major = 0, minor = 0] = apiVersion.split('.').map(Number);
  return major > MAC_PER_NETWORK[0] || (major === MAC_PER_NETWORK[0] && minor >= MAC_PER_NETWORK[1]);
}

/** Whether the container's MAC address in this network can be chosen on an engine of this version. */
export function takesMac({ primary }: ContainerDescription, network: string, apiVersion: string): boolean {
  return hasMacPerNetwork(apiVersion) || network === primary;
}

/** What of its address a container keeps in a network; `nothing`: Docker gives it another one, or what somebody chose. */
export type Keeping = 'address' | 'mac' | 'nothing';

/**
 * Body of POST /containers/create. The networks are connected afterwards, see `connectRequest`. `isKept`: its MAC address in the
 * primary network is kept, also where Docker has chosen it.
 */
export function createRequest(description: ContainerDescription, apiVersion: string, isKept: boolean): Json {
  const { config, hostConfig, primary, attachments, chosenMac } = description;
  const found = attachments.find(({ network }) => network === primary)?.mac;
  const mac = hasMacPerNetwork(apiVersion) ? undefined : (chosenMac ?? (isKept ? found : undefined));
  return { ...config, ...(mac === undefined ? {} : { MacAddress: mac }), HostConfig: hostConfig };
}

/** Body of POST /networks/{name}/connect for a container that was made like this one. */
export function connectRequest(
  { chosenMac, primary }: ContainerDescription,
  { network, address, mac, settings }: Attachment,
  keeping: Keeping,
  apiVersion: string,
): { readonly EndpointConfig: Json } {
  const { IPAMConfig, ...rest } = settings;
  const ipam = ipamConfigOf(IPAMConfig as Json | undefined, keeping, address);
  const wanted = keeping === 'nothing' ? (network === primary ? chosenMac : undefined) : mac;
  const withMac = wanted !== undefined && hasMacPerNetwork(apiVersion);
  return {
    EndpointConfig: {
      ...rest,
      ...(ipam === undefined ? {} : { IPAMConfig: ipam }),
      ...(withMac ? { MacAddress: wanted } : {}),
    },
  };
}

function ipamConfigOf(asked: Json | undefined, keeping: Keeping, address: string | undefined): Json | undefined {
  if (keeping === 'nothing') return asked;
  const { IPv4Address: _, ...others } = asked ?? {};
  return keeping === 'mac' ? others : { ...others, IPv4Address: address };
}

/** Where Docker itself puts something into a container, besides mounts. */
const PUT_IN = [
  '/dev',
  '/etc/hostname',
  '/etc/hosts',
  '/etc/mtab',
  '/etc/resolv.conf',
  '/sbin/docker-init',
  '/.dockerenv',
];

/** Of what was changed in a container's file system, what the container itself has changed. */
export function ownChanges({ mounts, hostConfig }: ContainerDescription, paths: readonly string[]): string[] {
  const tmpfs = Object.keys(hostConfig['Tmpfs'] ?? {});
  const foreign = [...PUT_IN, ...tmpfs, ...mounts.map(({ destination }) => destination)];
  const isForeign = (path: string) => foreign.some((each) => path === each || path.startsWith(`${each}/`));
  // A folder is changed with what is in it.
  const isFolder = (path: string) => paths.some((other) => other.startsWith(`${path}/`));
  return paths.filter((path) => !isForeign(path) && !isFolder(path));
}
