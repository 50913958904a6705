// Connections between the agents of hosts that stand by for one another, and for the same others: each asks the other twice a
// second whether it is there, and answers with whether it is in charge of its own datapath. Of two hosts one dials, whichever
// can; both ask. What comes of the answers is src/backup/watch.ts.
//
//   ?   are you there
//   +   yes, and in charge of the own datapath      -   yes, but not in charge
//   !   not any more: this agent ends
//
// Any other byte is a later version's, and is passed over.

import { connect, type TLSSocket } from 'node:tls';
import { formatIpv4, type Cidr } from '../base/addresses';
import type { Clock } from '../base/clock';
import type { HostRow } from '../directory/rows';
import type { DirectoryStore } from '../directory/store';
import { fingerprintOf, type Identity } from '../pki/authority';
import { canDial, doorOf } from './sites';

/** The ALPN protocol; another meaning of the bytes has another name. */
export const PULSE_PROTOCOL = 'daolinet-pulse/1';
export const ASK_EVERY_MS = 500;
const OPEN_WITHIN_MS = 1_000;
/** Bytes that the other side has not taken: it hangs, and more would not be answered sooner. */
const MAX_UNSENT_BYTES = 256;
/**
 * After so many questions, which take two seconds, a connection on which nothing was heard meanwhile is given up: TCP would hold
 * on to it long after the way is there again. Questions, not time: they do not count while this agent itself was held up.
 */
const UNANSWERED_ASKS = 4;

const ASK = 0x3f;
const ANSWERS = new Map([
  [0x2b, 'serving'],
  [0x2d, 'idle'],
  [0x21, 'leaving'],
] as const);
const BYTES = { serving: '+', idle: '-', leaving: '!' } as const;

export type PulseState = keyof typeof BYTES;

export interface PulseLinksParts {
  readonly store: Pick<DirectoryStore, 'view' | 'host'>;
  /** The cluster's, and this host's own. */
  readonly authority: string;
  readonly identity: Identity;
  readonly locatorRange: Cidr;
  /** The door of every host. */
  readonly port: number;
  readonly clock: Clock;
  /** Whether this host is in charge of its own datapath. */
  readonly isServing: () => boolean;
  /** Another host has answered. */
  readonly onPulse: (host: string, state: PulseState) => void;
}

interface Link {
  readonly socket: TLSSocket;
  /** How often it was time to ask since something was heard. */
  asks: number;
}

export class PulseLinks {
  /** Whom this host asks. */
  private peers: ReadonlySet<string> = new Set();
  /** By host, the connection that it has: the newest one, whoever dialled. */
  private readonly links = new Map<string, Link>();
  private readonly opening = new Set<string>();
  private cancelTick = (): void => undefined;
  private isStopped = false;

  constructor(private readonly parts: PulseLinksParts) {}

  /** Begins to ask, and to dial. */
  start(): void {
    this.isStopped = false;
    this.tick();
  }

  /** These hosts are asked from now on. */
  setPeers(peers: ReadonlySet<string>): void {
    this.peers = peers;
    for (const [host, { socket }] of this.links) if (!peers.has(host)) socket.destroy();
  }

  /** A host came in, and who it is was checked. */
  accept(socket: TLSSocket, host: string): void {
    if (this.isStopped) return void socket.destroy();
    this.use(socket, host);
  }

  /** Tells all that this agent ends, and ends. Idempotent. */
  stop(): void {
    this.isStopped = true;
    this.cancelTick();
    for (const { socket } of this.links.values()) socket.end(BYTES.leaving);
    this.links.clear();
  }

  private tick(): void {
    this.cancelTick();
    if (this.isStopped) return;
    this.giveUpSilent();
    for (const host of this.peers) {
      const link = this.links.get(host);
      if (link !== undefined) this.ask(host, link.socket);
      else if (!this.opening.has(host)) this.dial(host);
    }
    this.cancelTick = this.parts.clock.after(ASK_EVERY_MS, () => this.tick());
  }

  /** Either side does: whoever dials does so again. */
  private giveUpSilent(): void {
    for (const [host, link] of this.links) {
      link.asks += 1;
      if (link.asks <= UNANSWERED_ASKS) continue;
      this.links.delete(host);
      link.socket.destroy();
    }
  }

  /** One whose certificate is that host's no more, or that takes nothing, ends; another is dialled next time. */
  private ask(host: string, socket: TLSSocket): void {
    const certificate = socket.getPeerCertificate().raw as Buffer | undefined;
    const isKnown = certificate !== undefined && this.isOf(host, certificate);
    if (!isKnown || socket.writableLength > MAX_UNSENT_BYTES) socket.destroy();
    else socket.write('?');
  }

  private dial(host: string): void {
    const { store, authority, identity, locatorRange, port } = this.parts;
    const [own, other] = [store.view.host(store.host), store.view.host(host)];
    const address = other && doorOf(store.view, store.host, other, locatorRange);
    if (own === undefined || other === undefined || address === undefined || !this.isDialler(own, other)) return;
    const socket = connect({
      host: formatIpv4(address),
      port,
      ca: authority,
      cert: identity.certificate,
      key: identity.key,
      minVersion: 'TLSv1.3',
      ALPNProtocols: [PULSE_PROTOCOL],
      checkServerIdentity: (_name, { raw }) =>
        this.isOf(host, raw) ? undefined : new Error('the certificate is not that host’s'),
    });
    this.opening.add(host);
    const cancel = this.parts.clock.after(OPEN_WITHIN_MS, () => socket.destroy());
    socket.once('secureConnect', () => {
      cancel();
      this.opening.delete(host);
      // Agents that know nothing of this choose no protocol.
      if (this.isStopped || socket.alpnProtocol !== PULSE_PROTOCOL) return void socket.destroy();
      this.use(socket, host);
      this.ask(host, socket);
    });
    // That a host is not there is what this is for: src/backup says so, once.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      cancel();
      this.opening.delete(host);
    });
  }

  /** Of two hosts that can both dial, the one whose name is first. */
  private isDialler(own: HostRow, other: HostRow): boolean {
    const { view } = this.parts.store;
    return canDial(view, own, other) && (own.name < other.name || !canDial(view, other, own));
  }

  private isOf(host: string, certificate: Buffer): boolean {
    const { certificates = [] } = this.parts.store.view.host(host) ?? {};
    return certificates.includes(fingerprintOf(certificate));
  }

  private use(socket: TLSSocket, host: string): void {
    this.links.get(host)?.socket.destroy();
    const link: Link = { socket, asks: 0 };
    this.links.set(host, link);
    socket.setNoDelay(true);
    socket.on('data', (chunk: Buffer) => {
      link.asks = 0;
      this.read(socket, host, chunk);
    });
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      if (this.links.get(host) === link) this.links.delete(host);
    });
  }

  /** However many questions are in a chunk, they are one. */
  private read(socket: TLSSocket, host: string, chunk: Buffer): void {
    if (chunk.includes(ASK) && socket.writableLength <= MAX_UNSENT_BYTES) {
      socket.write(BYTES[this.parts.isServing() ? 'serving' : 'idle']);
    }
    for (const byte of chunk.toReversed()) {
      const state = ANSWERS.get(byte as never);
      if (state !== undefined) return this.parts.onPulse(host, state);
    }
  }
}
