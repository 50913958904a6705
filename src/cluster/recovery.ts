// When a cluster has lost what it cannot go on without: a backup beforehand, and from one the cluster anew on one host; the
// cluster anew from one server that is left, where most of them are gone for good; and hosts that find it again.

import { formatIpv4, formatMac, type Ipv4 } from '../base/addresses';
import { formatAddressPort } from '../base/address-port';
import { DaoliError } from '../base/errors';
import type { Logger } from '../base/logger';
import { DIRECTORY_DATABASE } from '../directory/directory';
import type { DirectoryStore } from '../directory/store';
import { TUNNEL_PORT } from '../directory/tunnel-operations';
import { fileOf, readContent, transactOnce } from '../ovsdb/content';
import { createRequest, fingerprintOf, issue, lifeLeft, type Identity, type Request } from '../pki/authority';
import {
  contentFor,
  hostIn,
  parseBackup,
  showBackup,
  type BackedUpHost,
  type Backup,
  type ShownBackup,
} from './backup';
import { factsOfServer } from './desk';
import type { DirectoryServer } from './directory-server';
import { writeCluster, type ClusterFacts, type KnownServer } from './files';
import { askToJoin } from './newcomers';
import { checkReached } from './sites';
import { parseToken } from './token';

export interface RecoveryParts {
  /** Where the facts are kept. */
  readonly folder: string;
  readonly facts: () => ClusterFacts | undefined;
  readonly writeFacts: (facts: ClusterFacts) => void;
  readonly store: DirectoryStore;
  /** This host's own ovsdb-server of the directory, and its socket. */
  readonly server: DirectoryServer;
  readonly socketPath: string;
  /** Throws where this host has networks that the cluster does not know. */
  readonly refuseNetworks: () => void;
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly restart: () => void;
  readonly logger: Logger;
}

export class Recovery {
  /** A return that waits for a yes, which is for the key that it was asked with. */
  private pending: ({ readonly token: string } & Request) | undefined;

  constructor(private readonly parts: RecoveryParts) {}

  /** What restore() takes. The cluster goes on meanwhile. On a server alone. */
  async backup(): Promise<ShownBackup> {
    const { store, socketPath, now } = this.parts;
    const facts = factsOfServer(this.parts.facts(), 'make backups');
    if (!store.connected) throw new DaoliError('unavailable', 'the directory is away: try again when it is back');
    const directory = await readContent(socketPath, DIRECTORY_DATABASE);
    return showBackup(facts, { host: store.host, made: new Date(now()).toISOString(), directory });
  }

  /**
   * This host alone serves the directory of a backup. Throws `invalid` for what is none, `not-found` where it has no host of
   * this name, and `conflict` where this host's cluster has its directory, or it has networks of its own.
   */
  async restore(shown: unknown, wantedAddress: Ipv4 | undefined): Promise<void> {
    const { store, folder, server, restart, logger, now } = this.parts;
    const facts = this.parts.facts();
    const backup = parseBackup(shown);
    const own = hostIn(backup, store.host);
    if (facts === undefined) this.parts.refuseNetworks();
    else if (store.connected) {
      throw new DaoliError('conflict', 'the directory of this host’s cluster is there: nothing is to be restored');
    }
    const address = wantedAddress ?? own.address;
    if (address === undefined)
      throw new DaoliError('invalid', 'the backup does not know its address: say it with --address');
    checkReached([address], backup.locators);
    const identity = await this.identityFrom(backup, own, facts, now());
    const certificate = fingerprintOf(identity.certificate);
    const { datapathId, site } = own;
    await server.restore(fileOf(contentFor(backup, { name: store.host, address, certificate })), datapathId);
    const outside = facts?.tunnel.endpoint ?? { address, port: TUNNEL_PORT };
    writeCluster(folder, {
      address,
      site,
      tunnel: { endpoint: outside, l2: facts?.tunnel.l2 ?? 'auto' },
      datapathId,
      locatorRange: backup.locators,
      clusterId: undefined,
      servers: [{ address, datapathId, certificates: [certificate], site }],
      authority: backup.authority,
      identity,
    });
    logger.warn('the cluster begins anew with a backup, on this host', { made: backup.made, from: backup.host });
    restart();
  }

