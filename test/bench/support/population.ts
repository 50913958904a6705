// Endpoints by the thousand, spread over datapaths, and the packet-ins that their first packets cause.

import { createHash } from 'node:crypto';
import { parseCidr, parseIpv4, parseMac, type Ipv4, type Mac } from '../../../src/base/addresses';
import type { Controller } from '../../../src/flowctl/controller';
import type { FlowEndpoint, FlowHost, FlowNetwork } from '../../../src/flowctl/model';
import { PUNT_REASON, TABLE, USERDATA } from '../../../src/flowctl/pipeline';
import type { PortNo } from '../../../src/openflow/constants';
import { OFPR } from '../../../src/openflow/constants';
import { MessageWriter } from '../../../src/openflow/message-writer';
import { encodePacketIn2 } from '../../../src/openflow/packet-in';

export const host: FlowHost = {
  routerMac: parseMac('02:da:00:00:00:fe'),
  hostPort: { portNo: 65_000, mac: parseMac('02:da:00:00:00:10') },
  hostAddress: parseIpv4('100.64.0.1'),
  locatorRange: parseCidr('100.64.0.0/10'),
  kernelDatapath: false,
};

export const datapathIdOf = (datapath: number): string => (0xda000000 + datapath).toString(16).padStart(16, '0');

/** The network that all endpoints of a datapath are of. */
export function networkOf(datapath: number): FlowNetwork {
  const pools = [parseCidr('10.0.0.0/8')];
  return { id: `network-${datapath}`, key: datapath + 1, tenant: datapath + 1, pools, internal: false };
}

const ipOf = (portNo: number) => (0x0a000001 + portNo) as Ipv4;
const macOf = (portNo: number) => (0x020000000000 + portNo) as Mac;

/** Endpoint at a port of a datapath. Ids are as long as Docker's. */
export function endpointAt(datapath: number, portNo: number, datapaths: number): FlowEndpoint {
  return {
    id: createHash('sha256').update(`${datapath} ${portNo}`).digest('hex'),
    networkKey: datapath + 1,
    mac: macOf(portNo),
    ip: ipOf(portNo),
    locator: (host.hostAddress + 1 + portNo * datapaths + datapath) as Ipv4,
    location: { kind: 'local', portNo, datapathId: datapathIdOf(datapath) },
  };
}

/** Enters `count` endpoints, evenly over datapaths. */
export function populate(controller: Controller, count: number, datapaths: number): void {
  controller.setHost(host);
  for (let datapath = 0; datapath < datapaths; datapath += 1) {
    controller.setNetwork(networkOf(datapath));
    for (let portNo = 1; portNo <= count / datapaths; portNo += 1) {
      // Confirmed when its datapath connects.
      controller.addEndpoint(endpointAt(datapath, portNo, datapaths)).catch(() => undefined);
    }
  }
}

/** A TCP SYN of 74 bytes. */
function synFrame(from: number, to: number): Buffer {
  const frame = Buffer.alloc(74);
  frame.writeUIntBE(host.routerMac, 0, 6);
  frame.writeUIntBE(macOf(from), 6, 6);
  frame.write('0800450000', 12, 'hex');
  frame.writeUInt16BE(60, 16);
  frame.write('400640060000', 20, 'hex');
  frame.writeUInt32BE(ipOf(from), 26);
  frame.writeUInt32BE(ipOf(to), 30);
  frame[46] = 0xa0;
  frame[47] = 2;
  return frame;
}

/** Packet-ins of `pairs` different pairs among `ports` ports, one after another, all of the same length. */
export function packetInsOf(datapath: number, ports: number, pairs: number): { bytes: Buffer; length: number } {
  const writer = new MessageWriter(pairs * 256);
  for (let pair = 0; pair < pairs; pair += 1) {
    const from = 1 + (pair % ports);
    const to = 1 + ((from + 97 * (1 + Math.floor(pair / ports))) % ports);
    encodePacketIn2(writer, 0, {
      type: 'packetIn2',
      reason: OFPR.ACTION,
      tableId: TABLE.PUNT,
      cookie: 0n,
      fullLength: 74,
      fields: { inPort: from as PortNo, reg0: datapath + 1, reg1: datapath + 1, reg2: PUNT_REASON.PAIR },
      userdata: USERDATA,
      data: synFrame(from, to),
    });
  }
  const bytes = writer.take();
  return { bytes, length: bytes.length / pairs };
}
