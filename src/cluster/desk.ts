// What a server does for hosts that ask by HTTP: lets newcomers in, gives hosts their next certificates, and other servers
// what it takes to be one. See newcomers.ts for the asking side.

import { formatCidr, formatIpv4, type Cidr } from '../base/addresses';
import { DaoliError } from '../base/errors';
import type { Logger } from '../base/logger';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore, Ops, PlanContext } from '../directory/store';
import { fingerprintOf, issue, type Identity } from '../pki/authority';
import { ALONE, PUT_OUT, type DirectoryServer } from './directory-server';
import { shownServers, type ClusterFacts } from './files';
import { checkNewcomer, planCertificates, planJoin } from './membership';
import type { FrontDesk, JoinRequest, ServerSecrets } from './newcomers';
import { knownServers } from './server-role';

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

  async letIn(newcomer: JoinRequest): Promise<object> {
    const { locatorRange, now, logger, store } = this.parts;
    const authority = this.authority('let others in');
    // Nothing is signed for somebody who cannot come in.
    await this.write((context) => (checkNewcomer(context, newcomer), []));
    const ownSecrets = await this.ownSecrets(authority);
    const certificate = await issue(authority, newcomer.request, newcomer.name, now());
    await this.write((context) => planJoin(context, newcomer, fingerprintOf(certificate), locatorRange));
    const { name, address } = newcomer;
    logger.info('a host has joined', { host: name, address: formatIpv4(address) });
    const servers = shownServers(knownServers(store.view));
    const secrets = store.view.host(name)?.isServer === true ? ownSecrets : undefined;
    return { certificate, authority: authority.certificate, locators: formatCidr(locatorRange), servers, secrets };
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
