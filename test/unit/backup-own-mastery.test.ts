// What a host writes of its own datapath, and when.
import { silentLogger } from '../../src/base/logger';
import { AWAY_MS, OwnMastery } from '../../src/backup/own-mastery';
import { deleteEndpoint } from '../../src/directory/endpoint-operations';
import { planSwitch } from '../../src/directory/switch-operations';
import { isRow, remove } from '../../src/ovsdb/operations';
import { ManualClock } from '../fakes/manual-clock';
import { change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

let cluster: SmallCluster;
let clock: ManualClock;
let mastery: OwnMastery;
/** How often it looked at whom it wants. */
let looks: number;

beforeEach(async () => {
  cluster = await createSmallCluster();
  clock = new ManualClock();
  looks = 0;
  mastery = new OwnMastery({ store: cluster.h1, clock, logger: silentLogger, random: () => 0 });
  mastery.start({
    isMaster: false,
    get obstacle() {
      looks += 1;
      return undefined;
    },
    links: [],
    profile: () => '{}',
    onChange: () => () => undefined,
  });
  await settled();
  looks = 0;
});
afterEach(() => mastery.stop());

const settled = () => new Promise((resolve) => setImmediate(resolve));

test('changes of hosts that never end do not keep it from looking', async () => {
  const row = cluster.h1.view.host('h2')!;
  for (let n = 0; n < 10; n += 1) {
    mastery.take([{ table: 'Host', kind: 'modify', row, previous: row }]);
    clock.advance(500);
    await settled();
  }
  expect(looks).toBeGreaterThan(1);
  expect(looks).toBeLessThan(7);
});

test('a backup that was replaced while it was away is one again when it is heard', async () => {
  const backups = () => cluster.h1.view.switchOf('h1')?.backups;
  cluster.h1.onChange((changes) => mastery.take(changes));
  await change(cluster.h2, (context) => planSwitch(context, { backups: [], profile: '{}', generation: 1 }));
  clock.advance(1_000);
  await settled();
  mastery.setAway('h2', true);
  expect(backups()).toEqual(['h2']);
  clock.advance(AWAY_MS);
  await settled();
  expect(backups()).toEqual([]);
  mastery.setAway('h2', false);
  await settled();
  expect(backups()).toEqual(['h2']);
});

test('a host that is no more is waited for no more', async () => {
  const before = clock.waiting;
  mastery.setAway('h2', true);
  clock.advance(AWAY_MS);
  await settled();
  expect(clock.waiting).toBeGreaterThan(before);
  cluster.h1.onChange((changes) => mastery.take(changes));
  for (const endpoint of [...cluster.h1.view.endpointsOn('h2')]) {
    await change(cluster.h2, (context) => deleteEndpoint(context, endpoint.id));
  }
  await change(cluster.h1, ({ view }) => [remove('Host', isRow(view.host('h2')!.uuid))]);
  expect(cluster.h1.view.host('h2')).toBeUndefined();
  clock.advance(1_000);
  await settled();
  expect(clock.waiting).toBe(before);
});
