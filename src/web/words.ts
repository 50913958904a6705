// Numbers and routes as people read them.

import type { LiveRoute } from './world';

const PROTOCOLS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp', 132: 'sctp' };

/** "12 s", "3 min", "2 h", "5 d". */
export function duration(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  if (seconds < 100) return `${seconds} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 100) return `${minutes} min`;
  const hours = Math.round(minutes / 60);
  return hours < 48 ? `${hours} h` : `${Math.round(hours / 24)} d`;
}

/** "812 B", "3.4 kB", "12 MB". */
export function size(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [bytes, 0];
  while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
  return `${value < 10 && unit > 0 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** "1 route", "3 routes". */
export function count(number: number, thing: string): string {
  return `${number} ${thing}${number === 1 ? '' : 's'}`;
}

/** What a route takes: "all", "tcp/80", "icmp". */
export function traffic({ conversation }: LiveRoute): string {
  if (conversation === undefined) return 'all';
  const { protocol, sourcePort, destinationPort, isOpening } = conversation;
  const name = PROTOCOLS[protocol] ?? `protocol ${protocol}`;
  const port = isOpening ? destinationPort : sourcePort;
  return port === undefined ? name : `${name}/${port}`;
}
