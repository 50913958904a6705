// Runs before each suite of the jest project `ovs`: Open vSwitch and a cluster of ovsdb-servers take longer than jest's own five seconds.
jest.setTimeout(30_000);
