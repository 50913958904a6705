// What the directory is kept in: a disk that is full, a file that is torn; and a clock that is wrong.

import { waitFor, type Host } from '../../../lab/host';
import { ELECTION_MS, follower, leader, OFF_THE_WAY, on, type Bounds, type Fault } from '../fault';

const FULL_MS = 10_000;
const AHEAD_SECONDS = 3600;
const AHEAD_MS = 10_000;
const AS_SERVER: Bounds = { ...OFF_THE_WAY, besideNewMs: ELECTION_MS, throughNewMs: ELECTION_MS };

const run = (script: string) => (_stage: unknown, victims: readonly Host[]) =>
  Promise.all(victims.map((host) => host.exec('sh', ['-ec', script])));

/** The plugin's /data and its root file system, as the host sees them. */
const FOLDERS = `
  data=$(echo /var/lib/docker/plugins/*/propagated-mount)
  root=$(echo /var/lib/docker/plugins/*/rootfs)`;

/** Puts the plugin's data on a disk of its own, with some MB left, and lets the database be served from there. */
const SMALL_DISK = `${FOLDERS}
  if ! mountpoint -q /run/small; then
    mkdir -p /run/small
    mount -t tmpfs -o size=32m tmpfs /run/small
    cp -a "$data/." /run/small/
    mount --bind /run/small "$data"
  fi`;

/** The member and then the agent start anew, and are waited for. */
async function startAnew(host: Host): Promise<void> {
  const before = host.pidOf('member');
  await host.signal('member', 'SIGKILL');
  await waitFor('another member, on that disk', async () => {
    const member = host.pidOf('member');
    if (member === undefined || member === before) return false;
    return (await host.tryExec('grep', ['-q', ' /data .* tmpfs ', `/proc/${member}/mountinfo`])).code === 0;
  });
  await host.killAgent();
}

const diskFull: Fault = {
  name: 'disk-full',
  what: `the disk of a member of the directory is full for ${FULL_MS / 1000} s`,
  victims: follower,
  prepare: async (stage) => {
    await run(SMALL_DISK)(stage, stage.hosts);
    for (const host of stage.hosts) await startAnew(host);
  },
  inject: run(
    'dd if=/dev/zero of=/run/small/filler bs=4k 2>/dev/null || df --output=avail /run/small | grep -qx " *0"',
  ),
  lastsMs: FULL_MS,
  heal: run('rm /run/small/filler'),
  bounds: AS_SERVER,
  // A host that loses its power would lose what is on that disk, as no disk does.
  isLast: true,
};

/** Stops who would start the member again, tears 64 bytes out of the middle of its file, and lets it start. */
const TEAR = `${FOLDERS}
  size=$(stat -c %s "$data/directory.db")
  dd if=/dev/urandom of="$data/directory.db" bs=1 count=64 seek=$((size / 2)) conv=notrunc 2>/dev/null`;

async function tear(host: Host): Promise<void> {
  const member = await waitFor('the member', () => host.pidOf('member'));
  const keeper = (await host.exec('ps', ['-o', 'ppid=', '-p', String(member)])).trim();
  await host.exec('kill', ['-STOP', keeper]);
  await host.exec('kill', ['-KILL', String(member)]);
  await host.exec('sh', ['-ec', TEAR]);
  await host.exec('kill', ['-CONT', keeper]);
}

/** Lets the agent start with libfaketime, which reads the clock's offset again each second. */
const OWN_CLOCK = `${FOLDERS}
  mkdir -p "$root/usr/lib/own-clock"
  cp /usr/lib/*/faketime/libfaketime.so.1 "$root/usr/lib/own-clock/"
  echo +0 >"$root/usr/lib/own-clock/offset"
  agent=$(find "$root" -name daolinetd -not -path '*/own-clock/*' | head -n 1)
  [ -e "$root/usr/lib/own-clock/daolinetd" ] || mv "$agent" "$root/usr/lib/own-clock/daolinetd"
  printf '%s\\n' '#!/bin/sh' 'export LD_PRELOAD=/usr/lib/own-clock/libfaketime.so.1 FAKETIME_DONT_FAKE_MONOTONIC=1' \\
    'export FAKETIME_TIMESTAMP_FILE=/usr/lib/own-clock/offset FAKETIME_CACHE_DURATION=1' \\
    'exec /usr/lib/own-clock/daolinetd "$@"' >"$agent"
  chmod 755 "$agent"`;

const setClock = (seconds: number) => run(`${FOLDERS}\necho +${seconds} >"$root/usr/lib/own-clock/offset"`);

/** It did not work if the agent does not tell another time. */
async function seeClock(host: Host): Promise<void> {
  await waitFor('the agent’s clock to be ahead', async () => {
    const { stdout } = await host.tryDaolictl('--output', 'json', 'status');
    const time = /"time": *"([^"]+)"/.exec(stdout)?.[1];
    return time !== undefined && Date.parse(time) > Date.now() + (AHEAD_SECONDS / 2) * 1000;
  });
}

export const databaseFaults: readonly Fault[] = [
  diskFull,
  on(diskFull, leader, {
    name: 'leader-disk-full',
    what: `the disk of the directory’s leader is full for ${FULL_MS / 1000} s`,
  }),
  {
    name: 'file-torn',
    what: 'a member’s file is torn in the middle',
    victims: follower,
    inject: (_stage, victims) => Promise.all(victims.map(tear)),
    lastsMs: 0,
    bounds: AS_SERVER,
  },
  {
    name: 'clock-ahead',
    what: `an agent’s clock is an hour ahead for ${AHEAD_MS / 1000} s`,
    victims: follower,
    prepare: async (stage) => {
      await run(OWN_CLOCK)(stage, stage.hosts);
      await Promise.all(stage.hosts.map((host) => host.killAgent()));
    },
    inject: async (stage, victims) => {
      await setClock(AHEAD_SECONDS)(stage, victims);
      await Promise.all(victims.map(seeClock));
    },
    lastsMs: AHEAD_MS,
    heal: setClock(0),
    bounds: OFF_THE_WAY,
  },
];
