// What the page asks of the agent that serves it: one stream that goes on, and calls that change something.

import type { Sight } from '../api/operations/watch';

/** What the agent refused, in its words. */
export class Refused extends Error {}

const RETRY_MS = 2_000;
/** The agent says something every five seconds. */
const SILENT_MS = 12_000;

/** Calls the API. Throws Refused with what the agent says. */
export async function ask<T>(method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: object): Promise<T> {
  const sent =
    body === undefined ? {} : { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) };
  const response = await fetch(path, { method, ...sent }).catch((error: unknown) => {
    throw new Refused('the agent cannot be reached: does daolictl web still run?', { cause: error });
  });
  if (!response.ok) throw new Refused(await refusalOf(response));
  return (await response.json()) as T;
}

/** `/v1/policies/{name}`: each part as it is. */
export function pathOf(...parts: readonly string[]): string {
  return `v1/${parts.map(encodeURIComponent).join('/')}`;
}

export interface WatchEvents {
  readonly sight: (sight: Sight) => void;
  /** The stream is there: nothing of what was said before holds. */
  readonly begins: () => void;
  /** It is not, and is tried again. */
  readonly ended: (why: string) => void;
}

/** Reads what the agent sees, for as long as the page is there. */
export async function watch({ sight, begins, ended }: WatchEvents): Promise<never> {
  for (;;) {
    try {
      await read(begins, sight);
      ended('the agent ended the stream');
    } catch (error) {
      ended(error instanceof Error ? error.message : String(error));
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MS));
  }
}

async function read(begins: () => void, sight: (sight: Sight) => void): Promise<void> {
  const gone = new AbortController();
  let timer = 0;
  const listen = () => {
    window.clearTimeout(timer);
    timer = window.setTimeout(() => gone.abort(new Error('the agent says nothing')), SILENT_MS);
  };
  listen();
  try {
    const response = await fetch('v1/watch?hosts=all', { signal: gone.signal });
    if (!response.ok || response.body === null) throw new Error(await refusalOf(response));
    begins();
    let rest = '';
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      listen();
      const lines = (rest + value).split('\n');
      rest = lines.pop() ?? '';
      for (const line of lines) take(line, sight);
    }
  } finally {
    window.clearTimeout(timer);
  }
}

function take(line: string, sight: (sight: Sight) => void): void {
  const said = JSON.parse(line) as Sight & { readonly error?: { readonly message: string } };
  if (said.error !== undefined) throw new Error(said.error.message);
  sight(said);
}

async function refusalOf(response: Response): Promise<string> {
  const said = (await response.json().catch(() => undefined)) as { readonly message?: unknown } | undefined;
  return typeof said?.message === 'string' ? said.message : `status ${response.status}`;
}
