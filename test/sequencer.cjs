// The order of the end-to-end suites: the longest first, so that the workers of a run end at about the same time. Other suites go
// by jest's own order.

const path = require('node:path');
const Sequencer = require('@jest/test-sequencer').default;

/** Seconds, about, on two cores. A suite that is not here yet counts as a long one. */
const SECONDS = {
  cluster: 230,
  faults: 460,
  overload: 75,
  survival: 160,
  'cluster-servers': 155,
  swarm: 135,
  control: 110,
  containers: 110,
  firewall: 105,
  plugin: 90,
  upgrade: 150,
  sites: 135,
  backup: 100,
  'sites-inside': 75,
  'host-tunnels': 60,
  seeing: 90,
  recovery: 85,
  ports: 90,
  'bad-input': 90,
  move: 80,
  networks: 80,
  isolation: 65,
  lab: 57,
  routes: 55,
  'host-firewall': 50,
  'cluster-api': 48,
  web: 37,
  'host-forwarding': 30,
  egress: 24,
  'docker-engine': 8,
  'host-process': 5,
  'host-contract': 4,
};
const UNKNOWN = 60;

module.exports = class extends Sequencer {
  sort(tests) {
    if (tests.some((test) => !test.path.includes('/e2e/'))) return super.sort(tests);
    const seconds = (test) => SECONDS[path.basename(test.path, '.test.ts')] ?? UNKNOWN;
    return [...tests].sort((one, other) => seconds(other) - seconds(one));
  }
};
