// Who is in charge of a host's datapath, as operations of one transaction; see operations.ts. The host itself writes all of
// its row; those that stand by for it change the master, one generation at a time (src/cluster/inspection.ts).

import { DaoliError } from '../base/errors';
import { insert, isRow, update, wait } from '../ovsdb/operations';
import { ownHost } from './operations';
import type { SwitchRow } from './rows';
import type { Ops, PlanContext } from './store';
import type { DirectoryView } from './view';

/** What a host says of its own datapath; the generation is that of a row which is not there yet. */
export type OwnSwitchFacts = Pick<SwitchRow, 'generation' | 'backups' | 'profile'>;

/**
 * This host's datapath has these backups and this profile. A host without a row gets one, with itself as master of this
 * generation. Nothing to do where the directory says so already. Backups that are no hosts any more are left out. Throws
 * `unavailable` before the host's own row is there.
 */
export function planSwitch(context: PlanContext, { generation, backups, profile }: OwnSwitchFacts): Ops {
  const { view, host } = context;
  const uuids = backups.flatMap((name) => view.host(name)?.uuid ?? []);
  const own = view.switchOf(host);
  if (own === undefined) {
    const { uuid } = ownHost(context);
    return [insert('Switch', { host: uuid, generation, master: uuid, backups: uuids, profile })];
  }
  const before = own.backups.flatMap((name) => view.host(name)?.uuid ?? []);
  const isSame = own.profile === profile && [...before].sort().join() === [...uuids].sort().join();
  return isSame ? [] : [update('Switch', isRow(own.uuid), { backups: uuids, profile })];
}

/** This host is master of its own datapath from `generation` on. Throws `conflict` where the row has a later one. */
export function planOwnMaster({ view, host }: PlanContext, generation: number): Ops {
  const row = existing(view, host);
  if (row.generation === generation && row.master === host) return [];
  if (row.generation >= generation) throw outrun(row);
  return change(view, row, { generation, master: host });
}

/**
 * This host, which stands by for `of`, becomes the master of its datapath, of the generation after `generation`. Throws
 * `conflict` where that is over, or this host does not stand by for it.
 */
export function planTakeover({ view, host }: PlanContext, of: string, generation: number): Ops {
  const row = existing(view, of);
  if (row.generation !== generation) throw outrun(row);
  if (!row.backups.includes(host)) throw new DaoliError('conflict', `host ${host} is no backup of host ${of}`, of);
  return change(view, row, { generation: generation + 1, master: host });
}

/** This host, which is master of the datapath of `of`, is that no more, and nobody is. Nothing to do where it is another. */
export function planResignation({ view, host }: PlanContext, of: string): Ops {
  const row = view.switchOf(of);
  if (row?.master !== host) return [];
  return change(view, row, { generation: row.generation + 1, master: undefined });
}

function existing(view: DirectoryView, host: string): SwitchRow {
  const row = view.switchOf(host);
  if (row === undefined) throw new DaoliError('conflict', `host ${host} has no row of its datapath`, host);
  return row;
}

function outrun({ host, generation, master = 'nobody' }: SwitchRow): DaoliError {
  const message = `the datapath of host ${host} is in its generation ${generation}, with ${master} as master`;
  return new DaoliError('conflict', message, host);
}

interface Mastery {
  readonly generation: number;
  readonly master: string | undefined;
}

function change(view: DirectoryView, { uuid, generation: before }: SwitchRow, { generation, master }: Mastery): Ops {
  return [
    wait('Switch', isRow(uuid), [{ generation: before }]),
    update('Switch', isRow(uuid), { generation, master: master === undefined ? undefined : view.host(master)?.uuid }),
  ];
}
