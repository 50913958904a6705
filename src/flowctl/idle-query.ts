// Asks a datapath how long its flows have been idle, over a connection of its own that ends with the answer: at the bridge's
// management socket, which takes any OpenFlow version that the bridge speaks.

import { connect } from 'node:net';
import type { Clock } from '../base/clock';
import { DaoliError, messageOf } from '../base/errors';
import { encodeIdleRequest, takeIdleReply } from '../openflow/idle-stats';
import { OURS } from './pipeline';

const ANSWER_MS = 5_000;
/** Of an answer; 100 bytes are a flow. */
const MAX_BYTES = 64 * 1024 * 1024;

/** Seconds by the key of each flow of ours: see flowKey. */
export type IdleTimes = ReadonlyMap<string, number>;

/** Throws `unavailable` where nobody answers, or not in OpenFlow 1.5. `path`: "/run/openvswitch/br-int.mgmt". */
export function fetchIdleTimes(path: string, clock: Clock): Promise<IdleTimes> {
  return new Promise((resolve, reject) => {
    const idle = new Map<string, number>();
    const socket = connect(path);
    let rest: Buffer = Buffer.alloc(0);
    let total = 0;
    const fail = (why: string) => {
      cancel();
      socket.destroy();
      reject(new DaoliError('unavailable', `the datapath does not say how long flows were idle: ${why}`, path));
    };
    const cancel = clock.after(ANSWER_MS, () => fail('no answer in time'));
    socket.on('error', (error) => fail(error.message));
    socket.on('close', () => fail('it ended the connection'));
    socket.on('data', (chunk: Buffer) => {
      total += chunk.length;
      if (total > MAX_BYTES) return fail('too many flows');
      try {
        const bytes = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
        const { taken, isDone } = takeIdleReply(bytes, (key, seconds) => idle.set(key, seconds));
        rest = bytes.subarray(taken);
        if (!isDone) return;
      } catch (error) {
        return fail(messageOf(error));
      }
      cancel();
      socket.destroy();
      resolve(idle);
    });
    socket.write(encodeIdleRequest(OURS));
  });
}
