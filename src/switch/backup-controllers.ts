// The controllers of other hosts that our bridge is told to connect to, and how OVS shows who it is to them (table SSL).
// Pure: rows in, operations out. They come and go beside the bridge's own controller, in one transaction: a bridge that has no
// controller for a moment loses its flows. OVS has one SSL row; one that is not ours stays as it is.

import { named, type Operation } from '../ovsdb/notation';
import { insert, isRow, mutate } from '../ovsdb/operations';
import type { StoredRow } from '../ovsdb/rows';
import {
  controllerColumns,
  differing,
  LOCAL_ROLE,
  mapMutations,
  mutateOps,
  OWNER_KEY,
  ROLE_KEY,
  updateOps,
  type BridgeView,
} from './bridge-profile';
import type { ControllerRow, SslRow } from './ovs-tables';

const BACKUP_ROLE = 'backup';
const HOST_KEY = 'daolinet-host';

/** The controller of another host. */
export interface BackupController {
  readonly host: string;
  /** "ssl:192.0.2.2:7470" */
  readonly target: string;
}

/** What OVS shows, and whom it believes: files that ovs-vswitchd can read. */
export interface SslFiles {
  readonly privateKey: string;
  readonly certificate: string;
  readonly authority: string;
}

/** What has become of one, as OVS says; it looks every five seconds. */
export interface BackupStatus {
  readonly host: string;
  readonly isConnected: boolean;
  readonly role: 'master' | 'slave' | 'other' | undefined;
}

export interface BackupView extends BridgeView {
  readonly ssl: StoredRow<SslRow> | undefined;
}

export function isBackup({ external_ids }: Pick<ControllerRow, 'external_ids'>): boolean {
  return external_ids.get(ROLE_KEY) === BACKUP_ROLE;
}

export function isForeign(ssl: Pick<SslRow, 'external_ids'> | undefined): boolean {
  return ssl !== undefined && !ssl.external_ids.has(OWNER_KEY);
}

export function backupStatuses(controllers: BridgeView['controllers']): BackupStatus[] {
  return controllers.filter(isBackup).map(({ external_ids, is_connected: isConnected, role }) => {
    return { host: external_ids.get(HOST_KEY) ?? '', isConnected, role };
  });
}

/**
 * All operations that lead from the view to these backups, and no others; without any, the SSL row of ours goes, too. Throws
 * nothing: where the SSL row is another's, the caller gives no backups.
 */
export function backupOps(
  view: BackupView,
  backups: readonly BackupController[],
  { files, owner }: { readonly files: SslFiles; readonly owner: string },
): Operation[] {
  return [...controllerOps(view, backups), ...sslOps(view, backups.length > 0 ? files : undefined, owner)];
}

function controllerOps({ bridge, controllers }: BackupView, backups: readonly BackupController[]): Operation[] {
  const hasOwn = controllers.some(({ external_ids }) => external_ids.get(ROLE_KEY) === LOCAL_ROLE);
  // Without its own, the bridge is being made anew; one that came first, and went, would flush it.
  if (bridge === undefined || !hasOwn) return [];
  const there = controllers.filter(isBackup);
  const rowOf = (backup: BackupController) => ({
    ...controllerColumns(backup.target),
    external_ids: { [ROLE_KEY]: BACKUP_ROLE, [HOST_KEY]: backup.host },
  });
  const old = there.filter(({ target }) => backups.every((backup) => backup.target !== target));
  const fresh = backups.filter(({ target }) => there.every((row) => row.target !== target));
  const names = fresh.map((_, n) => named(`backup_${n}`));
  return [
    ...fresh.map((backup, n) => insert('Controller', rowOf(backup), { uuidName: `backup_${n}` })),
    ...there
      .filter((row) => !old.includes(row))
      .flatMap((row) => {
        const host = backups.find(({ target }) => target === row.target)?.host ?? '';
        return [
          ...updateOps('Controller', row._uuid, differing(row, controllerColumns(row.target))),
          ...mutateOps('Controller', row._uuid, mapMutations('external_ids', row.external_ids, { [HOST_KEY]: host })),
        ];
      }),
    ...mutateOps('Bridge', bridge._uuid, [
      ...(old.length === 0 ? [] : ([['controller', 'delete', old.map(({ _uuid }) => _uuid)]] as const)),
      ...(fresh.length === 0 ? [] : ([['controller', 'insert', names]] as const)),
    ]),
  ];
}

function sslOps({ ovs, ssl }: BackupView, files: SslFiles | undefined, owner: string): Operation[] {
  if (isForeign(ssl)) return [];
  if (files === undefined) {
    return ssl === undefined ? [] : [mutate('Open_vSwitch', isRow(ovs._uuid), [['ssl', 'delete', [ssl._uuid]]])];
  }
  const row = {
    private_key: files.privateKey,
    certificate: files.certificate,
    ca_cert: files.authority,
    bootstrap_ca_cert: false,
  };
  if (ssl !== undefined) return updateOps('SSL', ssl._uuid, differing(ssl, row));
  return [
    insert('SSL', { ...row, external_ids: { [OWNER_KEY]: owner } }, { uuidName: 'ssl' }),
    mutate('Open_vSwitch', isRow(ovs._uuid), [['ssl', 'insert', [named('ssl')]]]),
  ];
}
