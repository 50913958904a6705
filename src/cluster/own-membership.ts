// How this host comes into a cluster, and goes: it begins one, joins one or leaves it, and says what others are to know of its
// tunnel. Each writes to disk what this host is from then on, and its agent starts anew with that. See membership.ts for what
// the directory has of it.

import { formatAddressPort, type AddressPort } from '../base/address-port';
import { formatIpv4, formatMac, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import { describeNetwork } from '../directory/descriptions';
import { DEFAULT_SITE, type HostRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { TUNNEL_PORT, type L2Setting } from '../directory/tunnel-operations';
import type { DirectoryView } from '../directory/view';
import { createAuthority, createRequest, fingerprintOf, issue, type Request } from '../pki/authority';
import { removeCluster, type ClusterFacts } from './files';
import { planFirst, planToken } from './membership';
import { askToJoin } from './newcomers';
import { checkReached, outsideOf, type Entry } from './sites';
import { newSecret, parseToken, tokenOf } from './token';

export interface OwnMembershipParts {
  /** Where the facts are kept. */
  readonly folder: string;
  /** Undefined where this host is in no cluster. */
  readonly facts: () => ClusterFacts | undefined;
  readonly writeFacts: (facts: ClusterFacts) => void;
  readonly store: DirectoryStore;
  readonly locatorRange: Cidr;
  /** The address by which this host reaches others, where nothing else is said. */
  readonly defaultAddress: () => Promise<Ipv4>;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  /** The agent ends and starts anew, after it has answered. */
  readonly restart: () => void;
}

/** What is left out stays as it is; an endpoint that is null is none. */
export interface OwnSettings {
  readonly endpoint?: AddressPort | null | undefined;
  readonly l2?: L2Setting | undefined;
}

export class OwnMembership {
  /** A join that waits for a yes, which is for the key that it was asked with. */
  private pending: ({ readonly token: string } & Request) | undefined;

  constructor(private readonly parts: OwnMembershipParts) {}

  /** This host becomes the first of a cluster; what it has stays. Returns the token for the next one. */
  async init(entry: Entry, needsApproval: boolean): Promise<string> {
    const { store, locatorRange, now, defaultAddress, restart } = this.parts;
    const { site = DEFAULT_SITE, isHub = false, encrypts = false, l2 = 'auto' } = entry;
    const { datapathId } = this.ownRow();
    if (this.parts.facts() !== undefined) throw new DaoliError('conflict', 'this host is in a cluster already');
    const address = entry.address ?? (await defaultAddress());
    checkReached([address, entry.endpoint?.address], locatorRange);
    const authority = await createAuthority(now());
    const { request, key } = await createRequest(store.host);
    const certificate = await issue(authority, request, store.host, now());
    const fingerprint = fingerprintOf(certificate);
    const secret = newSecret();
    await store.transact((context) => {
      const first = planFirst(context, { address, fingerprint, site, isHub, encrypts });
      return { ops: [...first, ...planToken(context, secret, needsApproval)], result: undefined };
    });
    const tunnel = { endpoint: entry.endpoint ?? { address, port: TUNNEL_PORT }, l2 };
    const outside = outsideOf(tunnel.endpoint, address);
    const facts = {
      address,
      site,
      tunnel,
      datapathId,
      locatorRange,
      clusterId: undefined,
      servers: [{ address, datapathId, certificates: [fingerprint], site, outside }],
      authority,
      identity: { certificate, key },
    };
    this.parts.writeFacts(facts);
    restart();
    return tokenOf(facts, secret);
  }

  /**
   * This host joins the cluster that the token is of. Throws `conflict` where it has networks of its own, naming them, and
   * all that the server says. False: somebody has to say yes first, and it is to be asked again, with the same.
   */
  async join(text: string, entry: Entry): Promise<boolean> {
    const { store, now, writeFacts, restart } = this.parts;
    if (this.parts.facts() !== undefined) throw new DaoliError('conflict', 'this host is in a cluster already');
    const token = parseToken(text);
    const { name, routerMac, datapathId } = this.ownRow();
    refuseNetworks(store.view, 'it joins');
    if (this.pending?.token !== text) this.pending = { token: text, ...(await createRequest(store.host)) };
    const { request, key } = this.pending;
    const { site = DEFAULT_SITE, isHub, encrypts, endpoint } = entry;
    let { address } = entry;
    const answer = await askToJoin(token, site, (local) => {
      address ??= local;
      const sender = { name, address: formatIpv4(address), routerMac: formatMac(routerMac), datapathId };
      const standing = { site, isHub, encrypts, endpoint: endpoint && formatAddressPort(endpoint) };
      return { ...sender, ...standing, local: formatIpv4(local), secret: token.secret, now: now(), request };
    });
    if (answer === 'waiting') return false;
    const { locatorRange, servers, authority, certificate, secrets } = answer;
    if (address === undefined) throw new DaoliError('internal', 'this host does not know its address');
    writeFacts({
      address,
      site: answer.site,
      tunnel: { endpoint: answer.endpoint, l2: entry.l2 ?? 'auto' },
      datapathId,
      locatorRange,
      clusterId: secrets?.clusterId,
      servers,
      authority: { certificate: authority, key: secrets?.authorityKey },
      identity: { certificate, key },
    });
    restart();
    return true;
  }

  /** What this host tells of its own tunnel, where it is in a cluster; its agent starts anew. */
  setTunnel({ endpoint, l2 }: OwnSettings): void {
    const { store, writeFacts, restart, locatorRange } = this.parts;
    const facts = this.parts.facts();
    if (facts === undefined) throw notInACluster();
    if (endpoint === undefined && l2 === undefined) {
      throw new DaoliError('invalid', 'nothing is said: --endpoint, --no-endpoint, --l2 or --no-l2');
    }
    const row = store.view.host(store.host);
    if (endpoint === null && (row?.isHub === true || row?.isServer === true)) {
      const what = row.isServer ? 'serves the directory' : 'is a hub';
      throw new DaoliError('conflict', `this host ${what}: others have to reach it`);
    }
    checkReached([endpoint?.address], locatorRange);
    const { tunnel } = facts;
    const next = {
      endpoint: endpoint === undefined ? tunnel.endpoint : (endpoint ?? undefined),
      l2: l2 ?? tunnel.l2,
    };
    // Whoever says that there may be an L2 means that of the network where this host is now.
    writeFacts({ ...facts, tunnel: next, ...(l2 === 'yes' || l2 === 'auto' ? { place: undefined } : {}) });
    restart();
  }

  /** This host is alone again. On one that was removed, or that cannot reach its cluster any more. */
  leave(): void {
    const { folder, store, restart } = this.parts;
    const facts = this.parts.facts();
    if (facts === undefined) throw notInACluster();
    const own = store.view.host(store.host);
    if (facts.authority.key !== undefined && facts.servers.length === 1) {
      throw new DaoliError('conflict', 'this host alone serves the directory: without it, all that is in it were lost');
    }
    if (store.connected && own?.isServer === true) {
      const remedy = 'remove it on another server first, with `daolictl host rm`';
      throw new DaoliError('conflict', `this host serves the directory to the others: ${remedy}`);
    }
    removeCluster(folder);
    restart();
  }

  private ownRow(): HostRow {
    const { store } = this.parts;
    const own = store.view.host(store.host);
    if (own !== undefined) return own;
    throw new DaoliError('unavailable', `host ${store.host} is not in its directory yet`);
  }
}

/** Throws `conflict` where this host has networks, naming them; `what`: before what they have to go. */
export function refuseNetworks(view: DirectoryView, what: string): void {
  const names = [...view.networks()].map(({ id }) => describeNetwork(view, id)).sort();
  if (names.length === 0) return;
  const shown = names.length > 10 ? `${names.slice(0, 10).join(', ')} and ${names.length - 10} more` : names.join(', ');
  throw new DaoliError('conflict', `this host has networks of its own (${shown}): remove them before ${what}`);
}

export function notInACluster(): DaoliError {
  return new DaoliError('conflict', 'this host is in no cluster');
}
