// daolictl web: the agent's page, for a browser on this machine.

import { InvalidArgumentError, type Command } from 'commander';
import { once } from 'node:events';
import { WebProxy } from '../web-proxy';
import { withExamples, type CommandContext } from '../command-context';

const HELP = `
The address that it prints is good for one browser, once. Nobody else gets in: it listens on 127.0.0.1, and asks for a cookie.
From another machine: ssh -t -L 8000:127.0.0.1:8000 SERVER, there daolictl web --port 8000, and open the address here.`;

export function webCommands(daolictl: Command, context: CommandContext): void {
  const web = daolictl.command('web').addHelpText('after', HELP);
  withExamples(web, 'daolictl web', 'daolictl web --port 8000')
    .description('show hosts, containers and live routes as a page in a browser')
    .option('--port <number>', 'where to listen on 127.0.0.1; without, on a port that is free', parsePort, 0)
    .action(async ({ port }: { readonly port: number }) => {
      const client = context.client();
      // Whether there is an agent, and whether it may be asked, shows before the browser does.
      await client.get('/v1/status');
      const proxy = new WebProxy((head) => client.open(head));
      const url = await proxy.start(port);
      context.show({ value: { url }, text: `The page is at ${url}\nIt is there until Ctrl-C.` });
      await Promise.race(['SIGINT', 'SIGTERM'].map((signal) => once(process, signal)));
      proxy.stop();
    });
}

function parsePort(text: string): number {
  const port = Number(text);
  if (/^\d{1,5}$/.test(text) && port <= 65_535) return port;
  throw new InvalidArgumentError(`${text} is no port: it is a number from 0 to 65535.`);
}
