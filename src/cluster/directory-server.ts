// This host's own ovsdb-server of the directory, as a part of a cluster: alone with its file, or a member of the servers'
// Raft (ovsdb(7), "Clustered Database Service Model"). What it is to become is written down for the plugin's
// supervisor, which does it between two runs of the server; see supervisor.sh, carry_out_plan.
//
// A member's Raft address is a unix socket, the same path on every server: this host's own is ovsdb-server's, those of the
// others lead through the agents' doors (member-links.ts). So a member needs no port and no certificates of its own.

import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import { DIRECTORY_DATABASE } from '../directory/directory';
import { askControl, ControlRefused } from '../ovsdb/control';

export interface DirectoryServerPaths {
  /** ovsdb-server's control socket. */
  readonly control: string;
  /** Where the supervisor looks for what is to be done. */
  readonly plan: string;
  /** The members' sockets. */
  readonly members: string;
  /** Where the supervisor takes the content from that a database is to begin with. */
  readonly restored: string;
}

/** What `cluster/status` says of a member. */
export interface MemberStatus {
  /** Whether it is one of the cluster, as far as it knows. */
  readonly isMember: boolean;
  /** Datapath ids of the hosts that are members. */
  readonly members: readonly string[];
  /** That of the leader, if one is known. */
  readonly leader: string | undefined;
}

/** In place of a cluster's id: the server has its file alone. */
export const ALONE = 'alone';
/** In place of a cluster's id: the server was a member, and serves the database no more. */
export const PUT_OUT = 'put out';
const LOOK_MS = 100;

export class DirectoryServer {
  constructor(
    private readonly paths: DirectoryServerPaths,
    private readonly clock: Clock,
  ) {}

  /** Resolves when it answers: it may have been started at the same moment. Throws `unavailable` after five seconds. */
  async whenUp(): Promise<void> {
    await this.soon(() => this.clusterId());
  }

  /** Resolves when the cluster that it is a member of has a leader. Throws `unavailable` after five seconds. */
  async whenLed(): Promise<void> {
    await this.soon(async () => {
      const { leader } = (await this.status()) ?? {};
      if (leader === undefined) throw new DaoliError('unavailable', 'the servers of the directory have no leader');
    });
  }

  private async soon(attempt: () => Promise<unknown>): Promise<void> {
    for (const end = this.clock.now() + 5_000; ;) {
      try {
        return void (await attempt());
      } catch (error) {
        if (this.clock.now() > end) throw error;
        await this.pause();
      }
    }
  }

  /** The cluster that the server is a member of; see ALONE and PUT_OUT. Throws `unavailable` while it is away. */
  async clusterId(): Promise<string> {
    try {
      return (await this.ask('cluster/cid')).trim();
    } catch (error) {
      if (!(error instanceof ControlRefused)) throw error;
      const served = await this.ask('ovsdb-server/list-dbs');
      return served.split('\n').includes(DIRECTORY_DATABASE) ? ALONE : PUT_OUT;
    }
  }

  /** Undefined where it is alone. Throws `unavailable` while it is away. */
  async status(): Promise<MemberStatus | undefined> {
    try {
      return parseMemberStatus(await this.ask('cluster/status'));
    } catch (error) {
      if (error instanceof ControlRefused) return undefined;
      throw error;
    }
  }

  /** Takes a member out, if it is one; most of the others have to agree. */
  async kick(datapathId: string): Promise<void> {
    // By Raft's own ids: one that lost its file and came anew may be there twice.
    const text = await this.ask('cluster/status');
    for (const { id } of membersIn(text).filter((member) => member.datapathId === datapathId)) {
      await this.ask('cluster/kick', id);
    }
  }

  /** The database becomes the first member of a cluster, with all that is in it. `own` is this host's datapath id. */
  create(own: string): Promise<void> {
    return this.become(`create - ${this.addressOf(own)}`, (clusterId) => clusterId !== ALONE && clusterId !== PUT_OUT);
  }

