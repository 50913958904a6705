// What people decide of a host that is in the cluster already, as operations on the directory: its site, whether it is a hub,
// and whether it encrypts inside of its site. By servers alone (see inspection.ts); no host says it of itself.

import { DaoliError } from '../base/errors';
import { siteColumn } from '../directory/operations';
import type { Ops, PlanContext } from '../directory/store';
import { isRow, update } from '../ovsdb/operations';
import { existingHost } from './membership';
import { checkAddress } from './sites';

/** What is left out stays as it is. */
export interface HostSettings {
  readonly site?: string | undefined;
  readonly isHub?: boolean | undefined;
  readonly encrypts?: boolean | undefined;
}

/**
 * Throws `not-found`, `invalid` where nothing is said, and `conflict` for a hub that others cannot dial, and for a site where
 * another host has its address.
 */
export function planSettings({ view }: PlanContext, name: string, settings: HostSettings): Ops {
  const { site, isHub, encrypts } = settings;
  const host = existingHost(view, name);
  if (site === undefined && isHub === undefined && encrypts === undefined) {
    throw new DaoliError('invalid', 'nothing is said of it: --site, --hub, --no-hub, --encrypt or --no-encrypt', name);
  }
  if (site !== undefined) checkAddress(view, { name, site, address: host.address });
  if (isHub === true && view.tunnel(name)?.endpoint === undefined) {
    const remedy = `on it, say where they do with \`daolictl cluster set --endpoint ADDRESS[:PORT]\``;
    throw new DaoliError(
      'conflict',
      `hosts of other sites do not reach host ${name}, so it is no hub: ${remedy}`,
      name,
    );
  }
  const row = {
    ...(site === undefined ? {} : { site: siteColumn(site) }),
    ...(isHub === undefined ? {} : { is_hub: isHub }),
    ...(encrypts === undefined ? {} : { encrypt: encrypts }),
  };
  return [update('Host', isRow(host.uuid), row)];
}
