// The plan of a reconciliation, line by line, and when the reconciler runs. What whole faults leave is driver-crash.
import { formatIpv4, parseIpv4 } from '../../src/base/addresses';
import { DaoliError } from '../../src/base/errors';
import type { Logger } from '../../src/base/logger';
import type { EndpointId, EndpointRow, PoolId } from '../../src/directory/rows';
import { linkNamesOf } from '../../src/driver/link-names';
import { ENDPOINT_KEY } from '../../src/driver/ports';
import {
  planRemovals,
  planRepairs,
  type Action,
  type DockerState,
  type Observation,
  type Suspects,
} from '../../src/driver/reconcile';
import type { PortNo } from '../../src/openflow/constants';
import {
  AgentProcess,
  containerIn,
  DockerActor,
  DriverWorld,
  newId,
  publish,
  type Container,
} from '../fakes/driver-world';
import { createMemoryDirectory } from '../fakes/memory-directory';

const POOL = 'default/10.1.0.0/24' as PoolId;
const GRACE_MS = 120_000;

let world: DriverWorld;
let agent: AgentProcess;
let docker: DockerActor;
let networkId: string;
let web: Container;
let endpoint: EndpointRow;

beforeEach(async () => {
  world = new DriverWorld();
  agent = await new AgentProcess(world).boot();
  docker = new DockerActor(world, agent);
  networkId = await docker.createNetwork({ cidr: '10.1.0.0/24' });
  web = containerIn(networkId, POOL, '10.1.0.5', [publish(8080, 80)]);
  await docker.startContainer(web);
  endpoint = agent.store.view.endpoint(web.endpointId as EndpointId)!;
});

/** All is well, but for `change`. */
function look(change: Partial<Observation> = {}): Observation {
  return {
    view: agent.store.view,
    host: 'host1',
    links: new Set([...world.host.links.table.keys(), 'eth0', 'docker0', 'veth12ab34c', 'dlnothex']),
    ports: world.switch.ports(),
    flows: agent.flows,
    isPublished: () => true,
    reservedFor: new Set([web.endpointId]),
    ...change,
  };
}

function dockerState(change: Partial<DockerState> = {}): DockerState {
  return {
    networkIds: new Set([networkId]),
    endpoints: [{ endpointId: web.endpointId, networkId }],
    ownSubnets: new Set(['10.1.0.0/24']),
    ...change,
  };
}

/** What a removal plan says once the grace time is over, one line each. */
function removals(seen: Observation, state: DockerState): string[] {
  const first = planRemovals(seen, state, new Map(), { now: 0, graceMs: GRACE_MS });
  expect(first.removals).toEqual([]);
  const last = planRemovals(seen, state, first.suspects, { now: GRACE_MS, graceMs: GRACE_MS });
  return last.removals.map(format);
}

function format(action: Action): string {
  const { kind, ...rest } = action;
  const values = Object.entries(rest).map(([key, value]) =>
    key === 'address' ? formatIpv4(value as never) : String(value),
  );
  return [kind, ...values].join(' ');
}

const portOf = (name: string, portNo: number, id: string | undefined) => ({
  name,
  portNo: portNo as PortNo,
  externalIds: new Map(id === undefined ? [] : [[ENDPOINT_KEY, id]]),
  error: undefined,
});

describe('repairs', () => {
  const repairs = (change: Partial<Observation>) => planRepairs(look(change)).map(format);
  const none = { hasNetwork: () => true, hasEndpoint: () => true, endpointIds: () => [] };

  test('none where all is well', () => expect(repairs({})).toEqual([]));

  test('a network that the controller does not know', () =>
    expect(repairs({ flows: { ...none, hasNetwork: () => false } })).toEqual([`set-network ${networkId}`]));

  test('an endpoint without flows', () =>
    expect(repairs({ flows: { ...none, hasEndpoint: () => false } })).toEqual([`attach ${web.endpointId}`]));

  test('an endpoint without OVS port, or with another number', () => {
    expect(repairs({ ports: [] })).toEqual([`attach ${web.endpointId}`]);
    const other = portOf(endpoint.interfaceName, endpoint.portNo + 1, web.endpointId);
    expect(repairs({ ports: [other] })).toEqual([`attach ${web.endpointId}`]);
  });

  test('none of a port whose link is gone, or while OVS cannot be looked at', () => {
    expect(repairs({ ports: [], links: new Set() })).toEqual([]);
    expect(repairs({ ports: 'unavailable', flows: { ...none, hasEndpoint: () => false } })).toEqual([]);
  });

  test('ports that are not open: after what carries traffic', () =>
    expect(repairs({ isPublished: () => false, ports: [] })).toEqual([
      `attach ${web.endpointId}`,
      `restore-ports ${web.endpointId}`,
    ]));

  test('flows, bound ports and OVS ports of an endpoint that left', async () => {
    const port = world.switch.ports();
    await agent.call('Leave', { NetworkID: networkId, EndpointID: web.endpointId });
    const disconnect = [`disconnect ${web.endpointId}`];
    expect(repairs({ ports: port, reservedFor: new Set() })).toEqual(disconnect);
    expect(repairs({ ports: [] })).toEqual(disconnect);
    expect(
      repairs({ ports: [], reservedFor: new Set(), flows: { ...none, endpointIds: () => [web.endpointId] } }),
    ).toEqual(disconnect);
  });

  test('nothing of what no row explains', () => {
    const ids = [newId(), newId()];
    expect(repairs({ reservedFor: new Set(ids), flows: { ...none, endpointIds: () => ids } })).toEqual([]);
  });

  test('nothing of another host’s endpoints, though the controller may know them', () => {
    const view = createMemoryDirectory({ database: world.database, host: 'host2' }).view;
    expect(repairs({ view, host: 'host2', ports: [] })).toEqual([]);
  });
});