  /** A member of a cluster instead, with what is in that. */
  join(clusterId: string, own: string, others: readonly string[]): Promise<void> {
    const addresses = [own, ...others].map((datapathId) => this.addressOf(datapathId));
    return this.become(`join ${clusterId} ${addresses.join(' ')}`, (now) => now === clusterId);
  }

  /** The first member of another cluster, with `content` (see fileOf) in place of what it has. What was there is kept beside it. */
  async restore(content: string, own: string): Promise<void> {
    const before = await this.clusterId().catch(() => undefined);
    writeFileSync(this.paths.restored, content, { mode: 0o600, flush: true });
    const isDone = (now: string) => now !== before && now !== ALONE && now !== PUT_OUT;
    await this.becomeOrStay(`restore - ${this.addressOf(own)}`, isDone);
    rmSync(this.paths.restored, { force: true });
  }

  /** The first member of another cluster, with all that it knows of the one that it is a member of. */
  async recover(own: string): Promise<void> {
    const before = await this.clusterId();
    const isDone = (now: string) => now !== before && now !== ALONE && now !== PUT_OUT;
    await this.becomeOrStay(`recover - ${this.addressOf(own)}`, isDone);
  }

  /** What could not be done is not to be done later, when nobody waits for it. */
  private async becomeOrStay(plan: string, isDone: (clusterId: string) => boolean): Promise<void> {
    try {
      await this.become(plan, isDone);
    } catch (error) {
      rmSync(this.paths.plan, { force: true });
      throw error;
    }
  }

  /** Alone, with an empty database, unless it is alone already. What was there is kept in a file beside it. */
  clear(): Promise<void> {
    return this.become('new', (clusterId) => clusterId === ALONE);
  }

  /** Ends the server, which the supervisor starts again, and waits until it is what it is to become. */
  private async become(plan: string, isDone: (clusterId: string) => boolean): Promise<void> {
    const fresh = `${this.paths.plan}.new`;
    writeFileSync(fresh, `${plan}\n`, { flush: true });
    renameSync(fresh, this.paths.plan);
    await this.ask('exit').catch(() => undefined);
    const end = this.clock.now() + 30_000;
    for (;;) {
      const clusterId = await this.clusterId().catch((error: unknown) => error as Error);
      if (!(clusterId instanceof Error) && isDone(clusterId)) return;
      if (this.clock.now() > end) {
        const why = clusterId instanceof Error ? clusterId.message : 'see the lines of its supervisor in dockerd’s log';
        throw new DaoliError('unavailable', `the database of the directory did not come back: ${why}`);
      }
      await this.pause();
    }
  }

  private pause(): Promise<void> {
    return new Promise((resolve) => this.clock.after(LOOK_MS, resolve));
  }

  private addressOf(datapathId: string): string {
    return `unix:${join(this.paths.members, datapathId)}`;
  }

  private async ask(command: string, ...args: string[]): Promise<string> {
    const { control } = this.paths;
    try {
      return await askControl(control, command, command.startsWith('cluster/') ? [DIRECTORY_DATABASE, ...args] : args);
    } catch (error) {
      if (error instanceof ControlRefused) throw error;
      throw new DaoliError(
        'unavailable',
        `the directory's ovsdb-server does not answer: ${messageOf(error)}`,
        control,
        {
          cause: error,
        },
      );
    }
  }
}

/** Reads what `cluster/status` prints for people; there is no other form of it. Members are known by their addresses. */
export function parseMemberStatus(text: string): MemberStatus {
  const members = membersIn(text);
  const [, leader] = /^Leader: (\S+)$/m.exec(text) ?? [];
  const ofLeader = members.find(({ nickname, isSelf }) => (isSelf ? leader === 'self' : nickname === leader));
  return {
    isMember: /^Status: cluster member$/m.test(text),
    members: members.map(({ datapathId }) => datapathId),
    leader: ofLeader?.datapathId,
  };
}

function membersIn(text: string) {
  const lines = text.matchAll(/^ {4}(\S+) \((\S+) at unix:\S*\/([0-9a-f]{16})\)( \(self\))?/gm);
  return [...lines].map(([, nickname = '', id = '', datapathId = '', self]) => {
    return { nickname, id, datapathId, isSelf: self !== undefined };
  });
}
