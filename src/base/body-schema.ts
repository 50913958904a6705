// Bodies of requests checked by zod schemas, with errors that a person understands: the place of the first wrong field,
// its value, and what is wrong with it, as in `Address: "10.1.0.300" is not an IPv4 address`.

import { z } from 'zod';
import { DaoliError, messageOf } from './errors';

/** Text that `parse` understands; the message of what it throws becomes the issue. */
export function parsed<T>(parse: (text: string) => T) {
  return z.string({ error: 'is not text' }).transform((text, context): T => {
    try {
      return parse(text);
    } catch (error) {
      context.addIssue({ code: 'custom', message: messageOf(error) });
      return z.NEVER;
    }
  });
}

/** The same; empty text is undefined. */
export function parsedUnlessEmpty<T>(parse: (text: string) => T) {
  return parsed((text) => (text === '' ? undefined : parse(text)));
}

/** `IPv4Data[0].Pool`, `Options["com.docker.network.portmap"][0].Proto`. */
function formatPath(path: readonly PropertyKey[]): string {
  return path.reduce<string>((text, key) => {
    if (typeof key === 'number') return `${text}[${key}]`;
    if (!/^\w+$/.test(String(key))) return `${text}[${JSON.stringify(String(key))}]`;
    return text === '' ? String(key) : `${text}.${String(key)}`;
  }, '');
}

function valueAt(body: unknown, path: readonly PropertyKey[]): unknown {
  return path.reduce<unknown>((value, key) => (value as Record<PropertyKey, unknown> | undefined)?.[key], body);
}

function describeIssue(issue: z.core.$ZodIssue, body: unknown): string {
  const value = valueAt(body, issue.path);
  const place = formatPath(issue.path);
  if (issue.code === 'unrecognized_keys') {
    const fields = issue.keys.map((key) => formatPath([...issue.path, key])).join(', ');
    return `there is no field ${fields}`;
  }
  if (place === '') return 'the request is not a JSON object';
  if (value === undefined) return `${place} is missing`;
  const text = JSON.stringify(value);
  const shown = text.length > 100 ? `${text.slice(0, 100)}…` : text;
  // A parser's message names the text already.
  return issue.message.startsWith('"') ? `${place}: ${issue.message}` : `${place}: ${shown} ${issue.message}`;
}

/** Body → request. Throws `invalid`, naming the first wrong field and its value. */
export function parserOf<S extends z.ZodType>(schema: S): (body: unknown) => z.output<S> {
  return (body) => {
    const result = schema.safeParse(body);
    if (result.success) return result.data;
    const issue = result.error.issues[0];
    throw new DaoliError('invalid', issue === undefined ? 'the request is wrong' : describeIssue(issue, body));
  };
}
