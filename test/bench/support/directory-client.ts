// One client of the directory, as a program of its own, so that it runs on the host that it stands for: changes one column of
// one endpoint again and again, and prints what that took. Its standard input says where and how often (DirectoryTask).

import { OvsdbClient } from '../../../src/ovsdb/client';
import type { TlsOptions } from '../../../src/ovsdb/connection';
import type { Operation, Uuid } from '../../../src/ovsdb/notation';
import { isRow, select, update } from '../../../src/ovsdb/operations';

export interface DirectoryTask {
  readonly remote: string;
  readonly tls?: Pick<TlsOptions, 'ca' | 'cert' | 'key' | 'ALPNProtocols' | 'rejectUnauthorized'>;
  readonly endpoint: string;
  /** One after another. */
  readonly serial: number;
  /** As many as `inFlight` at a time. */
  readonly pipelined: number;
  readonly inFlight: number;
}

export interface DirectoryTimes {
  /** µs of each of the serial ones. */
  readonly serial: number[];
  /** A second. */
  readonly serialRate: number;
  readonly pipelinedRate: number;
}

async function readTask(): Promise<DirectoryTask> {
  const chunks: Buffer[] = [];
  for await (const chunk of process.stdin) chunks.push(chunk as Buffer);
  return JSON.parse(Buffer.concat(chunks).toString()) as DirectoryTask;
}

async function uuidOf(client: OvsdbClient, endpoint: string): Promise<Uuid> {
  const [found] = await client.transact([select('Endpoint', [['id', '==', endpoint]], ['_uuid'])]);
  const [row] = (found?.rows ?? []) as { _uuid: Uuid }[];
  if (row === undefined) throw new Error(`the directory has no endpoint ${endpoint}`);
  return row._uuid;
}

async function run(task: DirectoryTask): Promise<DirectoryTimes> {
  const { remote, tls, serial, pipelined, inFlight } = task;
  const client = new OvsdbClient({ remotes: [remote], database: 'DaoliNet', ...(tls && { tls }) });
  client.start();
  await client.whenReady();
  const uuid = await uuidOf(client, task.endpoint);
  let number = 0;
  const change = (): Promise<unknown> => {
    const operation: Operation = update('Endpoint', isRow(uuid), { container_name: `name-${(number += 1)}` });
    return client.transact([operation]);
  };
  const times: number[] = [];
  let begin = performance.now();
  for (let index = 0; index < serial; index += 1) {
    const before = performance.now();
    await change();
    times.push(1000 * (performance.now() - before));
  }
  const serialRate = (1000 * serial) / (performance.now() - begin);
  begin = performance.now();
  let left = pipelined;
  const worker = async () => {
    while ((left -= 1) >= 0) await change();
  };
  await Promise.all(Array.from({ length: inFlight }, worker));
  const pipelinedRate = (1000 * pipelined) / (performance.now() - begin);
  client.stop();
  return { serial: times, serialRate, pipelinedRate };
}

readTask()
  .then(run)
  .then((times) => console.log(JSON.stringify(times)))
  .catch((error: unknown) => {
    console.error(error instanceof Error ? error.message : String(error));
    process.exit(1); // the client would go on
  });
