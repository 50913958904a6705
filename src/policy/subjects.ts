// What the directory says of endpoints and networks, as rules look at it.

import type { Ipv4 } from '../base/addresses';
import type { EndpointId, EndpointRow, NetworkId } from '../directory/rows';
import type { DirectoryView } from '../directory/view';
import type { Subject, SubjectNetwork } from './selector';

type SubjectView = Pick<DirectoryView, 'endpoint' | 'network' | 'groups'>;

/** Reads subjects; what it knows of a network is as it was when that was asked about first. */
export class Subjects {
  private readonly networks = new Map<NetworkId, SubjectNetwork>();

  constructor(private readonly view: SubjectView) {}

  /** Undefined where the endpoint, or its network, is not there. */
  find(endpointId: string): Subject | undefined {
    const endpoint = this.view.endpoint(endpointId as EndpointId);
    return endpoint && this.subjectOf(endpoint);
  }

  /** A network has another name, or is gone. */
  forget(networkId: NetworkId): void {
    this.networks.delete(networkId);
  }

  subjectOf(endpoint: EndpointRow): Subject | undefined {
    const network = this.network(endpoint.networkId);
    if (network === undefined) return undefined;
    return new EndpointSubject(endpoint, network);
  }

  private network(id: NetworkId): SubjectNetwork | undefined {
    const known = this.networks.get(id);
    const row = known === undefined ? this.view.network(id) : undefined;
    if (row === undefined) return known;
    const groups = [...this.view.groups()].filter(({ networkIds }) => networkIds.includes(id));
    const { name, isDefaultDeny } = row;
    const network = { id, name, isDefaultDeny, groups: new Set(groups.map((group) => group.name)) };
    this.networks.set(id, network);
    return network;
  }
}

/** Most are asked for little of it; labels, above all, are kept as text. */
class EndpointSubject implements Subject {
  private readLabels: ReadonlyMap<string, string> | undefined;

  constructor(
    private readonly row: EndpointRow,
    readonly network: SubjectNetwork,
  ) {}

  get address(): Ipv4 {
    return this.row.address;
  }
  get host(): string {
    return this.row.host;
  }
  get containerName(): string | undefined {
    return this.row.containerName;
  }
  get service(): string | undefined {
    return this.row.service;
  }
  get labels(): ReadonlyMap<string, string> {
    return (this.readLabels ??= this.row.labels);
  }
}
