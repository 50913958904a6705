// What an endpoint has on this host besides its rows: a veth pair, a port of the bridge, flows. Made in this order, and
// taken away together. Everything runs in the turn of its endpoint (CallQueue), and can be repeated.

import { DaoliError } from '../base/errors';
import type { EndpointId, EndpointRow, NetworkRow } from '../directory/rows';
import type { FlowEndpoint } from '../flowctl/model';
import { type CallQueue, settleAll } from './call-queue';
import type { Deadline } from './deadline';
import { linkNamesOf } from './link-names';
import { flowNetworkOf, requireNetwork } from './network-pools';
import { type DriverParts, ENDPOINT_KEY } from './ports';
import type { Publishing } from './publishing';

const DATAPATH = 'the datapath';
const OPEN_VSWITCH = 'Open vSwitch';
const LINKS = 'the host';

/** The endpoint as the datapath sees it. */
export function flowEndpointOf(endpoint: EndpointRow, network: NetworkRow): FlowEndpoint {
  const { id, mac, address, locator, portNo } = endpoint;
  return { id, networkKey: network.key, mac, ip: address, locator, location: { kind: 'local', portNo } };
}

export class Wiring {
  /** Those whose veth pair and OVS port are there before their Join. */
  private readonly prepared = new Set<string>();

  constructor(
    private readonly parts: DriverParts,
    private readonly calls: CallQueue,
    private readonly publishing: Publishing,
  ) {}

  /**
   * Makes veth pair and OVS port in the next turn, after CreateEndpoint, while Docker makes the container's namespace:
   * these are most of what Join takes. Where it fails, Join does it again, and says what is wrong.
   */
  prepareNext(id: EndpointId): void {
    const task = this.calls.runOnOwn(id, async (deadline) => {
      const endpoint = this.parts.store.view.endpoint(id);
      if (endpoint === undefined) return;
      await this.makeLinkAndPort(endpoint, deadline);
      this.prepared.add(id);
    });
    task.catch(() => undefined);
  }

  /** Makes veth pair, OVS port and flows, as far as they are not there. */
  async connect(endpoint: EndpointRow, deadline: Deadline): Promise<void> {
    if (!this.prepared.delete(endpoint.id)) await this.makeLinkAndPort(endpoint, deadline);
    await this.attach(endpoint, deadline);
  }

  /** Whether OVS port and flows are there. */
  isAttached(endpoint: EndpointRow): boolean {
    const hasPort = () => this.parts.switch.ports().some(({ name }) => name === endpoint.interfaceName);
    return this.parts.flows.hasEndpoint(endpoint.id) && hasPort();
  }

  /** Makes OVS port and flows of an endpoint whose veth pair is there. */
  async attach(endpoint: EndpointRow, deadline: Deadline): Promise<void> {
    const { flows, store } = this.parts;
    const name = endpoint.interfaceName;
    const portNo = await this.addPort(endpoint, deadline);
    if (portNo !== endpoint.portNo) {
      await deadline.wait(OPEN_VSWITCH, this.parts.switch.removePort(name));
      const why = `as another port has its number ${endpoint.portNo}`;
      throw new DaoliError('conflict', `OVS gave ${name} the port number ${portNo}, ${why}: try again`, name);
    }
    const network = requireNetwork(store.view, endpoint.networkId);
    if (!flows.hasNetwork(network.id)) await flows.setNetwork(flowNetworkOf(store.view, network));
    await deadline.wait(DATAPATH, flows.addEndpoint(flowEndpointOf(endpoint, network)));
  }

  /**
   * Takes published ports, flows and OVS port away, and leaves rows and veth pair. A part that is away (OVS at a host's
   * start) does not hold it up, for the address would stay in use meanwhile: the controller has forgotten the endpoint by
   * then, and the reconciler removes the port.
   */
  async disconnect(endpointId: string, deadline: Deadline): Promise<void> {
    this.prepared.delete(endpointId);
    const name = linkNamesOf(endpointId).host;
    await settleAll([
      () => this.publishing.close(endpointId, deadline),
      () => unlessAway(() => deadline.wait(DATAPATH, this.parts.flows.removeEndpoint(endpointId))),
      () => unlessAway(() => deadline.wait(OPEN_VSWITCH, this.parts.switch.removePort(name))),
    ]);
  }

  private async makeLinkAndPort(endpoint: EndpointRow, deadline: Deadline): Promise<void> {
    const { checksumOffload } = this.parts.settings;
    const { mtu } = requireNetwork(this.parts.store.view, endpoint.networkId);
    const { host: name, container: peer } = linkNamesOf(endpoint.id);
    const pair = { name, peer, mtu, peerMac: endpoint.mac, checksumOffload };
    await deadline.wait(LINKS, this.parts.links.createVeth(pair));
    // A port that an earlier attempt left is deaf to a pair that was made anew under its name.
    await this.addPort(endpoint, deadline, true);
  }

  private addPort(endpoint: EndpointRow, deadline: Deadline, isNewDevice = false): Promise<number> {
    const { id, interfaceName: name, portNo: ofportRequest } = endpoint;
    const externalIds = { [ENDPOINT_KEY]: id };
    return deadline.wait(
      OPEN_VSWITCH,
      this.parts.switch.addPort({ name, ofportRequest, externalIds, ...(isNewDevice && { isNewDevice }) }),
    );
  }
}

async function unlessAway(task: () => Promise<void>): Promise<void> {
  try {
    await task();
  } catch (error) {
    if (!(error instanceof DaoliError) || error.code !== 'unavailable') throw error;
  }
}
