// How the two kinds of helper process are spoken to: `ip -force -batch -` for links, and `sh` for programs that have no
// batch mode (ethtool, conntrack, iptables) or need their whole input at once (nft -f). A small shell starts a program in
// 0.7 ms, Node itself in 2 to 5.

import type { Dialogue } from './co-process-session';

/**
 * `ip -force` goes on after a failed command and says so on standard error, which is not buffered: "Command failed -:7". A
 * command that does not exist therefore marks the end, and whatever stands before it is what went wrong. Text that
 * `ip` cannot parse at all may end the process instead, which the session reports.
 */
export const ipBatchDialogue: Dialogue = {
  file: 'ip',
  args: ['-force', '-batch', '-'],
  nothing: '',
  request: (command, serial) => `${command}\nend-${serial}\n`,
  parse(serial, stdout, stderr) {
    const mark = stderr.indexOf(`"end-${serial}"`);
    if (mark < 0 || !/Command failed -:\d+\n$/.test(stderr.slice(mark))) return undefined;
    const failures = stderr.slice(0, stderr.lastIndexOf('\n', mark) + 1).replace(/^Command failed -:\d+\n/gm, '');
    return { stdout, stderr: failures, status: failures === '' ? 0 : 1 };
  },
};

/** A record separator: no output of the programs that we run has one. */
const SEPARATOR = '\u001e';

/** The reply ends with a marker on both outputs, because nothing orders one stream after the other. */
export const shellDialogue: Dialogue = {
  file: 'sh',
  args: [],
  nothing: ':',
  request: (command, serial) =>
    `{ ${command}\n} </dev/null\nprintf '\\036%d %d\\n' ${serial} $?; printf '\\036%d\\n' ${serial} >&2\n`,
  parse(serial, stdout, stderr) {
    const out = stdout.lastIndexOf(`${SEPARATOR}${serial} `);
    const err = stderr.lastIndexOf(`${SEPARATOR}${serial}\n`);
    if (out < 0 || err < 0 || !stdout.endsWith('\n')) return undefined;
    const status = Number(stdout.slice(stdout.indexOf(' ', out)));
    return { stdout: stdout.slice(0, out), stderr: stderr.slice(0, err), status };
  },
};

/** A shell command that gives `input` to the program's standard input. */
export function withInput(command: string, input: string): string {
  // Quoted, so that the shell expands nothing in it.
  return `${command} <<'END_OF_INPUT'\n${input}\nEND_OF_INPUT`;
}
