// An address goes from one host to another with its container: between its release here and the request for it there it stays taken,
// for the host that it goes to. Operations of one transaction each, for servers of the cluster, which write of any host.

import { formatIpv4, formatMac, type Ipv4, type Mac } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { isRow, remove, update, wait } from '../ovsdb/operations';
import type { AddressRow, NetworkId } from './rows';
import type { Ops, PlanContext } from './store';
import type { DirectoryView } from './view';

export interface HandOver {
  readonly networkId: NetworkId;
  readonly address: Ipv4;
  readonly from: string;
  readonly to: string;
  /** With which it will be requested; undefined: any. */
  readonly mac: Mac | undefined;
}

/** A move that was cut off is forgotten after so long. */
const FORGOTTEN_MS = 10 * 60_000;

/**
 * From now on both hosts hold the address. Throws `conflict` where it is not (any more) an endpoint's of `from`, or goes to another
 * host already.
 */
export function handOver(context: PlanContext, { networkId, address, from, to, mac }: HandOver): Ops {
  const { view, nowMs } = context;
  const text = formatIpv4(address);
  const tenant = view.network(networkId)?.tenant ?? '';
  const row = view.addressHolder(tenant, address);
  if (row === undefined || view.endpointAt(tenant, address)?.host !== from) {
    throw new DaoliError('conflict', `${text} is no address of host ${from} any more: try again`, text);
  }
  const other = row.holders.find((holder) => holder !== from && holder !== to);
  if (other !== undefined && Math.abs(nowMs - row.since) < FORGOTTEN_MS) {
    throw new DaoliError('conflict', `${text} is going to host ${other} already: wait for that`, text);
  }
  const holders = row.holders.includes(from) ? [from, to] : [to];
  return changeHolders(view, row, holders, { mac: mac === undefined ? undefined : formatMac(mac), since: nowMs });
}

/** The host that it was to go to holds it no more, and `from` may have it again, with any MAC address. */
export function takeBack({ view, nowMs }: PlanContext, { networkId, address, from, to }: HandOver): Ops {
  const tenant = view.network(networkId)?.tenant ?? '';
  const row = view.addressHolder(tenant, address);
  const endpoint = view.endpointAt(tenant, address);
  if (row === undefined || !row.holders.includes(to) || endpoint?.host === to) return [];
  // Docker's own IPAM asks nobody, and gives nothing back.
  if (isDockers(view, networkId, from)) {
    const left = row.holders.filter((holder) => holder !== to);
    const isOver = endpoint === undefined && left.length === 0;
    return isOver ? [waitForHolders(view, row), remove('Address', isRow(row.uuid))] : changeHolders(view, row, left);
  }
  return changeHolders(view, row, [from], endpoint === undefined ? { mac: undefined, since: nowMs } : {});
}

/** The container is there. Where Docker's own IPAM gave it the address, no Docker will give that back to us. */
export function settleHandOver({ view }: PlanContext, { networkId, address, to }: HandOver): Ops {
  const tenant = view.network(networkId)?.tenant ?? '';
  const row = view.addressHolder(tenant, address);
  const isThere = view.endpointAt(tenant, address)?.host === to;
  if (row === undefined || !isThere || !row.holders.includes(to) || !isDockers(view, networkId, to)) return [];
  return changeHolders(
    view,
    row,
    row.holders.filter((holder) => holder !== to),
  );
}

/** Whether this host's Docker gives out the network's addresses by its own IPAM: where it was made so. */
export function isDockers(view: DirectoryView, networkId: NetworkId, host: string): boolean {
  const isMadeThere = view.replicaOn(host, networkId)?.dockerId === networkId;
  return view.network(networkId)?.ipam === 'docker' && isMadeThere;
}

function changeHolders(view: DirectoryView, row: AddressRow, holders: readonly string[], more: object = {}): Ops {
  const uuids = holders.map((name) => view.host(name)?.uuid);
  return [waitForHolders(view, row), update('Address', isRow(row.uuid), { holders: uuids, ...more })];
}

/** Fails the transaction if others hold the address now than in our view. */
function waitForHolders(view: DirectoryView, row: AddressRow) {
  return wait('Address', isRow(row.uuid), [{ holders: row.holders.map((name) => view.host(name)?.uuid) }]);
}
