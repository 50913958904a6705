// What runs in the guest (see ../support/guest.ts): makes two hosts and every path between them, measures the paths in turn, and
// prints a line of JSON for each sample. `main.cjs host SIDE` is one host of DaoliNet.

import { spawn, type ChildProcess } from 'node:child_process';
import { createInterface } from 'node:readline';
import { release } from 'node:os';
import { inside } from './command';
import { endOf, hostOf, pathsOf, productOf, SIDES, type Scene, type Side } from './layout';
import { measure, startServers } from './measure';
import { makeNamespaces, makePeers } from './peers';
import { runProductHost } from './product-host';

/** Given by ../support/guest.ts when it bundles this. */
declare const ROUNDS: number;
declare const SCENE: Scene;

const PATHS = pathsOf(SCENE);

class ProductProcess {
  private readonly lines: AsyncIterator<string>;
  private constructor(private readonly child: ChildProcess) {
    this.lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  }

  static start(side: Side): ProductProcess {
    const [file = '', ...args] = [...inside(hostOf(side)), process.execPath, __filename, 'host', side];
    return new ProductProcess(spawn(file, args, { stdio: ['pipe', 'pipe', 'inherit'] }));
  }

  async line(): Promise<string> {
    const { done, value } = await this.lines.next();
    if (done === true) throw new Error('a host of DaoliNet has ended');
    return value;
  }

  async routes(): Promise<unknown> {
    this.child.stdin?.write('routes\n');
    return JSON.parse(await this.line());
  }
}

function note(text: string): void {
  process.stderr.write(`${process.uptime().toFixed(1)} s: ${text}\n`);
}

async function main(): Promise<void> {
  note(`Linux ${release()}`);
  await makeNamespaces(SCENE);
  const hosts = SIDES.map((side) => ProductProcess.start(side));
  for (const [index, side] of SIDES.entries()) await makePeers(SCENE, side, (await hosts[index]?.line()) ?? '');
  await startServers(PATHS);
  note('hosts and peers are there');
  // Does not count: the first packets set routes up, and fill what the kernel and the programs keep.
  await measure(productOf(SCENE));
  for (let round = 0; round < ROUNDS; round += 1) {
    for (let turn = 0; turn < PATHS.length; turn += 1) {
      const path = PATHS[(round + turn) % PATHS.length] ?? productOf(SCENE);
      const sample = await measure(path);
      note(`${path} ${endOf(path, 'a')} ${JSON.stringify(sample)}`);
      console.log(JSON.stringify({ round, path, ...sample }));
    }
  }
  console.log(JSON.stringify({ kernel: release(), routes: await hosts[0]?.routes() }));
  process.exit();
}

const [kind, side] = process.argv.slice(2);
const work = kind === 'host' ? runProductHost(SCENE, side === 'b' ? 'b' : 'a') : main();
work.catch((error: unknown) => {
  note(error instanceof Error ? (error.stack ?? error.message) : String(error));
  process.exit(1);
});
