// As which networks the hosts' Dockers have the directory's: by Docker's id, and by network and host. There may be as many as
// hosts times networks.

import type { NetworkId, NetworkReplicaRow } from './rows';

export class ReplicaIndex {
  private readonly byDockerId = new Map<string, NetworkReplicaRow>();
  private readonly byNetwork = new Map<NetworkId, Map<string, NetworkReplicaRow>>();

  set(replica: NetworkReplicaRow): void {
    this.byDockerId.set(replica.dockerId, replica);
    const ofNetwork = this.byNetwork.get(replica.networkId) ?? new Map<string, NetworkReplicaRow>();
    this.byNetwork.set(replica.networkId, ofNetwork.set(replica.host, replica));
  }

  delete({ dockerId, networkId, host }: NetworkReplicaRow): void {
    this.byDockerId.delete(dockerId);
    const ofNetwork = this.byNetwork.get(networkId);
    ofNetwork?.delete(host);
    if (ofNetwork?.size === 0) this.byNetwork.delete(networkId);
  }

  ofDocker(dockerId: string): NetworkReplicaRow | undefined {
    return this.byDockerId.get(dockerId);
  }

  of(network: NetworkId): Iterable<NetworkReplicaRow> {
    return this.byNetwork.get(network)?.values() ?? [];
  }

  on(host: string, network: NetworkId): NetworkReplicaRow | undefined {
    return this.byNetwork.get(network)?.get(host);
  }
}
