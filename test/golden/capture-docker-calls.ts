// Makes docker-calls-20.10.json and docker-calls-28.json beside this file: what a Docker engine says to the plugin, call by
// call, and what it is answered, recorded by a socket between the two. Run by hand, as root; the result is committed:
//   npx esbuild --bundle --platform=node --packages=external test/golden/capture-docker-calls.ts --outfile=build/capture.js
//   cp build/capture.js lab/capture.cjs; node lab/capture.cjs 20.10; node lab/capture.cjs 28; rm lab/capture.cjs
import { writeFileSync } from 'node:fs';
import { createServer, request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { startHost, type Engine, type Host } from '../../lab/host';
import type { RecordedCall } from '../fakes/docker-calls';

/** A driver of this name is the plugin, with the recorder in between. */
const DRIVER = 'recorder';
const SOCKETS = '/run/docker/plugins';

const calls: RecordedCall[] = [];
let command = '';

async function bodyOf(message: IncomingMessage): Promise<string> {
  let text = '';
  for await (const chunk of message.setEncoding('utf8')) text += chunk as string;
  return text;
}

const json = (text: string): object | null => (text === '' ? null : (JSON.parse(text) as object));

function record(host: Host): Promise<void> {
  const server = createServer((incoming, outgoing) => {
    void bodyOf(incoming).then((body) => {
      const forward = request(
        { socketPath: host.path(`${SOCKETS}/daolinet.sock`), path: incoming.url, method: 'POST', agent: false },
        (answer) => {
          void bodyOf(answer).then((text) => {
            const method = (incoming.url ?? '').slice(1);
            const status = answer.statusCode ?? 0;
            if (!method.startsWith('Plugin.'))
              calls.push({ command, method, body: json(body), status, answer: json(text) });
            outgoing.writeHead(status, { 'Content-Type': 'application/json' }).end(text);
          });
        },
      );
      forward.end(body);
    });
  });
  server.keepAliveTimeout = 0;
  return new Promise((resolve) => server.listen(host.path(`${SOCKETS}/${DRIVER}.sock`), resolve));
}

async function docker(host: Host, ...args: string[]): Promise<void> {
  command = `docker ${args.join(' ')}`;
  const { code, stderr } = await host.tryDocker(...args);
  console.log(command, code === 0 ? '' : stderr.trim());
}

async function scenario(host: Host): Promise<void> {
  const run = (name: string, ...args: string[]) =>
    docker(host, 'run', '-d', '--name', name, ...args, 'busybox', 'sleep', '3600');
  const net = (...args: string[]) => docker(host, 'network', 'create', '-d', DRIVER, ...args);
  await net('--ipam-driver', DRIVER, '--subnet', '10.1.0.0/24', '--aux-address', 'router=10.1.0.9', 'front');
  await net('--subnet', '10.2.0.0/24', '--internal', 'back');
  await run('web', '--network', 'front', '-p', '8080:80', '-p', '8053:53/udp');
  await run('fixed', '--network', 'front', '--ip', '10.1.0.50', '--mac-address', '02:42:0a:01:00:32');
  await run('inside', '--network', 'back');
  await docker(host, 'network', 'connect', 'back', 'web');
  await docker(host, 'network', 'disconnect', 'front', 'web');
  await docker(host, 'network', 'connect', 'front', 'web');
  await run('taken', '--network', 'front', '--ip', '10.1.0.50');
  await run('busy', '--network', 'front', '-p', '8080:81');
  await docker(host, 'restart', '-t', '0', 'web');
  await docker(host, 'stop', '-t', '0', 'fixed');
  await docker(host, 'start', 'fixed');
  await docker(host, 'network', 'rm', 'front');
  await docker(host, 'rm', '-f', 'web', 'fixed', 'inside', 'taken', 'busy');
  await docker(host, 'network', 'rm', 'front', 'back');
}

async function main(engine: Engine): Promise<void> {
  const host = await startHost({ docker: engine });
  try {
    await record(host);
    await scenario(host);
    const version = await host.docker('version', '--format', '{{.Server.Version}}');
    const file = join(__dirname, `../test/golden/docker-calls-${engine}.json`);
    const note = `The calls of Docker ${version} to the plugin, recorded by capture-docker-calls.ts.`;
    const lines = calls.map((call) => `    ${JSON.stringify(call)}`).join(',\n');
    writeFileSync(file, `{\n  "note": ${JSON.stringify(note)},\n  "calls": [\n${lines}\n  ]\n}\n`);
  } finally {
    await host.stop();
  }
}

void main(process.argv[2] as Engine).then(() => process.exit(0));
