// What a server does for hosts that ask by HTTP: lets newcomers in, gives hosts their next certificates, and other servers
// what it takes to be one. See newcomers.ts for the asking side.

import { formatAddressPort } from '../base/address-port';
import { formatCidr, formatIpv4, type Cidr, type Ipv4 } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { Logger } from '../base/logger';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import { fingerprintOf, issue, type Identity } from '../pki/authority';
import { ALONE, PUT_OUT, type DirectoryServer } from './directory-server';
import { shownServers, type ClusterFacts, type KnownServer } from './files';
import { digestOf, isApproved, planRequest } from './approval';
import { checkNewcomer, planCertificates, planJoin, type Newcomer } from './membership';
import type { FrontDesk, JoinRequest, ServerSecrets } from './newcomers';
import { knownServers } from './server-role';
import { checkReached, endpointOf, outsideOf } from './sites';

export interface DeskParts {
  readonly store: DirectoryStore;
  /** This host's own ovsdb-server of the directory. */
  readonly server: DirectoryServer;
  /** What this host knows of its cluster at this moment. */
  readonly facts: () => ClusterFacts | undefined;
  readonly locatorRange: Cidr;
  readonly logger: Logger;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

/** The facts of a server. Throws `conflict` on any other host, saying where to go for `purpose`. */
export function factsOfServer(
  facts: ClusterFacts | undefined,
  purpose: string,
): ClusterFacts & { readonly authority: Identity } {
  if (facts === undefined)
    throw new DaoliError('conflict', 'this host is in no cluster: begin with `daolictl cluster init`');
  const { certificate, key } = facts.authority;
  if (key !== undefined) return { ...facts, authority: { certificate, key } };
  const servers = facts.servers.map(({ address }) => formatIpv4(address)).join(', ');
  throw new DaoliError('conflict', `only servers of the cluster ${purpose}: do it on ${servers}`);
}

export class Desk implements FrontDesk {
  constructor(private readonly parts: DeskParts) {}

  async letIn(request: JoinRequest, seen: Ipv4, proven: string | undefined): Promise<object> {
    const { locatorRange, now, logger, store } = this.parts;
    const facts = factsOfServer(this.parts.facts(), 'let others in');
    const { authority } = facts;
    const endpoint = request.endpoint ?? endpointOf(request, seen, facts);
    checkReached([request.address, endpoint?.address], locatorRange);
    const asked = { ...request, endpoint };
    const isProven = proven === request.name;
    const newcomer = { ...asked, isProven, digest: digestOf(asked, request.request) };
    // Nothing is signed for somebody who cannot come in.
    if (await this.waits(newcomer, seen)) return { isWaiting: true };
    const ownSecrets = await this.ownSecrets(authority);
    const certificate = await issue(authority, newcomer.request, newcomer.name, now());
    await this.write((context) => planJoin(context, newcomer, fingerprintOf(certificate), locatorRange));
    const { name, address, site } = newcomer;
    logger.info('a host has joined', { host: name, site, address: formatIpv4(address), from: formatIpv4(seen) });
    // Where this server is reached from elsewhere the directory may not say yet.
    const outside = outsideOf(facts.tunnel.endpoint, facts.address);
    const isOwn = ({ datapathId }: KnownServer) => datapathId === facts.datapathId;
    const servers = shownServers(knownServers(store.view).map((each) => (isOwn(each) ? { ...each, outside } : each)));
    const secrets = store.view.host(name)?.isServer === true ? ownSecrets : undefined;
    const standing = { site, endpoint: endpoint && formatAddressPort(endpoint) };
    const of = { authority: authority.certificate, locators: formatCidr(locatorRange), servers };
    return { certificate, ...of, ...standing, secrets };
  }

  /** Whether it has to wait for a yes. Throws what is in its way. */
  private waits(newcomer: Newcomer, seen: Ipv4): Promise<boolean> {
    const { store, logger } = this.parts;
    return store.transact((context) => {
      const token = checkNewcomer(context, newcomer);
      if (isApproved(context, token, newcomer)) return { ops: [], result: false };
      const ops = planRequest(context, token, newcomer, seen);
      const { name, site, address } = newcomer;
      const told = { host: name, site, address: formatIpv4(address), from: formatIpv4(seen) };
      if (ops.length > 0) logger.info('a host waits to be let in: `daolictl host approve`, or `host refuse`', told);
      return { ops, result: true };
    });
  }

  async renew(fingerprint: string, request: string): Promise<{ certificate: string }> {
    const { now, logger } = this.parts;
    const authority = this.authority('renew certificates');
    const host = this.hostOf(fingerprint);
    const certificate = await issue(authority, request, host.name, now());
    const next = fingerprintOf(certificate);
    await this.write((context) => planCertificates(context, host.name, [fingerprint, next]));
    logger.info('a host has a new certificate', { host: host.name });
    return { certificate };
  }

  async settle(fingerprint: string): Promise<object> {
    const host = this.hostOf(fingerprint);
    await this.write((context) => planCertificates(context, host.name, [fingerprint]));
    return {};
  }

  async secrets(fingerprint: string): Promise<ServerSecrets> {
    const { server } = this.parts;
    const authority = this.authority('make others servers');
    const host = this.hostOf(fingerprint);
    if (!host.isServer) throw new DaoliError('conflict', `host ${host.name} is no server`, host.name);
    const secrets = await this.ownSecrets(authority);
    // One that asks has no database of the cluster: what Raft has of it is left from one that is lost.
    await server.kick(host.datapathId);
    return secrets;
  }

  private authority(purpose: string): Identity {
    return factsOfServer(this.parts.facts(), purpose).authority;
  }

  private async ownSecrets({ key: authorityKey }: Identity): Promise<ServerSecrets> {
    const clusterId = await this.parts.server.clusterId();
    if (clusterId !== ALONE && clusterId !== PUT_OUT) return { authorityKey, clusterId };
    throw new DaoliError('unavailable', 'the database of this server is none of a cluster yet: try again');
  }

  private hostOf(fingerprint: string): HostRow {
    for (const host of this.parts.store.view.hosts()) if (host.certificates.includes(fingerprint)) return host;
    throw new DaoliError('not-found', 'the certificate is no host’s of this cluster (any more)');
  }

  private write(plan: (context: PlanContext) => Ops): Promise<void> {
    return this.parts.store.transact((context) => ({ ops: plan(context), result: undefined }));
  }
}
