// Whether another host's packets come through on the fabric: an ICMP echo, from this host's own locator to that of the other,
// with the MACs that packets of containers have between the two. The other's datapath answers by a flow, also while its agent
// is away (fabric-flows.ts).

import type { Clock } from '../base/clock';
import { buildEchoRequest } from '../packet/icmp-build';
import type { PacketView } from '../packet/packet-view';
import type { FlowHost, FlowPeer } from './model';

/** Of questions at a time; more are not asked. */
const MAX_OPEN = 256;
/** Identifier and sequence number of an echo (RFC 792), taken as one. */
const TOKEN_OFFSET = 4;

interface Question {
  readonly peer: FlowPeer;
  readonly end: (isAnswered: boolean) => void;
}

export class FabricProbes {
  private readonly open = new Map<number, Question>();
  private token = 0;

  constructor(private readonly clock: Clock) {}

  /** A frame to be sent by the fabric port. `answered` is false where nothing has come back in time. */
  ask(host: FlowHost, peer: FlowPeer, timeoutMs: number): { frame: Buffer; answered: Promise<boolean> } | undefined {
    if (this.open.size >= MAX_OPEN) return undefined;
    this.token = (this.token + 1) >>> 0;
    const { token } = this;
    const frame = buildEchoRequest({
      from: { mac: host.routerMac, address: host.hostAddress },
      to: { mac: peer.routerMac, address: peer.locator },
      token,
    });
    const answered = new Promise<boolean>((resolve) => {
      const end = (isAnswered: boolean) => {
        cancel();
        this.open.delete(token);
        resolve(isAnswered);
      };
      const cancel = this.clock.after(timeoutMs, () => end(false));
      this.open.set(token, { peer, end });
    });
    return { frame, answered };
  }

  /** Takes an ICMP echo reply that came by the fabric to this host's own locator. False: it answers no question. */
  take(packet: PacketView): boolean {
    if (packet.l4Length < TOKEN_OFFSET + 4) return false;
    const question = this.open.get(packet.buffer.readUInt32BE(packet.l4Offset + TOKEN_OFFSET));
    if (question?.peer.locator !== packet.ipSrc || question.peer.routerMac !== packet.ethSrc) return false;
    question.end(true);
    return true;
  }
}
