// Four projects: `unit` needs nothing, `ovs` starts its own ovsdb-server and ovs-vswitchd (dummy datapath, no privileges), `e2e` uses
// a real Docker engine, real Open vSwitch and the managed plugin, as root. `e2e-28` is some of `e2e` on Docker 28.

const { availableParallelism } = require('node:os');

const common = {
  rootDir: __dirname,
  testEnvironment: 'node',
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      { jsc: { target: 'es2022', parser: { syntax: 'typescript' } }, module: { type: 'commonjs' } },
    ],
  },
};
module.exports = {
  // Suites share nothing: no path, port or name. Jest's own default leaves a machine of two cores with one worker.
  maxWorkers: Math.max(2, availableParallelism() - 1),
  testSequencer: './test/sequencer.cjs',
  projects: [
    { ...common, displayName: 'unit', testMatch: ['<rootDir>/test/{unit,golden,model}/**/*.test.ts'] },
    {
      ...common,
      displayName: 'ovs',
      testMatch: ['<rootDir>/test/ovs/**/*.test.ts'],
      setupFilesAfterEnv: ['<rootDir>/test/ovs/time-limit.ts'],
    },
    { ...common, displayName: 'e2e', testMatch: ['<rootDir>/test/e2e/**/*.test.ts'] },
    {
      ...common,
      displayName: 'e2e-28',
      // Between 20.10 and 28 the order of Docker's calls changed; these show it. The rest does not depend on the engine.
      testMatch: ['<rootDir>/test/e2e/{plugin,networks,containers,move}.test.ts'],
      setupFiles: ['<rootDir>/test/e2e/support/docker-28.ts'],
    },
  ],
};
