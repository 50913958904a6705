// Tokens that need a yes: a host that comes with one waits until somebody on a server has said it. Until then the directory has
// its request and nothing else of it, one for each token, and there is one token at a time. The yes is for what was asked, the
// key of the newcomer included: whoever has seen the token cannot come in by another host's yes. Pure plans.

import { createHash } from 'node:crypto';
import { formatAddressPort } from '../base/address-port';
import { formatIpv4, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { JoinRequestRow, JoinTokenRow } from '../directory/rows';
import type { Ops, PlanContext } from '../directory/store';
import { insert, isRow, remove, update, wait } from '../ovsdb/operations';
import type { Newcomer } from './membership';

/** How long a newcomer waits, and a request is one. */
export const APPROVAL_MS = 10 * 60 * 1000;

/** SHA-256 of all that a newcomer asks for, and of the request for its certificate. */
export function digestOf(newcomer: Omit<Newcomer, 'digest'>, request: string): string {
  const { name, address, site, isHub, encrypts, endpoint, routerMac, datapathId } = newcomer;
  const asked = [name, address, site, isHub, encrypts, endpoint && formatAddressPort(endpoint), routerMac, datapathId];
  return createHash('sha256')
    .update(JSON.stringify([...asked.map((each) => each ?? null), request]))
    .digest('hex');
}

/** The request of a token that is not over. */
function requestOf(
  { view, nowMs }: Pick<PlanContext, 'view' | 'nowMs'>,
  token: JoinTokenRow,
): JoinRequestRow | undefined {
  for (const row of view.joinRequests()) if (row.token === token.hash && nowMs - row.since < APPROVAL_MS) return row;
  return undefined;
}

/**
 * A newcomer waits from now on, or does so already. Throws `conflict` where it was refused, and where another host waits with
 * its token.
 */
export function planRequest(context: PlanContext, token: JoinTokenRow, newcomer: Newcomer, from: Ipv4): Ops {
  const { view, nowMs } = context;
  const waiting = requestOf(context, token);
  if (waiting !== undefined) {
    checkRequest(waiting, newcomer);
    return [];
  }
  const { name, address, site, isHub, digest } = newcomer;
  const over = [...view.joinRequests()].filter((row) => row.token === token.hash);
  return [
    wait('JoinToken', isRow(token.uuid), [{ hash: token.hash }]),
    ...over.map((row) => remove('JoinRequest', isRow(row.uuid))),
    insert('JoinRequest', {
      token: token.hash,
      digest,
      name,
      address: formatIpv4(address),
      from: formatIpv4(from),
      site,
      is_hub: isHub,
      since: nowMs,
    }),
  ];
}

/** Whether somebody has said yes to exactly this. Throws as `planRequest`. */
export function isApproved(context: PlanContext, token: JoinTokenRow, newcomer: Newcomer): boolean {
  if (!token.needsApproval) return true;
  const waiting = requestOf(context, token);
  if (waiting === undefined) return false;
  checkRequest(waiting, newcomer);
  return waiting.verdict === 'approved';
}

/** The yes to it is used up. Throws as `planRequest`, and `conflict` where nobody has said it. */
export function useApproval(context: PlanContext, token: JoinTokenRow, newcomer: Newcomer): Ops {
  if (!token.needsApproval) return [];
  const waiting = isApproved(context, token, newcomer) ? requestOf(context, token) : undefined;
  if (waiting === undefined) {
    throw new DaoliError('conflict', `nobody has let host ${newcomer.name} in yet`, newcomer.name);
  }
  // Somebody may have thought better of it.
  const isSame = wait('JoinRequest', isRow(waiting.uuid), [{ verdict: 'approved' }]);
  return [isSame, remove('JoinRequest', isRow(waiting.uuid))];
}

function checkRequest(waiting: JoinRequestRow, { name, digest }: Newcomer): void {
  if (waiting.digest !== digest) {
    const remedy = 'get another one with `daolictl cluster token --approve`';
    throw new DaoliError('conflict', `host ${waiting.name} waits with this token already: ${remedy}`, waiting.name);
  }
  if (waiting.verdict !== 'refused') return;
  throw new DaoliError('conflict', `host ${name} was refused by the people of the cluster`, name);
}

/** What goes with a token. */
export function removeRequests({ view }: PlanContext): Ops {
  return [...view.joinRequests()].map((row) => remove('JoinRequest', isRow(row.uuid)));
}

/** Throws `not-found` where no such host waits (any more), naming those that do, and `conflict` where the other was said. */
export function planVerdict(context: PlanContext, name: string, verdict: 'approved' | 'refused'): Ops {
  const waiting = waitingHosts(context);
  const row = waiting.find((each) => each.name === name);
  if (row === undefined) {
    const names = waiting.map((each) => each.name).join(', ');
    const others = names === '' ? 'nobody does' : `${names} does`;
    throw new DaoliError('not-found', `no host ${name} waits to be let in: ${others}`, name);
  }
  return [
    // Not what has come in its place meanwhile.
    wait('JoinRequest', isRow(row.uuid), [{ digest: row.digest }]),
    update('JoinRequest', isRow(row.uuid), { verdict }),
  ];
}

/** Hosts about which nothing was said yet, or that have not come in since. */
export function waitingHosts(context: Pick<PlanContext, 'view' | 'nowMs'>): JoinRequestRow[] {
  const { view, nowMs } = context;
  const isGood = (row: JoinRequestRow) =>
    [...view.joinTokens()].some(({ hash, expires }) => hash === row.token && expires > nowMs);
  return [...view.joinRequests()].filter(
    (row) => row.verdict !== 'refused' && nowMs - row.since < APPROVAL_MS && isGood(row),
  );
}
