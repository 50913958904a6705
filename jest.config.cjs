// Three projects: `unit` needs nothing, `ovs` starts its own ovsdb-server and ovs-vswitchd (dummy datapath,
// no privileges), `e2e` uses a real Docker engine, real Open vSwitch and the managed plugin, as root.
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
  projects: [
    { ...common, displayName: 'unit', testMatch: ['<rootDir>/test/{unit,golden,model}/**/*.test.ts'] },
    { ...common, displayName: 'ovs', testMatch: ['<rootDir>/test/ovs/**/*.test.ts'] },
    { ...common, displayName: 'e2e', testMatch: ['<rootDir>/test/e2e/**/*.test.ts'] },
  ],
};
