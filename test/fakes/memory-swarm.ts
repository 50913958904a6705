// Docker's swarm mode in memory, one for all hosts of a test: nodes and networks, as its managers know them.

import { DaoliError } from '../../src/base/errors';
import type { Swarm, SwarmNetworkSpec, SwarmNode } from '../../src/docker/swarm';
import type { MemoryDocker } from './memory-docker';

export class MemorySwarm {
  id = 'swarm-1';
  nodes: SwarmNode[] = [];
  readonly networks = new Map<string, SwarmNetworkSpec>();
  /** The names of networks that services use. */
  readonly used = new Set<string>();
  private made = 0;

  /** Docker of one of its hosts: a manager, a worker, or in no swarm. Swarm's networks are listed on managers. */
  dockerOf(
    docker: MemoryDocker,
    role: 'manager' | 'worker' | 'alone',
  ): Swarm & Pick<MemoryDocker, 'createNetwork' | 'removeNetwork'> {
    const needManager = (): void => {
      if (role !== 'manager') throw new DaoliError('conflict', 'Docker refuses it: this node is not a swarm manager');
    };
    return {
      readSwarm: () => {
        const managed = role === 'manager' ? this.id : undefined;
        return Promise.resolve({ isNode: role !== 'alone', managed, managers: role === 'alone' ? [] : ['192.0.2.1'] });
      },
      listNodes: async () => {
        await Promise.resolve(needManager());
        return this.nodes;
      },
      listSwarmNetworks: async () => {
        await Promise.resolve(needManager());
        return [...this.networks.keys()];
      },
      createSwarmNetwork: async (spec) => {
        await Promise.resolve(needManager());
        if ([...this.networks.values()].some(({ name }) => name === spec.name)) {
          throw new DaoliError('conflict', `Docker refuses it: network with name ${spec.name} already exists`);
        }
        // As Docker 28; 20.10 does not ask.
        if (!docker.networks.some(({ name }) => name === spec.configuration)) {
          throw new DaoliError(
            'conflict',
            `Docker refuses it: configuration network ${spec.configuration} does not exist`,
          );
        }
        const id = `s${(this.made += 1)}`.padEnd(25, '0');
        this.networks.set(id, spec);
        return id;
      },
      createNetwork: (spec) => docker.createNetwork(spec),
      removeNetwork: async (id) => {
        const spec = this.networks.get(id);
        if (spec === undefined) return docker.removeNetwork(id);
        if (this.used.has(spec.name)) throw new DaoliError('conflict', `Docker refuses it: network ${id} is in use`);
        this.networks.delete(id);
      },
    };
  }
}
