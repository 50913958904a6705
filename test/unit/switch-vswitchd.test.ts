// How ovs-vswitchd is found and asked: by its pid file, or by the only socket that is there; and what is said where it is not.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Vswitchd } from '../../src/switch/vswitchd';

let folder: string;
let servers: Server[];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'daoli-vswitchd-'));
  servers = [];
});
afterEach(async () => {
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  rmSync(folder, { recursive: true });
});

/** A control socket that repeats what it was asked, or refuses it. */
function serve(pid: number, error: string | null = null): Promise<void> {
  const server = createServer((socket) => {
    socket
      .on('error', () => undefined)
      .on('data', (chunk) => {
        const { id, method, params } = JSON.parse(chunk.toString()) as {
          id: unknown;
          method: string;
          params: string[];
        };
        socket.write(JSON.stringify({ id, error, result: error === null ? `${method} ${params.join(' ')}` : null }));
      });
  });
  servers.push(server);
  return new Promise((resolve) => server.listen(join(folder, `ovs-vswitchd.${pid}.ctl`), resolve));
}

test('it is asked by the number in its pid file', async () => {
  await serve(7);
  await serve(8);
  writeFileSync(join(folder, 'ovs-vswitchd.pid'), '8\n');
  expect(await new Vswitchd(folder).trace('br-int', 'ip,in_port=1')).toBe('ofproto/trace br-int ip,in_port=1');
  expect(await new Vswitchd(folder).traceActions('br-int', 'ip', 'output:2')).toBe(
    'ofproto/trace-packet-out br-int ip output:2',
  );
});

test('without one, by the only socket that is there', async () => {
  await serve(7);
  expect(await new Vswitchd(folder).trace('br-int', 'ip')).toContain('ofproto/trace');
  await serve(8);
  await expect(new Vswitchd(folder).trace('br-int', 'ip')).rejects.toMatchObject({ code: 'unavailable' });
});

test('what it refuses is told in its words; one that is gone is away', async () => {
  await serve(7, 'Unknown bridge br-int\n');
  await expect(new Vswitchd(folder).trace('br-int', 'ip')).rejects.toMatchObject({
    code: 'internal',
    message: 'ovs-vswitchd: Unknown bridge br-int',
  });
  writeFileSync(join(folder, 'ovs-vswitchd.pid'), '9\n');
  await expect(new Vswitchd(folder).trace('br-int', 'ip')).rejects.toMatchObject({ code: 'unavailable' });
});
