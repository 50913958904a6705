// daolictl connect, disconnect, show, clear: two containers, whatever networks and policies say.

import { InvalidArgumentError, type Command } from 'commander';
import type { ShownPair, ShownPairState } from '../../api/operations/pairs';
import type { Verdict } from '../../api/verdicts';
import { tableOf, withExamples, type CommandContext } from '../command-context';

interface Sides {
  readonly a: string;
  readonly b: string;
}

const SIDE = '((?:(?:container|service):)?[^:]+)';
const BOTH = new RegExp(`^${SIDE}:${SIDE}$`);

function parseSides(text: string): Sides {
  const [, a, b] = BOTH.exec(text) ?? [];
  if (a === undefined || b === undefined) {
    throw new InvalidArgumentError(
      'It has to be two containers or services, as in web:db, h1/web:h2/db or service:web:db.',
    );
  }
  return { a, b };
}

const path = ({ a, b }: Sides) => `/v1/pairs/${encodeURIComponent(a)}/${encodeURIComponent(b)}`;

const STATES = new Map<boolean | null, string>([
  [true, 'connected'],
  [false, 'disconnected'],
  [null, 'as networks and policies say'],
]);
const COLUMNS = {
  PAIR: ({ name }: ShownPair) => name,
  STATE: ({ connected }: ShownPair) => STATES.get(connected) ?? '',
};

export function pairCommands(daolictl: Command, context: CommandContext): void {
  const { action } = context;
  const argument = '<a:b>';
  const what = 'two containers, by name, id or host/name; or services';
  withExamples(daolictl.command('connect'), 'daolictl connect web:db', 'daolictl connect h1/web:h2/db')
    .description('connect two containers, in both directions, whatever networks and policies say')
    .argument(argument, what, parseSides)
    .action(action(async (sides: Sides) => said(await set(context, sides, true))));
  withExamples(daolictl.command('disconnect'), 'daolictl disconnect web:db')
    .description('disconnect two containers, in both directions')
    .argument(argument, what, parseSides)
    .action(action(async (sides: Sides) => said(await set(context, sides, false))));
  withExamples(daolictl.command('clear'), 'daolictl clear web:db')
    .description('let networks and policies decide again about two containers')
    .argument(argument, what, parseSides)
    .action(action(async (sides: Sides) => said(await context.client().delete<ShownPair>(path(sides)))));
  withExamples(daolictl.command('show'), 'daolictl show web:db', 'daolictl show')
    .description('show what is said about two containers, and what holds between them; without them, all pairs')
    .argument('[a:b]', what, parseSides)
    .action(action((sides?: Sides) => (sides === undefined ? list(context) : show(context, sides))));
}

function set(context: CommandContext, sides: Sides, connected: boolean): Promise<ShownPair> {
  return context.client().put<ShownPair>(path(sides), { connected });
}

function said(value: ShownPair) {
  const lines = [`${value.name}: ${STATES.get(value.connected)}.`, ...value.notes.map((note) => `(${note})`)];
  return { value, text: lines.join('\n') };
}

async function list(context: CommandContext) {
  const value = await context.client().get<ShownPair[]>('/v1/pairs');
  return { value, text: tableOf(COLUMNS, value) };
}

async function show(context: CommandContext, sides: Sides) {
  const value = await context.client().get<ShownPairState>(path(sides));
  const head = `${value.name}: ${STATES.get(value.connected)}`;
  return { value, text: [head, ...value.verdicts.map((each) => `  ${verdictLine(each)}`)].join('\n') };
}

/** "h1/web (10.1.0.2) → h2/db (10.1.0.3): allowed; no rule says otherwise, and both are in network demo". */
export function verdictLine({ from, to, allowed, reason }: Verdict): string {
  const side = ({ host, container, address }: Verdict['from']) =>
    container === null ? address : `${host}/${container} (${address})`;
  const words = allowed === null ? 'depends' : allowed ? 'allowed' : 'denied';
  return `${side(from)} → ${side(to)}: ${words}; ${reason}`;
}