describe('removals', () => {
  test('none where all is well', () => expect(removals(look(), dockerState())).toEqual([]));

  test('an endpoint that Docker has forgotten: its pair is gone, or was given back', () => {
    const forgotten = dockerState({ endpoints: [] });
    const forget = [`forget-endpoint ${web.endpointId}`];
    expect(removals(look({ links: new Set() }), forgotten)).toEqual(forget);
    expect(removals(look({ links: new Set(Object.values(linkNamesOf(web.endpointId))) }), forgotten)).toEqual(forget);
  });

  test('nothing of a container that runs, whatever Docker lists', () => {
    const nothing = dockerState({ endpoints: [], networkIds: new Set([networkId]) });
    expect(removals(look(), nothing)).toEqual([]);
    const { complaints } = planRemovals(look(), nothing, new Map(), { now: 0, graceMs: 1 });
    expect(complaints).toEqual([
      { endpointId: web.endpointId, problem: expect.stringMatching(/installed by another name/) },
    ]);
  });

  test('links and OVS ports of nobody; those of others are not ours to judge', () => {
    const stranger = newId();
    const { host, container } = linkNamesOf(stranger);
    const seen = look({
      links: new Set([
        host,
        container,
        endpoint.interfaceName,
        `dl${newId().slice(0, 11)}`,
        'eth0',
        'dl',
        'dlxyz',
        'dc0123456789ab',
      ]),
      ports: [...world.switch.ports(), portOf(host, 9, stranger), portOf('daoli0', 65_000, undefined)],
    });
    expect(removals(seen, dockerState())).toEqual([
      `remove-port ${host}`,
      `delete-link ${host}`,
      `delete-link ${container}`,
    ]);
  });

  test('links and ports that Docker knows stay, though the directory has lost them', () => {
    const view = createMemoryDirectory().view;
    expect(removals(look({ view }), dockerState())).toEqual([]);
  });

  test('flows and bound ports of nobody, unless Docker knows them', () => {
    const [stranger, known] = [newId(), newId()];
    const endpoints = [...dockerState().endpoints, { endpointId: known, networkId }];
    const flows = { hasNetwork: () => true, hasEndpoint: () => true, endpointIds: () => [stranger, known] };
    expect(removals(look({ flows }), dockerState({ endpoints }))).toEqual([`disconnect ${stranger}`]);
    expect(removals(look({ reservedFor: new Set([stranger]) }), dockerState())).toEqual([`disconnect ${stranger}`]);
  });

  test('no port while OVS cannot be looked at', () =>
    expect(removals(look({ ports: 'unavailable' }), dockerState())).toEqual([]));

  test('an address whose endpoint never came', async () => {
    await agent.requestAddress(POOL, '10.1.0.9');
    expect(removals(look(), dockerState())).toEqual([`release-address ${POOL} 10.1.0.9`]);
    // Another driver's network may use our IPAM.
    expect(removals(look(), dockerState({ networkIds: new Set() }))).not.toContain(`release-address ${POOL} 10.1.0.9`);
  });

  test('an address that is requested again and again is not the same one', async () => {
    let suspects: Suspects = new Map();
    for (let now = 0; now <= 3 * GRACE_MS; now += 30_000) {
      await agent.requestAddress(POOL, '10.1.0.9');
      const plan = planRemovals(look(), dockerState(), suspects, { now, graceMs: GRACE_MS });
      expect(plan.removals).toEqual([]);
      suspects = plan.suspects;
      await agent.releaseAddress(POOL, '10.1.0.9');
    }
  });

  test('a network that Docker has forgotten', () =>
    expect(removals(look(), dockerState({ networkIds: new Set() }))).toEqual([`forget-network ${networkId}`]));

  test('not a network that another host’s Docker may have', () => {
    createMemoryDirectory({ database: world.database, host: 'host2' });
    expect(removals(look(), dockerState({ networkIds: new Set() }))).toEqual([`forget-network ${networkId}`]); // its pool is held here only
    expect([...agent.store.view.hosts()]).toHaveLength(2);
  });

  test('a pool that waits for a network which Docker does not have, where that can be told', async () => {
    await agent.requestPool('10.7.0.0/24');
    expect(removals(look(), dockerState())).toEqual(['release-pool default/10.7.0.0/24']);
    expect(removals(look(), dockerState({ ownSubnets: new Set(['10.7.0.0/24']) }))).toEqual([]);
  });

  test('a thing that was wanted in between begins anew', () => {
    const time = (now: number) => ({ now, graceMs: GRACE_MS });
    world.giveBack(web.endpointId);
    const forgotten = dockerState({ endpoints: [] });
    const first = planRemovals(look(), forgotten, new Map(), time(0));
    const wanted = planRemovals(look(), dockerState(), first.suspects, time(60_000));
    const again = planRemovals(look(), forgotten, wanted.suspects, time(GRACE_MS));
    expect(again.removals).toEqual([]);
    expect(planRemovals(look(), forgotten, again.suspects, time(2 * GRACE_MS)).removals).toHaveLength(1);
  });

  test('an endpoint goes after 3 s, other things after two minutes, and the plan says when', async () => {
    const time = (now: number) => ({ now, graceMs: GRACE_MS });
    expect(planRemovals(look(), dockerState(), new Map(), time(0)).dueInMs).toBe(Infinity);
    await agent.requestAddress(POOL, '10.1.0.9');
    world.giveBack(web.endpointId);
    const forgotten = dockerState({ endpoints: [] });
    const first = planRemovals(look(), forgotten, new Map(), time(0));
    expect(first).toMatchObject({ removals: [], dueInMs: 3_000 });
    const second = planRemovals(look(), forgotten, first.suspects, time(3_000));
    expect(second.removals.map(format)).toEqual([`forget-endpoint ${web.endpointId}`]);
    expect(second.dueInMs).toBe(GRACE_MS - 3_000);
  });

  test('what cannot be mended is said', () => {
    const stranger = newId();
    const endpoints = [
      ...dockerState().endpoints,
      { endpointId: stranger, networkId },
      { endpointId: newId(), networkId: newId() },
    ];
    const { complaints } = planRemovals(look({ links: new Set() }), dockerState({ endpoints }), new Map(), {
      now: 0,
      graceMs: 1,
    });
    expect(complaints).toEqual([
      { endpointId: web.endpointId, problem: expect.stringMatching(/link dl.* was deleted: restart the container/) },
      { endpointId: stranger, problem: expect.stringMatching(/DaoliNet has not: restart its container/) },
    ]);
  });
});

