// One OpenFlow connection with a peer that does not read.
import { once } from 'node:events';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Connection } from '../../src/flowctl/connection';
import { OFPT } from '../../src/openflow/constants';
import { ManualClock } from '../fakes/manual-clock';

test('a peer that reads nothing is not sent echoes without end, and again when it has read', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'connection-'));
  const server = createServer().listen(join(folder, 's'));
  const peer = connect(join(folder, 's')).pause();
  const [socket] = (await once(server, 'connection')) as [Socket];
  const clock = new ManualClock();
  let heard = 0;
  const user = {
    message: () => (heard += 1),
    turn: () => undefined,
    drained: () => undefined,
    closed: () => undefined,
  };
  const connection = new Connection(socket, user, clock, 5_000);
  const echo = Buffer.alloc(60_000);
  echo.set([5, OFPT.ECHO_REQUEST, echo.length >> 8, echo.length & 0xff]);
  for (let n = 0; n < 200; n += 1) peer.write(echo);
  peer.write(Buffer.from([5, OFPT.BARRIER_REPLY, 0, 8, 0, 0, 0, 1]));
  while (heard === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  expect(connection.queuedBytes).toBeLessThan(2 * 1024 * 1024);

  let read = 0;
  peer.on('data', (chunk) => (read += chunk.length)).resume();
  while (connection.queuedBytes > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const before = read;
  peer.write(echo);
  while (read < before + echo.length) await new Promise((resolve) => setTimeout(resolve, 5));
  connection.close('the test ends');
  peer.destroy();
  server.close();
  clock.advance(60_000);
  rmSync(folder, { recursive: true });
});
