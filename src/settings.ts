// The settings of the agent: the only reader of the environment. Docker sets them with
// `docker plugin set daolinet/daolinet NAME=VALUE`; config.json declares each with its default.

import { z } from 'zod';
import { DaoliError } from './base/errors';
import { type Cidr, type Ipv4, parseCidr, parseIpv4 } from './base/addresses';
import { LOG_LEVELS } from './base/logger';

function wholeNumber(min: number, max: number, unit: string) {
  return z.string().transform((text, context) => {
    const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN;
    if (value >= min && value <= max) return value;
    context.addIssue({ code: 'custom', message: `is not a whole number of ${unit} from ${min} to ${max}` });
    return z.NEVER;
  });
}

function cidr(shortest: number, longest: number) {
  return z.string().transform((text, context): Cidr => {
    try {
      const value = parseCidr(text);
      if (value.prefix >= shortest && value.prefix <= longest) return value;
      context.addIssue({ code: 'custom', message: `is not a prefix of /${shortest} to /${longest}` });
    } catch {
      context.addIssue({ code: 'custom', message: 'is not an IPv4 prefix (as in 10.128.0.0/9)' });
    }
    return z.NEVER;
  });
}

const NOWHERE = 'off';
const ADDRESS_AND_PORT = z.string().transform((text, context) => {
  if (text === NOWHERE) return undefined;
  const [, address = '', port] = /^(.+):(\d{1,5})$/.exec(text) ?? [];
  try {
    const value = { ip: parseIpv4(address), port: Number(port) };
    if (value.port >= 1 && value.port <= 65_535) return value;
  } catch {
    // The same is said of both.
  }
  context.addIssue({
    code: 'custom',
    message: 'is neither "off" nor an IPv4 address with a port (as in 192.0.2.1:7480)',
  });
  return z.NEVER;
});

const choice = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.enum(values, { error: () => `is not one of ${values.join(', ')}` });

const SCHEMA = z.object({
  DAOLINET_IDLE_TIMEOUT: wholeNumber(1, 65_535, 'seconds').default(60),
  DAOLINET_LOCATORS: cidr(10, 22).default(parseCidr('100.64.0.0/10')),
  DAOLINET_LOG_LEVEL: choice(LOG_LEVELS).default('info'),
  DAOLINET_DEFAULT_POOLS: cidr(8, 24).default(parseCidr('10.128.0.0/9')),
  DAOLINET_MTU: wholeNumber(576, 9_216, 'bytes').default(1_500),
  DAOLINET_MAX_ROUTES: wholeNumber(1, 65_535, 'routes').default(4_096),
  DAOLINET_PACKET_IN_RATE: wholeNumber(1, 100_000, 'packets a second').default(1_000),
  DAOLINET_BRIDGE: z
    .string()
    .regex(/^[a-z][a-z0-9-]{0,14}$/, 'is not an interface name of at most 15 characters')
    .default('br-int'),
  DAOLINET_DATAPATH: choice(['auto', 'system', 'netdev']).default('auto'),
  DAOLINET_OVS: choice(['auto', 'host', 'plugin']).default('auto'),
  DAOLINET_API: ADDRESS_AND_PORT.optional(),
  // Where the host's /run is seen. Not declared in config.json: the plugin's mounts decide it; tests change it.
  DAOLINET_HOST_RUN: z
    .string()
    .refine((text) => text.startsWith('/') && text.length < 60, 'is not an absolute path')
    .default('/host/run'),
});

export interface Settings {
  readonly idleTimeoutSeconds: number;
  readonly locatorRange: Cidr;
  readonly logLevel: (typeof LOG_LEVELS)[number];
  readonly defaultPools: Cidr;
  readonly mtu: number;
  readonly maxRoutesPerEndpoint: number;
  readonly packetInRate: number;
  readonly bridge: string;
  readonly datapath: 'auto' | 'system' | 'netdev';
  readonly ovs: 'auto' | 'host' | 'plugin';
  /** Where the management API listens on TCP; undefined: nowhere. */
  readonly apiAddress: { readonly ip: Ipv4; readonly port: number } | undefined;
  readonly hostRun: string;
}

/**
 * Reads the settings from an environment. An unset or empty variable is its default. Throws `invalid`, naming every
 * wrong one with its value, and any DAOLINET_ variable that does not exist.
 */
export function readSettings(environment: Record<string, string | undefined>): Settings {
  const given = Object.fromEntries(
    Object.entries(environment).filter(([name, value]) => name.startsWith('DAOLINET_') && value !== ''),
  );
  const parsed = SCHEMA.strict().safeParse(given);
  if (!parsed.success) {
    const problems = parsed.error.issues.map((issue) => describeIssue(issue, given));
    throw new DaoliError('invalid', `wrong setting: ${problems.join('; ')} (change it with docker plugin set)`);
  }
  const value = parsed.data;
  return {
    idleTimeoutSeconds: value.DAOLINET_IDLE_TIMEOUT,
    locatorRange: value.DAOLINET_LOCATORS,
    logLevel: value.DAOLINET_LOG_LEVEL,
    defaultPools: value.DAOLINET_DEFAULT_POOLS,
    mtu: value.DAOLINET_MTU,
    maxRoutesPerEndpoint: value.DAOLINET_MAX_ROUTES,
    packetInRate: value.DAOLINET_PACKET_IN_RATE,
    bridge: value.DAOLINET_BRIDGE,
    datapath: value.DAOLINET_DATAPATH,
    ovs: value.DAOLINET_OVS,
    apiAddress: value.DAOLINET_API,
    hostRun: value.DAOLINET_HOST_RUN,
  };
}

function describeIssue(issue: z.core.$ZodIssue, given: Record<string, string | undefined>): string {
  if (issue.code === 'unrecognized_keys') return `there is no setting ${issue.keys.join(', ')}`;
  const name = String(issue.path[0]);
  return `${name}: "${given[name] ?? ''}" ${issue.message}`;
}
