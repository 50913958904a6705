// Who is in charge of what, as people see it.
import { parseCidr } from '../../src/base/addresses';
import { silentLogger } from '../../src/base/logger';
import { planSwitch } from '../../src/directory/switch-operations';
import { StandingBy } from '../../src/standing-by';
import { change, createSmallCluster, type SmallCluster } from '../fakes/small-cluster';

let cluster: SmallCluster;
let standing: StandingBy;
const own = {
  isMaster: false,
  obstacle: undefined,
  links: [],
  profile: () => '',
  onChange: () => () => undefined,
};

beforeEach(async () => {
  own.isMaster = false;
  cluster = await createSmallCluster();
  const world = {
    settings: { packetInRate: 1000 },
    setPeers: () => undefined,
    logger: silentLogger,
    locatorRange: parseCidr('100.64.0.0/10'),
  };
  standing = new StandingBy({ store: cluster.h1, ...world });
});
afterEach(async () => {
  await standing.leave();
  standing.stop();
});

test('a host that is alone is in charge of itself', () => expect(standing.charges().master).toBe('h1'));

test('one whose datapath has not come yet is not, whatever the directory says of it', async () => {
  await change(cluster.h1, (context) => planSwitch(context, { generation: 1, backups: [], profile: '' }));
  expect(cluster.h1.view.switchOf('h1')?.master).toBe('h1');
  expect(standing.charges().master).toBeNull();
  standing.start(own);
  expect(standing.charges().master).toBeNull();
  own.isMaster = true;
  expect(standing.charges().master).toBe('h1');
});
