// The datapaths that a controller works on: it listens for its own host's, becomes their master and takes what others bring.
// What they should have is the controller's to say; here is who is there, and how to reach it.

import type { Socket } from 'node:net';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import type { Logger } from '../base/logger';
import { ProblemLog } from '../base/problem-log';
import type { MessageWriter } from '../openflow/message-writer';
import type { FlowCounters } from './counters';
import { DatapathLink, type LinkUser } from './datapath-link';
import { DatapathState } from './datapath-state';
import type { EndpointIndex } from './endpoint-index';
import type { FlowSettings } from './model';
import { Session, type SessionParts } from './session';
import { UnixListener } from './unix-listener';

export interface DatapathsOptions {
  /** The Unix socket to listen on, in Open vSwitch's run directory. Without it: datapaths are brought by `adopt` alone. */
  readonly path?: string;
  readonly clock: Clock;
  readonly logger: Logger;
  /** 16 hex digits: the datapath of endpoints that name none. Without it, the one that connected last. */
  readonly datapathId?: string;
  /**
   * With which generation to become master of a datapath that has connected, or says that another controller is master now.
   * `seen` is the highest that it has seen, 0 for none. Asked again where it has seen a higher one meanwhile. Never
   * rejects. Default: the next one.
   */
  readonly nextGeneration?: (seen: bigint) => Promise<bigint>;
  /** A datapath has connected and has all that it should have. */
  readonly onConnected?: (datapathId: string) => void;
  readonly onDisconnected?: (datapathId: string, reason: string) => void;
}

interface DatapathsParts {
  readonly options: DatapathsOptions;
  readonly settings: FlowSettings;
  readonly endpoints: EndpointIndex;
  readonly counts: FlowCounters;
  /** What a session needs besides. */
  readonly session: Omit<SessionParts, 'ready' | 'ended' | 'report'>;
}

/** Appends messages to a datapath's. */
export type Write = (writer: MessageWriter, xid: number) => void;

/** Somebody who waits for a datapath to connect. */
interface Wait {
  readonly datapathNo: number;
  readonly resolve: () => void;
}

export class Datapaths {
  readonly sessions = new Set<Session>();
  private readonly states = new Map<number, DatapathState>();
  private readonly links = new Set<DatapathLink>();
  private readonly waits = new Set<Wait>();
  private readonly problems: ProblemLog;
  private readonly listener: UnixListener | undefined;
  private readonly sessionParts: SessionParts;

  constructor(private readonly parts: DatapathsParts) {
    const { path, clock, logger } = parts.options;
    this.problems = new ProblemLog(clock, logger);
    this.listener = path === undefined ? undefined : new UnixListener(path, clock, (socket) => this.accept(socket));
    this.sessionParts = {
      ...parts.session,
      ready: (session) => this.becomeReady(session),
      ended: (session) => void this.sessions.delete(session),
      report: (session, problem) => this.report(session, problem),
    };
  }

  /** Idempotent. Throws what UnixListener throws. */
  async start(): Promise<void> {
    await this.listener?.start();
  }

  /** Ends every connection. Idempotent. */
  async stop(): Promise<void> {
    for (const link of [...this.links]) link.close('the controller stops');
    await this.listener?.stop();
  }

  /** What is remembered of each, connected or not. */
  all(): Iterable<DatapathState> {
    return this.states.values();
  }

  /** The connection of a datapath, if it is there. */
  sessionOf(datapathNo: number): Session | undefined {
    for (const session of this.sessions) {
      if (session.datapath.number === datapathNo) return session;
    }
    return undefined;
  }

  get readySession(): Session | undefined {
    return [...this.sessions].find(({ isReady }) => isReady);
  }

  /** Compares all of them again with what they should have. */
  resynchronise(): void {
    for (const session of this.sessions) session.resynchronise();
  }

  /** See Controller. */
  adopt(link: DatapathLink): Session {
    const number = this.parts.endpoints.datapathOf(link.datapathId);
    const datapath = this.states.get(number) ?? new DatapathState(number, this.parts.settings);
    this.states.set(number, datapath);
    const session = new Session(link, datapath, this.sessionParts);
    this.sessions.add(session);
    return session;
  }

