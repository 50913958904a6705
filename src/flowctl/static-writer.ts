// Appends the flow mods of endpoints by slot, from templates that are made from `endpointFlows`: putting 50,000 flows
// back takes as many copies, not as many encodings. Everything that exists only a few times is encoded as it is.

import type { Ipv4, Mac } from '../base/addresses';
import { encodeFlowMod, type FlowMod } from '../openflow/flow-mod';
import type { MessageWriter } from '../openflow/message-writer';
import { compileTemplate, type Place } from '../openflow/template';
import type { EndpointIndex } from './endpoint-index';
import { PORT_FLOW, readCookie, VARIANT } from './pipeline';
import { endpointFlows } from './static-flows';

/** The flows of an endpoint, by PORT_FLOW. */
export const ENDPOINT_FLOWS = [PORT_FLOW.IP, PORT_FLOW.ARP_SELF, PORT_FLOW.ARP, PORT_FLOW.PUNT] as const;
export type EndpointFlow = (typeof ENDPOINT_FLOWS)[number];

interface Values {
  readonly port?: number;
  readonly mac?: number;
  readonly ip?: number;
  readonly tenant?: number;
  readonly network?: number;
}

function endpointFlow(which: EndpointFlow, routerMac: Mac, values: Values): FlowMod {
  const { port = 0, mac = 0, ip = 0, tenant = 0, network = 0 } = values;
  const row = { portNo: port, mac: mac as Mac, ip: ip as Ipv4, tenant, networkKey: network };
  const flows = endpointFlows(row, routerMac);
  const found = flows.find((flow) => readCookie(flow.cookie ?? 0n)?.b === (VARIANT | which));
  if (found === undefined) throw new Error(`an endpoint has no flow ${which}`);
  return found;
}

/** Which values vary in a flow; each flow has the port, and some more. */
interface EndpointTemplate {
  append(writer: MessageWriter): number;
  readonly place: { readonly xid: Place; readonly port: Place } & { readonly [Name in keyof Values]?: Place };
}

function compile(routerMac: Mac): Record<EndpointFlow, EndpointTemplate> {
  const write = (which: EndpointFlow) => (writer: MessageWriter, values: Values & { xid: number }) =>
    encodeFlowMod(writer, values.xid, endpointFlow(which, routerMac, values));
  const { IP, ARP_SELF, ARP, PUNT } = PORT_FLOW;
  return {
    [IP]: compileTemplate({ xid: 4, port: 2, mac: 6, ip: 4, tenant: 4, network: 4 }, write(IP)),
    [ARP_SELF]: compileTemplate({ xid: 4, port: 2, ip: 4 }, write(ARP_SELF)),
    [ARP]: compileTemplate({ xid: 4, port: 2, mac: 6, ip: 4 }, write(ARP)),
    [PUNT]: compileTemplate({ xid: 4, port: 2 }, write(PUNT)),
  };
}

export class StaticWriter {
  private templates: Record<EndpointFlow, EndpointTemplate> | undefined;

  constructor(private readonly endpoints: EndpointIndex) {}

  /** Compiles the templates for a host: some hundred microseconds. Before it, nothing is appended. */
  setRouterMac(routerMac: Mac): void {
    this.templates = compile(routerMac);
  }

  /** One flow of the endpoint at `slot`. */
  endpointFlow(writer: MessageWriter, xid: number, slot: number, which: EndpointFlow): void {
    const { endpoints } = this;
    const template = this.templates?.[which];
    if (template === undefined) return;
    const { place } = template;
    const at = template.append(writer);
    place.xid.put(writer, at, xid);
    place.port.put(writer, at, endpoints.portNoOf(slot));
    place.ip?.put(writer, at, endpoints.ipOf(slot));
    place.mac?.put(writer, at, endpoints.macOf(slot));
    place.tenant?.put(writer, at, endpoints.tenantOf(slot));
    place.network?.put(writer, at, endpoints.networkKeyOf(slot));
  }
}
