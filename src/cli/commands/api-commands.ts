// daolictl api …: how the agent of this host can be reached by daolictl elsewhere.

import type { Command } from 'commander';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { ShownAccess } from '../../api/operations/access';
import { withExamples, type CommandContext } from '../command-context';
import { TLS_FILES } from '../target';

export function apiCommands(daolictl: Command, context: CommandContext): void {
  const api = daolictl.command('api').description('how the agent can be reached from elsewhere');
  withExamples(api.command('status'), 'daolictl api status')
    .description('show whether the agent listens on TCP, and with which certificate')
    .action(
      context.action(async () => {
        const value = await context.client().get<ShownAccess>('/v1/access');
        return { value, text: accessText(value) };
      }),
    );
  const names = Object.values(TLS_FILES).join(', ');
  withExamples(api.command('certificates <folder>'), 'daolictl api certificates /etc/daolinet/api')
    .description(`give the agent its certificates for TCP: ${names} of a folder; they are copied`)
    .action(
      context.action(async (folder: string) => {
        const read = (name: string) => readFileSync(join(folder, name), 'utf8');
        const body = { ca: read(TLS_FILES.ca), certificate: read(TLS_FILES.certificate), key: read(TLS_FILES.key) };
        const value = await context.client().put<ShownAccess>('/v1/access/certificates', body);
        return { value, text: `The agent has the certificates. ${accessText(value)}` };
      }),
    );
}

function accessText({ address, isListening, problem, certificate }: ShownAccess): string {
  if (address === null) return 'It does not listen on TCP: DAOLINET_API is off (docker plugin set).';
  if (!isListening) return `It does not listen on ${address}: ${problem ?? 'it is starting'}.`;
  const shown = certificate === null ? '' : ` as ${certificate.subject}, until ${certificate.validUntil.slice(0, 10)}`;
  return `It listens on ${address}${shown}.`;
}
