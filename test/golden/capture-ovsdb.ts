// Records test/golden/ovsdb-*.txt: what a real ovsdb-server sends to OVS's own client (ovsdb-client) for each dialect of
// monitors, while rows come, change and go, and what the tables hold then. Run:
//   npx esbuild test/golden/capture-ovsdb.ts --bundle --platform=node --outfile=/tmp/capture-ovsdb.js && node /tmp/capture-ovsdb.js

import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { LITTLE_SCHEMA } from '../ovs/little-schema';
import { startOvsdbServer } from '../ovs/ovsdb-server';
import { runTool } from '../ovs/process';

const FOLDER = process.argv[2] ?? 'test/golden';
/** File, command of ovsdb-client, and its words before the table. */
const DIALECTS = [
  ['update', 'monitor', []],
  ['update2', 'monitor-cond', ['[true]']],
  ['update3', 'monitor-cond-since', ['00000000-0000-0000-0000-000000000000', '[true]']],
] as const;

const STEPS: object[][] = [
  [{ op: 'insert', table: 'Item', row: { name: 'ü€😀 "quoted\\"', size: 3, weight: 0.1, on: true, colour: 'red' } }],
  [
    { op: 'insert', table: 'Item', 'uuid-name': 'i', row: { name: 'b', tags: ['set', ['x', 'y', 'z']] } },
    { op: 'insert', table: 'Parent', row: { name: 'p', items: ['named-uuid', 'i'] } },
    {
      op: 'update',
      table: 'Item',
      where: [['name', '!=', 'b']],
      row: {
        labels: [
          'map',
          [
            ['k', '1'],
            ['l', '2'],
          ],
        ],
      },
    },
  ],
  [
    {
      op: 'mutate',
      table: 'Item',
      where: [['name', '==', 'b']],
      mutations: [
        ['tags', 'delete', 'y'],
        ['tags', 'insert', 'w'],
      ],
    },
    { op: 'mutate', table: 'Item', where: [['size', '==', 3]], mutations: [['labels', 'delete', ['set', ['k']]]] },
  ],
  [
    {
      op: 'update',
      table: 'Item',
      where: [['size', '==', 3]],
      row: {
        labels: [
          'map',
          [
            ['l', '20'],
            ['m', '3'],
          ],
        ],
        colour: ['set', []],
      },
    },
    { op: 'update', table: 'Item', where: [['name', '==', 'b']], row: { tags: 'only', on: true, weight: -2.5 } },
  ],
  [{ op: 'insert', table: 'Item', row: { name: 'gone' } }],
  [{ op: 'delete', table: 'Item', where: [['name', '==', 'gone']] }],
  [{ op: 'insert', table: 'Item', row: { name: 'the last row' } }],
];

async function main(): Promise<void> {
  const server = await startOvsdbServer({ schema: LITTLE_SCHEMA });
  const transact = (operations: object[]) =>
    runTool(['ovsdb-client', 'transact', server.remote, JSON.stringify(['Little', ...operations])]);
  await transact([{ op: 'insert', table: 'Item', row: { name: 'before', counts: ['map', [['n', 1]]] } }]);
  const recorded: Buffer[][] = [];
  const clients = [];
  for (const [, method, words] of DIALECTS) {
    const chunks: Buffer[] = [];
    recorded.push(chunks);
    const path = join(server.dir, method);
    let end = () => {};
    const ended = new Promise<void>((resolve) => (end = resolve));
    const way = createServer((inner) => {
      const outer = connect(server.remote.slice('unix:'.length));
      outer.on('data', (chunk) => {
        chunks.push(chunk);
        if (chunk.includes('"the last row"')) end();
      });
      outer.pipe(inner).pipe(outer);
    }).listen(path);
    const client = spawn('ovsdb-client', [method, `unix:${path}`, 'Little', ...words, 'Item'], {
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    await once(client.stdout, 'data');
    clients.push({ client, way, ended });
  }
  for (const step of STEPS) await transact(step);
  await Promise.all(clients.map(({ ended }) => ended));
  for (const { client, way } of clients) {
    client.kill();
    way.close();
  }
  DIALECTS.forEach(([name], index) => {
    writeFileSync(join(FOLDER, `ovsdb-${name}.txt`), Buffer.concat(recorded[index] ?? []));
  });
  writeFileSync(
    join(FOLDER, 'ovsdb-dump.json'),
    (await runTool(['ovsdb-client', '-f', 'json', 'dump', server.remote, 'Little', 'Item'])) + '\n',
  );
  await server.stop();
}

void main();
