// Answers to ARP requests (RFC 826) for the few that are not answered in the datapath.

import type { Mac } from '../base/addresses';
import { setMac, setU16, setU32 } from './bytes';
import type { PacketView } from './packet-view';
import { ARP_OP, ETHERNET_HEADER, ETH_TYPE } from './protocol-numbers';

const ARP_LENGTH = 28;

/** Builds the frame that answers the ARP request in `view`: the address it asks for is at `mac`. Undefined for others. */
export function buildArpReply(view: PacketView, mac: Mac): Buffer | undefined {
  if (view.ethType !== ETH_TYPE.ARP || view.arpOp !== ARP_OP.REQUEST) return undefined;
  const frame = Buffer.alloc(ETHERNET_HEADER + ARP_LENGTH);
  setMac(frame, 0, view.arpSha);
  setMac(frame, 6, mac);
  setU16(frame, 12, ETH_TYPE.ARP);
  const arp = ETHERNET_HEADER;
  setU32(frame, arp, 0x0001_0800);
  setU16(frame, arp + 4, 0x0604);
  setU16(frame, arp + 6, ARP_OP.REPLY);
  setMac(frame, arp + 8, mac);
  setU32(frame, arp + 14, view.arpTpa);
  setMac(frame, arp + 18, view.arpSha);
  setU32(frame, arp + 24, view.arpSpa);
  return frame;
}