describe('the reconciler', () => {
  let lines: string[];
  let listings: number;

  const settled = async (): Promise<void> => {
    for (let turn = 0; turn < 20; turn += 1) await new Promise((resolve) => setImmediate(resolve));
  };

  function started(): AgentProcess {
    lines = [];
    listings = 0;
    const log = (message: string) => void lines.push(message);
    const logger: Logger = { debug() {}, info() {}, warn: log, error: log };
    const process = new AgentProcess(world, { logger });
    const listLinks = world.host.links.listLinks.bind(world.host.links);
    world.host.links.listLinks = () => {
      listings += 1;
      return listLinks();
    };
    process.reconciler.start();
    process.reconciler.start();
    return process;
  }

  test('runs at once, and every 30 s until it is stopped', async () => {
    const process = started();
    await settled();
    expect(process.flows.hasEndpoint(web.endpointId)).toBe(true);
    expect(listings).toBe(2); // for repairs, and after Docker was asked
    world.clock.advance(30_000);
    await settled();
    expect(listings).toBe(4);
    await process.reconciler.stop();
    await process.reconciler.stop();
    world.clock.advance(300_000);
    await settled();
    expect(listings).toBe(4);
  });

  test('many triggers are one repair, soon, without asking Docker', async () => {
    const process = started();
    await settled();
    process.flows.endpoints.clear();
    world.docker.setAvailable(false);
    for (let i = 0; i < 100; i += 1) process.reconciler.trigger();
    world.clock.advance(500);
    await settled();
    expect(process.flows.hasEndpoint(web.endpointId)).toBe(true);
    expect(listings).toBe(3);
    await process.reconciler.stop();
  });

  test('what fails is said once, and tried again ever more slowly until it is done', async () => {
    world.switch.away = new DaoliError('unavailable', 'OVS is away');
    const broken = world.switch.addPort.bind(world.switch);
    world.switch.whenReady = () => Promise.resolve();
    world.switch.addPort = () => Promise.reject(new DaoliError('unavailable', 'OVS is away'));
    const process = started();
    await settled();
    for (let tries = 0; tries < 5; tries += 1) {
      world.clock.advance(30_000);
      await settled();
    }
    // Once by the full run, once by the repairs between.
    expect(lines.filter((line) => line.includes('OVS is away'))).toHaveLength(2);
    expect(listings).toBeGreaterThan(10);
    world.switch.away = undefined;
    world.switch.addPort = broken;
    world.clock.advance(30_000);
    await settled();
    expect(process.flows.hasEndpoint(web.endpointId)).toBe(true);
    await process.reconciler.stop();
  });

  test('one run at a time: whoever asks for another joins it', async () => {
    const process = started();
    const [a, b] = [process.reconciler.run(), process.reconciler.run()];
    expect(a).toBe(b);
    await a;
    expect(listings).toBe(2);
    await process.reconciler.stop();
  });

  test('waits for a call of Docker on the same endpoint, and finds nothing to do then', async () => {
    const process = new AgentProcess(world);
    const createVeth = world.host.links.createVeth.bind(world.host.links);
    let release = () => {};
    const gate = new Promise<void>((resolve) => (release = resolve));
    world.host.links.createVeth = async (spec) => {
      await createVeth(spec);
      await gate;
    };
    const other = containerIn(networkId, POOL, '10.1.0.6');
    const starting = new DockerActor(world, process).startContainer(other);
    await settled(); // its row says joined by now, its flows are not there
    const running = process.reconciler.run();
    await settled();
    expect(process.flows.hasEndpoint(other.endpointId)).toBe(false);
    release();
    await Promise.all([starting, running]);
    expect(process.flows.hasEndpoint(other.endpointId)).toBe(true);
    expect(world.switch.table.get(linkNamesOf(other.endpointId).host)).toBeDefined();
  });

  test('an endpoint whose DeleteEndpoint was lost while the agent was away goes 3 s after its return', async () => {
    world.docker.removeEndpoint(web.endpointId);
    world.giveBack(web.endpointId);
    const process = started();
    await settled();
    expect(process.store.view.endpoint(web.endpointId as EndpointId)).toBeDefined();
    world.clock.advance(3_000);
    await settled();
    expect(process.store.view.endpoint(web.endpointId as EndpointId)).toBeUndefined();
    await process.reconciler.stop();
  });

  test('and also 3 s after Docker’s return', async () => {
    world.docker.setAvailable(false);
    const process = started();
    await settled();
    world.docker.removeEndpoint(web.endpointId);
    world.giveBack(web.endpointId);
    world.docker.setAvailable(true);
    await process.reconciler.run();
    world.clock.advance(3_000);
    await settled();
    expect(process.store.view.endpoint(web.endpointId as EndpointId)).toBeUndefined();
    await process.reconciler.stop();
  });

  test('an endpoint that Docker called for a moment ago is not forgotten', async () => {
    const process = new AgentProcess(world);
    world.docker.removeEndpoint(web.endpointId);
    world.giveBack(web.endpointId);
    await process.reconciler.run();
    world.clock.advance(GRACE_MS);
    await process.call('EndpointOperInfo', { NetworkID: networkId, EndpointID: web.endpointId });
    await process.call('Join', { NetworkID: networkId, EndpointID: web.endpointId, SandboxKey: web.sandbox });
    await process.reconciler.run();
    expect(process.store.view.endpoint(web.endpointId as EndpointId)).toBeDefined();
    world.clock.advance(GRACE_MS);
    await process.reconciler.run();
    expect(process.store.view.endpoint(web.endpointId as EndpointId)).toBeUndefined();
    expect(process.store.view.addressHolder('default', parseIpv4('10.1.0.5'))).toBeUndefined();
  });

  test('a complaint is said when it is found twice in a row, and once', async () => {
    const process = started();
    await settled();
    world.host.links.table.delete(endpoint.interfaceName);
    for (let run = 0; run < 4; run += 1) {
      const count = lines.filter((line) => line.includes('was deleted')).length;
      expect(count).toBe(run < 2 ? 0 : 1);
      await process.reconciler.run();
    }
    await process.reconciler.stop();
  });
});
