// Words to other hosts. A connection is made with the first word to a host, ends when it is not used, and is never waited
// for: where it is not there, or is too slow, words are dropped. Their routes are made by their first packet then.

import { connect, type TLSSocket } from 'node:tls';
import { formatIpv4, type Cidr, type Mac } from '../base/addresses';
import type { Clock } from '../base/clock';
import { messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { fingerprintOf, type Identity } from '../pki/authority';
import { doorOf } from './sites';
import { encodeWord, WORDS_PROTOCOL, type RouteWord } from './words';

/** Words that wait for their connection, or for the end of the turn. */
const MAX_WAITING = 256;
/** Bytes that a host has not taken; further words are dropped. */
const MAX_UNSENT_BYTES = 16 * 1024;
/** Hosts that are talked to at a time. */
const MAX_PEERS = 1024;
/** Connections that are being opened at a time: each costs both sides some milliseconds. */
const MAX_OPENING = 16;
const OPEN_WITHIN_MS = 5_000;
/** After a connection failed or was ended by the other side. */
const RETRY_MS = 5_000;
export const IDLE_MS = 5 * 60_000;

export interface WordSenderParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host' | 'onChange'>;
  /** The cluster's, and this host's own. */
  readonly authority: string;
  readonly identity: Identity;
  readonly locatorRange: Cidr;
  /** The door of every host. */
  readonly port: number;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Default IDLE_MS. */
  readonly idleMs?: number;
}

/** One host that is talked to. `resting`: its connection failed, and is not tried again yet. */
interface Peer {
  readonly name: string;
  readonly address: string;
  state: 'opening' | 'open' | 'resting';
  socket: TLSSocket | undefined;
  fingerprint: string | undefined;
  waiting: Buffer[];
}

export class WordSender {
  private readonly peers = new Map<Mac, Peer>();
  private readonly problems: ProblemLog;
  private readonly stopFollowing: () => void;
  /** With words that leave at the end of this event-loop turn. */
  private readonly toSend = new Set<Peer>();
  private opening = 0;
  /** Words that did not leave. */
  dropped = 0;

  constructor(private readonly parts: WordSenderParts) {
    this.problems = new ProblemLog(parts.clock, parts.logger);
    this.stopFollowing = parts.store.onChange((changes) => {
      if (changes.some(({ table }) => table === 'Host')) this.putOut();
    });
  }

  stop(): void {
    this.stopFollowing();
    this.reset();
  }

  /** Ends all connections: this host has another address. The next words open others. */
  reset(): void {
    for (const [routerMac, peer] of [...this.peers]) this.end(routerMac, peer);
  }

  /** Says it to the host with this router MAC, as soon as it can be said, or not at all. */
  tell(routerMac: Mac, word: RouteWord): void {
    const peer = this.peers.get(routerMac) ?? this.open(routerMac);
    const isFull = peer === undefined || peer.state === 'resting' || peer.waiting.length >= MAX_WAITING;
    if (isFull || (peer.socket?.writableLength ?? 0) > MAX_UNSENT_BYTES) {
      this.dropped += 1;
      return;
    }
    peer.waiting.push(encodeWord(word));
    if (peer.state === 'open') this.sendLater(peer);
  }

  /** Hosts that there is a connection to, or one in the making. */
  get size(): number {
    return this.peers.size;
  }

  /** Before the flows of the same turn, which were asked for later. */
  private sendLater(peer: Peer): void {
    if (this.toSend.size === 0) setImmediate(() => this.sendAll());
    this.toSend.add(peer);
  }

  private sendAll(): void {
    const peers = [...this.toSend];
    this.toSend.clear();
    for (const peer of peers) this.send(peer);
  }

  private send(peer: Peer): void {
    const words = peer.waiting;
    peer.waiting = [];
    if (peer.state === 'open' && words.length > 0) peer.socket?.write(Buffer.concat(words));
  }

  private open(routerMac: Mac): Peer | undefined {
    if (this.peers.size >= MAX_PEERS || this.opening >= MAX_OPENING) return undefined;
    const row = this.rowOf(routerMac);
    const { store, locatorRange } = this.parts;
    const address = row && doorOf(store.view, store.host, row, locatorRange);
    if (row === undefined || address === undefined) return undefined;
    const peer: Peer = {
      name: row.name,
      address: formatIpv4(address),
      state: 'opening',
      socket: undefined,
      fingerprint: undefined,
      waiting: [],
    };
    this.peers.set(routerMac, peer);
    this.opening += 1;
    this.connect(routerMac, peer);
    return peer;
  }

  private rowOf(routerMac: Mac): HostRow | undefined {
    for (const row of this.parts.store.view.hosts()) if (row.routerMac === routerMac) return row;
    return undefined;
  }

  private connect(routerMac: Mac, peer: Peer): void {
    const { authority, identity, port, idleMs = IDLE_MS } = this.parts;
    const socket = connect({
      host: peer.address,
      port,
      ca: authority,
      cert: identity.certificate,
      key: identity.key,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [WORDS_PROTOCOL],
      checkServerIdentity: (_name, { raw }) => this.check(peer, raw),
    });
    peer.socket = socket;
    let problem = 'it ended the connection';
    socket.setNoDelay(true);
    socket.setTimeout(OPEN_WITHIN_MS);
    socket.on('timeout', () => {
      if (peer.state === 'open') this.end(routerMac, peer);
      else socket.destroy(new Error('no answer in time'));
    });
    socket.once('secureConnect', () => {
      this.opening -= 1;
      peer.state = 'open';
      socket.setTimeout(idleMs);
      this.send(peer);
    });
    // It says nothing; what is not read would keep its end from being seen.
    socket.resume();
    socket.on('error', (error) => (problem = messageOf(error)));
    socket.on('close', () => this.handleClosed(routerMac, peer, problem));
  }

  /** Whether the certificate is the host's at this moment: the authority's signature was checked before. */
  private check(peer: Peer, certificate: Buffer): Error | undefined {
    const fingerprint = fingerprintOf(certificate);
    if (this.parts.store.view.host(peer.name)?.certificates.includes(fingerprint) !== true) {
      return new Error('the certificate is not that host’s');
    }
    peer.fingerprint = fingerprint;
    return undefined;
  }

  private handleClosed(routerMac: Mac, peer: Peer, problem: string): void {
    if (peer.state === 'opening') this.opening -= 1;
    peer.state = 'resting';
    peer.socket = undefined;
    this.dropped += peer.waiting.length;
    peer.waiting = [];
    if (this.peers.get(routerMac) !== peer) return;
    const { clock } = this.parts;
    this.problems.report('a host is not told of routes: their first packets make them', { host: peer.name, problem });
    clock.after(RETRY_MS, () => {
      if (this.peers.get(routerMac) === peer) this.peers.delete(routerMac);
    });
  }

  /** Without a word: the next one to this host opens another connection. */
  private end(routerMac: Mac, peer: Peer): void {
    if (this.peers.get(routerMac) === peer) this.peers.delete(routerMac);
    peer.socket?.destroy();
  }

  /** Ends connections to hosts that were removed, moved, or have no longer the certificate that they showed. */
  private putOut(): void {
    for (const [routerMac, peer] of [...this.peers]) {
      const row = this.parts.store.view.host(peer.name);
      const isSame =
        row?.routerMac === routerMac && row.address !== undefined && formatIpv4(row.address) === peer.address;
      const isKnown = peer.fingerprint === undefined || row?.certificates.includes(peer.fingerprint) === true;
      if (!isSame || !isKnown) this.end(routerMac, peer);
    }
  }
}
