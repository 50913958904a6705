// All operations of the management API, area by area, and what they need of the agent. A new area is a file in operations/
// and a line in both lists.

import type { Operation } from './operation';
import { accessOperations, type AccessAgent } from './operations/access';
import { captureOperations, type CaptureAgent } from './operations/capture';
import { clusterOperations, type ClusterAgent } from './operations/cluster';
import { doctorOperations, type DoctorAgent } from './operations/doctor';
import { dropsOperations, type DropsAgent } from './operations/drops';
import { fabricOperations, type FabricAgent } from './operations/fabric';
import { firewallOperations, type FirewallAgent } from './operations/firewall';
import { groupOperations, type RulesAgent } from './operations/groups';
import { nameOperations } from './operations/names';
import { metricsOperations, type MetricsAgent } from './operations/metrics';
import { containerOperations, type ContainerAgent } from './operations/containers';
import { movingOperations } from './operations/moving';
import { networkOperations } from './operations/networks';
import { pairOperations } from './operations/pairs';
import { policyOperations } from './operations/policies';
import { routeOperations, type RoutesAgent } from './operations/routes';
import { statusOperations, type StatusAgent } from './operations/status';
import { swarmOperations, type SwarmAgent } from './operations/swarm';
import { traceOperations, type TraceAgent } from './operations/trace';
import { watchOperations, type WatchAgent } from './operations/watch';

/** What the API shows of the running agent, and does with it. */
export type ShownAgent = AccessAgent & ClusterAgent & ContainerAgent & SwarmAgent & ControlAgent & SeeingAgent;
type ControlAgent = RulesAgent & FirewallAgent;
type SeeingAgent = StatusAgent &
  RoutesAgent &
  DropsAgent &
  CaptureAgent &
  TraceAgent &
  MetricsAgent &
  DoctorAgent &
  FabricAgent &
  WatchAgent;

const LISTS: readonly Operation<ShownAgent>[] = [
  ...accessOperations,
  ...nameOperations,
  ...statusOperations,
  ...networkOperations,
  ...clusterOperations,
  ...containerOperations,
  ...movingOperations,
  ...swarmOperations,
  ...groupOperations,
  ...pairOperations,
  ...policyOperations,
  ...routeOperations,
  ...dropsOperations,
  ...captureOperations,
  ...traceOperations,
  ...doctorOperations,
  ...fabricOperations,
  ...metricsOperations,
  ...firewallOperations,
];

export const OPERATIONS: readonly Operation<ShownAgent>[] = [...LISTS, ...watchOperations(LISTS)];
