// One datapath's connection: greeting, who it is, and who is in charge of it (OpenFlow 1.4, 6.3.6). Several controllers may be
// connected to a datapath; the one that it calls master works on it, by a worker that lives as long as that. The states
// go one way, greeting → identifying → identified, and closed from anywhere; once identified, mastership comes and goes.

import type { Socket } from 'node:net';
import type { Clock } from '../base/clock';
import { OFPT, OFP_VERSION } from '../openflow/constants';
import { decodeError, encodeError, errorName } from '../openflow/error';
import { decodeFeaturesReply } from '../openflow/features';
import { decodeHello, speaksOpenFlow14 } from '../openflow/hello';
import { encodeMessage, messageType, messageXid } from '../openflow/message';
import { ProtocolError } from '../openflow/protocol-error';
import { decodeRoleMessage, decodeRoleStatus, type Role } from '../openflow/role';
import { Connection, type ConnectionUser } from './connection';

const GREETING_WITHIN_MS = 10_000;
/** Of requests of this file; those of workers are larger (PendingRequests), that of the packet path smaller. */
const FIRST_XID = 0x10;
const LAST_XID = 0xff;
/** OFPHFC_INCOMPATIBLE of OFPET_HELLO_FAILED. */
const HELLO_FAILED = { errorType: 0, code: 0 } as const;
/** What OVS says as the generation where nobody was master yet. */
const NO_GENERATION = 0xffff_ffff_ffff_ffffn;

/** Who takes what the datapath says, while this controller is its master. */
export interface LinkWorker {
  /** A message of `length` bytes at `offset`, whole, valid during the call. May throw ProtocolError, which ends the connection. */
  message(buffer: Buffer, offset: number, length: number): void;
  /** Before the messages of a chunk. */
  turn(): void;
  /** What was written has left the process. */
  drained(): void;
  /** It works for the datapath no longer, as another is master, or it went away. Called once. */
  end(reason: string): void;
}

export interface LinkUser {
  /** The datapath has said who it is. False: it is none of ours, and the connection ends. */
  identified(link: DatapathLink): boolean;
  /** The datapath says that another controller is master now. The worker has ended. */
  demoted(link: DatapathLink): void;
  /** Called once. `isViolation`: the datapath broke the protocol. */
  closed(link: DatapathLink, reason: string, isViolation: boolean): void;
}

/** 'stale': the datapath has seen a higher generation; 'away': it is not connected (any more). */
export type TakeOutcome = 'master' | 'stale' | 'away';

export interface LinkTiming {
  readonly clock: Clock;
  /** A silent datapath is asked after this long, and given up after as long again. */
  readonly inactivityProbeMs: number;
  /** How long a question may take; the connection of who does not answer ends. */
  readonly answerWithinMs: number;
}

interface RoleAnswer {
  readonly role: Role;
  readonly generationId: bigint;
}

interface Question {
  readonly take: (answer: RoleAnswer | 'stale' | 'away') => void;
  readonly cancel: () => void;
}

type State = 'greeting' | 'identifying' | 'identified' | 'closed';

export class DatapathLink implements ConnectionUser {
  /** 16 hex digits, once the datapath has said it. */
  datapathId = '';
  readonly connection: Connection;
  private state: State = 'greeting';
  private worker: LinkWorker | undefined;
  private readonly questions = new Map<number, Question>();
  private lastXid = FIRST_XID;
  /** How often it was asked to be master: what was asked before is over then. */
  private wishes = 0;
  private readonly cancelGreeting: () => void;

  constructor(
    socket: Socket,
    private readonly user: LinkUser,
    private readonly timing: LinkTiming,
  ) {
    const { clock, inactivityProbeMs } = timing;
    this.connection = new Connection(socket, this, clock, inactivityProbeMs);
    this.cancelGreeting = clock.after(GREETING_WITHIN_MS, () => this.close('the datapath did not say who it is'));
    this.send({ type: 'hello', version: OFP_VERSION, versions: [OFP_VERSION] });
  }

  get isIdentified(): boolean {
    return this.state === 'identified';
  }

  get isMaster(): boolean {
    return this.worker !== undefined;
  }

  /** The highest generation that the datapath has seen of masters and slaves, 0 where it has seen none. */
  async generation(): Promise<bigint | 'away'> {
    const answer = await this.ask('nochange', 0n);
    if (typeof answer === 'string') return 'away';
    return answer.generationId === NO_GENERATION ? 0n : answer.generationId;
  }

  /**
   * Becomes master, which makes every other master a slave. The worker is made as the datapath says so, and hears all
   * that comes after.
   */
  async take(generation: bigint, createWorker: () => LinkWorker): Promise<TakeOutcome> {
    this.wishes += 1;
    const answer = await this.ask('master', generation, () => {
      this.endWorker('it becomes master anew');
      this.worker = createWorker();
      this.worker.turn();
    });
    return typeof answer === 'string' ? answer : 'master';
  }