  /** One by which the other hosts know this one, if there is one. */
  private async identityFrom(
    backup: Backup,
    own: BackedUpHost,
    facts: ClusterFacts | undefined,
    now: number,
  ): Promise<Identity> {
    const known = [facts?.identity, backup.host === this.parts.store.host ? backup.identity : undefined];
    const isGood = (each: Identity | undefined): each is Identity =>
      each !== undefined &&
      own.certificates.includes(fingerprintOf(each.certificate)) &&
      lifeLeft(each.certificate, now) > 0;
    const found = known.find(isGood);
    if (found !== undefined) return found;
    const { request, key } = await createRequest(this.parts.store.host);
    return { certificate: await issue(backup.authority, request, this.parts.store.host, now), key };
  }

  /**
   * This server goes on alone with what it knows: `without` are the other servers, which are out. Throws `conflict` where most
   * of them are there, and `invalid` where `without` is not all of the others.
   */
  async recover(without: readonly string[]): Promise<void> {
    const { store, server, socketPath, restart, logger } = this.parts;
    const facts = factsOfServer(this.parts.facts(), 'go on alone');
    const { leader } = (await server.status()) ?? {};
    if (leader !== undefined) {
      const remedy = 'one that is lost goes with `daolictl host rm`';
      throw new DaoliError('conflict', `most of the servers are there, and serve the directory: ${remedy}`);
    }
    const others = facts.servers.filter(({ datapathId }) => datapathId !== facts.datapathId);
    this.checkWithout(others, without);
    const only = facts.servers.filter(({ datapathId }) => datapathId === facts.datapathId);
    // First: an agent that starts half way must not look for the cluster that was.
    this.parts.writeFacts({ ...facts, clusterId: undefined, servers: only });
    logger.warn('this server goes on without the others', { without: without.join(' ') });
    await server.recover(facts.datapathId).catch(async (error: unknown) => {
      await this.takeBack(facts);
      throw error;
    });
    const where = [['name', '!=', store.host]];
    const demotion = { op: 'update', table: 'Host', where, row: { is_server: false } };
    try {
      await server.whenLed();
      await transactOnce(socketPath, DIRECTORY_DATABASE, [demotion]);
    } finally {
      // The database is another: this agent would refuse it as long as it runs.
      restart();
    }
  }

  /**
   * The database did not become another: this host has to find the others, should they come back. Where nobody knows what it is by
   * now, nothing is taken back: with another database, this host would look for the cluster that was, and clear it for that.
   */
  private async takeBack(facts: ClusterFacts): Promise<void> {
    const present = await this.parts.server.clusterId().catch(() => undefined);
    if (present !== undefined && present === facts.clusterId) this.parts.writeFacts(facts);
  }

  private checkWithout(others: readonly KnownServer[], without: readonly string[]): void {
    const { view } = this.parts.store;
    const nameOf = ({ datapathId, address }: KnownServer): string =>
      [...view.hosts()].find((host) => host.datapathId === datapathId)?.name ?? formatIpv4(address);
    const names = others.map(nameOf).sort();
    if (names.join() === [...without].sort().join()) return;
    const message = `the other servers are ${names.join(', ')}: where they are lost for good, say --without ${names.join(',')}`;
    throw new DaoliError('invalid', message, without.join());
  }

  /**
   * This host, which is one of a cluster, goes to the server that the token is of, as a client; its networks and containers
   * stay. False: somebody has to say yes first. Throws what the server says.
   */
  async rejoin(text: string): Promise<boolean> {
    const { store, restart, now } = this.parts;
    const facts = this.parts.facts();
    if (facts === undefined) throw new DaoliError('conflict', 'this host is in no cluster: `daolictl cluster join` it');
    const token = parseToken(text);
    const row = store.view.host(store.host);
    if (row === undefined) throw new DaoliError('unavailable', 'this host does not know itself yet: try again');
    if (this.pending?.token !== text) this.pending = { token: text, ...(await createRequest(store.host)) };
    const { request, key } = this.pending;
    const { address, site, tunnel, datapathId, identity } = facts;
    const sender = { name: store.host, address: formatIpv4(address), routerMac: formatMac(row.routerMac), datapathId };
    const standing = { site, isHub: row.isHub, endpoint: tunnel.endpoint && formatAddressPort(tunnel.endpoint) };
    const ask = () => ({ ...sender, ...standing, secret: token.secret, now: now(), request });
    const answer = await askToJoin(token, site, ask, identity);
    if (answer === 'waiting') return false;
    this.parts.writeFacts({
      ...facts,
      clusterId: undefined,
      locatorRange: answer.locatorRange,
      servers: answer.servers,
      authority: { certificate: answer.authority, key: undefined },
      identity: { certificate: answer.certificate, key },
    });
    restart();
    return true;
  }
}