  /**
   * Programs a datapath, or waits for one that connects and so gets everything that it should have. Throws what
   * Session.program throws, and `unavailable` where none connects in time.
   */
  program(datapathNo: number, write: Write): Promise<void> {
    return this.sessionOf(datapathNo)?.program(write) ?? this.waitFor(datapathNo);
  }

  /** Programs every datapath. Errors are reported, not thrown; a datapath that goes away gets it all when it is back. */
  programAll(write: Write): void {
    for (const datapathNo of this.states.keys()) this.programLater(datapathNo, write);
  }

  /** The same for one. */
  programLater(datapathNo: number, write: Write): void {
    const session = this.sessionOf(datapathNo);
    if (session === undefined) return;
    session.program(write).catch((error: unknown) => this.report(session, messageOf(error)));
    // What is being compared was planned before.
    if (!session.isReady) session.resynchronise();
  }

  private report({ datapathId }: Session, problem: string): void {
    this.problems.report(problem, { datapathId });
  }

  private accept(socket: Socket): void {
    const { options, settings, counts } = this.parts;
    const { inactivityProbeMs, installTimeoutMs: answerWithinMs } = settings;
    const user: LinkUser = {
      identified: (link) => this.claim(link),
      demoted: (link) => this.takeBack(link),
      closed: (link, reason, isViolation) => this.forget(link, reason, isViolation),
    };
    counts.connections += 1;
    this.links.add(new DatapathLink(socket, user, { clock: options.clock, inactivityProbeMs, answerWithinMs }));
  }

  /** One that connects anew takes the place of its former connection. False: it is none of ours. */
  private claim(link: DatapathLink): boolean {
    const { endpoints, options } = this.parts;
    const { datapathId } = link;
    const number = endpoints.datapathOf(datapathId);
    if (number === 0 && options.datapathId !== undefined && datapathId !== options.datapathId) return false;
    for (const other of this.links) {
      const isSame = other !== link && other.isIdentified && endpoints.datapathOf(other.datapathId) === number;
      if (isSame) other.close(`datapath ${datapathId} connected anew`);
    }
    void this.becomeMaster(link);
    return true;
  }

  private takeBack(link: DatapathLink): void {
    const { logger } = this.parts.options;
    logger.warn('another controller became master of the datapath', { datapathId: link.datapathId });
    void this.becomeMaster(link);
  }

  /** Of a datapath of this host's own, whoever is its master now. */
  private async becomeMaster(link: DatapathLink): Promise<void> {
    const { nextGeneration = (seen: bigint) => Promise.resolve(seen + 1n) } = this.parts.options;
    for (;;) {
      const seen = await link.generation();
      if (seen === 'away') return;
      const outcome = await link.take(await nextGeneration(seen), () => this.adopt(link));
      if (outcome !== 'stale') return;
    }
  }

  private becomeReady(session: Session): void {
    const { logger, onConnected } = this.parts.options;
    logger.info('datapath connected', { datapathId: session.datapathId });
    for (const wait of [...this.waits]) {
      if (wait.datapathNo === session.datapath.number) wait.resolve();
    }
    onConnected?.(session.datapathId);
  }

  private forget(link: DatapathLink, reason: string, isViolation: boolean): void {
    const { options, counts } = this.parts;
    const { datapathId } = link;
    this.links.delete(link);
    if (isViolation) counts.protocolErrors += 1;
    options.logger.info('datapath disconnected', { datapathId, reason });
    if (datapathId !== '') options.onDisconnected?.(datapathId, reason);
  }

  private waitFor(datapathNo: number): Promise<void> {
    const { options, settings } = this.parts;
    return new Promise((resolve, reject) => {
      const wait: Wait = {
        datapathNo,
        resolve: () => {
          cancel();
          this.waits.delete(wait);
          resolve();
        },
      };
      const cancel = options.clock.after(settings.installTimeoutMs, () => {
        this.waits.delete(wait);
        const problem = `no datapath is connected to ${options.path ?? 'this controller'}: is ovs-vswitchd running?`;
        reject(new DaoliError('unavailable', problem));
      });
      this.waits.add(wait);
    });
  }
}
