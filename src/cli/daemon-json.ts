// Docker's settings on this machine, as far as names of containers on other hosts need them: its resolver asks the servers of
// `dns`, in their order, from the container's network, where the agent answers.

import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Where Docker looks for its settings, unless it was told otherwise. */
export const DAEMON_JSON = '/etc/docker/daemon.json';
const RESOLV_CONF = '/etc/resolv.conf';

/**
 * The settings with `dns` beginning with the agent's address; undefined where they begin with it already. `resolvers` are the
 * servers that containers asked before, for all other names. Throws where the text is not a JSON object.
 */
export function withDns(text: string, address: string, resolvers: readonly string[]): string | undefined {
  const settings: unknown = text.trim() === '' ? {} : JSON.parse(text);
  if (typeof settings !== 'object' || settings === null || Array.isArray(settings))
    throw new Error('it is no JSON object');
  const present: unknown = 'dns' in settings ? settings.dns : undefined;
  const servers = Array.isArray(present) ? present.map(String) : resolvers;
  if (Array.isArray(present) && servers[0] === address) return undefined;
  const dns = [address, ...servers.filter((each) => each !== address)];
  return `${JSON.stringify({ ...settings, dns }, null, 2)}\n`;
}

/** The servers of a resolv.conf that containers can reach: none of the machine's own loopback. */
export function resolversIn(text: string): string[] {
  const servers = [...text.matchAll(/^\s*nameserver\s+(\S+)/gm)].map(([, server = '']) => server);
  return servers.filter((server) => !/^(127\.|::1$)/.test(server));
}

/**
 * Does that to this machine's settings. What was there is kept beside it, as daemon.json.before. Returns whether anything was
 * changed; throws an error that names the file.
 */
export function editDaemonJson(address: string, path = DAEMON_JSON): boolean {
  try {
    const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
    const resolvers = existsSync(RESOLV_CONF) ? resolversIn(readFileSync(RESOLV_CONF, 'utf8')) : [];
    const changed = withDns(text, address, resolvers);
    if (changed === undefined) return false;
    mkdirSync(dirname(path), { recursive: true });
    if (text !== '') writeFileSync(`${path}.before`, text);
    writeFileSync(`${path}.new`, changed, { flush: true });
    renameSync(`${path}.new`, path);
    return true;
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw new Error(`${path} was left as it is: ${why}`, { cause: error });
  }
}
