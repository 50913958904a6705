// ICMP echo to one address, by ping(8) of iputils: the only one of its kind that takes a device and a source.

import { formatIpv4 } from '../base/addresses';
import type { Clock } from '../base/clock';
import { DaoliError } from '../base/errors';
import type { ProbeSpec } from './host';
import type { Runner } from './runner';

/** IPv4 and ICMP. */
const HEADERS = 28;
const GRACE_MS = 500;
const MAX_WORDS = 4_096;

export function probeArguments({ address, device, source, timeoutMs, packetBytes }: ProbeSpec): string[] {
  return [
    ...['-n', '-c', '1', '-W', String(timeoutMs / 1000)],
    ...(device === undefined ? [] : ['-I', device]),
    ...(source === undefined ? [] : ['-I', formatIpv4(source)]),
    ...(packetBytes === undefined ? [] : ['-M', 'do', '-s', String(Math.max(packetBytes - HEADERS, 0))]),
    formatIpv4(address),
  ];
}

/** Milliseconds, or undefined where there was no answer in time. Throws `unsupported` without ping. */
export function sendProbe(runner: Runner, clock: Clock, spec: ProbeSpec): Promise<number | undefined> {
  return new Promise((resolve, reject) => {
    let words = '';
    const process = runner.spawn('ping', probeArguments(spec), {
      onStdout: (text) => (words = (words + text).slice(0, MAX_WORDS)),
      onStderr: () => undefined,
      onExit(reason) {
        cancel();
        if (reason.includes('not installed')) return reject(new DaoliError('unsupported', reason));
        resolve(answerTime(words));
      },
    });
    const cancel = clock.after(spec.timeoutMs + GRACE_MS, () => process.kill());
  });
}

export function answerTime(words: string): number | undefined {
  const [, time] = / bytes from .*\btime=([\d.]+) ms/.exec(words) ?? [];
  return time === undefined ? undefined : Number(time);
}
