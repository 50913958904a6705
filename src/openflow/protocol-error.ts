// The one error of this folder for bytes that break OpenFlow. The bytes come from the peer, so whoever catches it closes
// the connection; nothing of the message has been applied.

import { DaoliError } from '../base/errors';

/** Bytes that are no OpenFlow message as the specification lays it out. `subject` names the structure that failed. */
export class ProtocolError extends DaoliError {
  constructor(structure: string, problem: string) {
    super('internal', `OpenFlow: ${structure}: ${problem}`, structure);
    this.name = 'ProtocolError';
  }
}

/** Throws where a structure has fewer bytes than it needs. */
export function requireLength(structure: string, length: number, least: number): void {
  if (length < least) throw new ProtocolError(structure, `${length} bytes, ${least} needed`);
}