  /**
   * Becomes a slave, which is told nothing and changes nothing. Resolves when the datapath has agreed; false: it is away, or
   * this controller is to be master after all.
   */
  async release(): Promise<boolean> {
    const { wishes } = this;
    this.endWorker('it is to be master no longer');
    // No answer comes to what a slave has not asked for.
    this.send({ type: 'setAsync', packetInSlave: 0, portStatusSlave: 0, flowRemovedSlave: 0 });
    for (;;) {
      const generation = await this.generation();
      if (generation === 'away' || wishes !== this.wishes) return false;
      // One that became master meanwhile is that no more.
      const answer = await this.ask('slave', generation, () => this.endWorker('it is to be master no longer'));
      if (answer !== 'stale') return answer !== 'away';
    }
  }

  close(reason: string): void {
    this.connection.close(reason);
  }

  turn(): void {
    this.worker?.turn();
  }

  message(buffer: Buffer, offset: number, length: number): void {
    const end = offset + length;
    const type = messageType(buffer, offset);
    switch (type) {
      case OFPT.HELLO:
        return this.takeHello(buffer, offset, end);
      case OFPT.FEATURES_REPLY:
        return this.takeFeatures(buffer, offset, end);
      case OFPT.ROLE_REPLY:
        return this.answer(messageXid(buffer, offset), decodeRoleMessage('roleReply', buffer, offset, end));
      case OFPT.ROLE_STATUS:
        return this.takeRoleStatus(decodeRoleStatus(buffer, offset, end).role);
      case OFPT.ERROR: {
        const xid = messageXid(buffer, offset);
        if (!this.questions.has(xid)) break;
        const name = errorName(decodeError(buffer, offset, end));
        if (name === 'OFPRRFC_STALE') return this.answer(xid, 'stale');
        return this.close(`the datapath refused a role: ${name}`);
      }
    }
    this.worker?.message(buffer, offset, length);
  }

  drained(): void {
    this.worker?.drained();
  }

  closed(reason: string, isViolation: boolean): void {
    this.state = 'closed';
    this.cancelGreeting();
    this.endWorker(reason);
    for (const xid of [...this.questions.keys()]) this.answer(xid, 'away');
    this.user.closed(this, reason, isViolation);
  }

  private send(message: Parameters<typeof encodeMessage>[2], xid = 0): void {
    encodeMessage(this.connection.writer, xid, message);
    this.connection.send();
  }

  private endWorker(reason: string): void {
    const { worker } = this;
    this.worker = undefined;
    worker?.end(reason);
  }

  /** `onGranted` is called before anything that comes after the answer. */
  private ask(role: Role, generationId: bigint, onGranted?: () => void): Promise<RoleAnswer | 'stale' | 'away'> {
    if (!this.isIdentified) return Promise.resolve('away');
    this.lastXid = this.lastXid >= LAST_XID ? FIRST_XID : this.lastXid + 1;
    const xid = this.lastXid;
    return new Promise((resolve) => {
      const { clock, answerWithinMs } = this.timing;
      const cancel = clock.after(answerWithinMs, () =>
        this.close(`the datapath did not answer within ${answerWithinMs} ms`),
      );
      const take = (answer: RoleAnswer | 'stale' | 'away') => {
        if (typeof answer !== 'string') onGranted?.();
        resolve(answer);
      };
      this.questions.set(xid, { take, cancel });
      this.send({ type: 'roleRequest', role, generationId }, xid);
    });
  }

  private answer(xid: number, answer: RoleAnswer | 'stale' | 'away'): void {
    const question = this.questions.get(xid);
    if (question === undefined) return;
    this.questions.delete(xid);
    question.cancel();
    question.take(answer);
  }

  private takeHello(buffer: Buffer, offset: number, end: number): void {
    if (this.state !== 'greeting') throw new ProtocolError('OFPT_HELLO', 'comes once');
    if (!speaksOpenFlow14(decodeHello(buffer, offset, end))) {
      const data = Buffer.from('this controller speaks OpenFlow 1.4: add OpenFlow14 to the protocols of the bridge');
      encodeError(this.connection.writer, messageXid(buffer, offset), { type: 'error', ...HELLO_FAILED, data });
      throw new ProtocolError('OFPT_HELLO', data.toString());
    }
    this.state = 'identifying';
    this.send({ type: 'featuresRequest' });
  }

  private takeFeatures(buffer: Buffer, offset: number, end: number): void {
    if (this.state !== 'identifying') return;
    const { datapathId, auxiliaryId } = decodeFeaturesReply(buffer, offset, end);
    this.datapathId = datapathId.toString(16).padStart(16, '0');
    this.state = 'identified';
    this.cancelGreeting();
    if (auxiliaryId !== 0 || !this.user.identified(this)) this.close(`datapath ${this.datapathId} is not one of ours`);
  }

  private takeRoleStatus(role: Role): void {
    if (role !== 'slave' || this.worker === undefined) return;
    this.endWorker('another controller is master');
    this.user.demoted(this);
  }
}
