// What Prometheus reads; where Prometheus looks for it.

import { METRICS_TYPE } from '../metrics';
import { contentOperation, type ApiAgent } from '../operation';

export interface MetricsAgent extends ApiAgent {
  readonly metrics: { render(): Promise<string> };
}

export const metricsOperations = [
  contentOperation({
    id: 'getMetrics',
    method: 'get',
    path: '/metrics',
    tag: 'seeing',
    summary: 'Metrics for Prometheus, in its text format; answered in any state',
    contentType: METRICS_TYPE,
    handle: (agent: MetricsAgent) => agent.metrics.render(),
  }),
];
