// What the management API is made of. An operation is data (where it is, what it takes, what it answers, as zod schemas) and
// a handler. management-api.ts makes a route of each, open-api.ts a page of the description; the types that daolictl reads
// answers with are those of the schemas. Which operations there are says operations.ts.

import { z } from 'zod';
import { parserOf } from '../base/body-schema';
import { DaoliError, type ErrorCode } from '../base/errors';
import type { DirectoryView } from '../directory/view';

/** What every operation needs of the agent. */
export interface ApiAgent {
  /** Undefined until all is up. */
  readonly view: DirectoryView | undefined;
  status(): { readonly state: string };
  /** Resolves when all is up, or where something is in the way of that, at the latest after a few seconds. */
  settled(): Promise<void>;
}

/** Where an operation is, and what is said of it. */
export interface OperationFacts {
  /** Its name in the description, and in clients that are made of that: "promoteHost". */
  readonly id: string;
  readonly method: 'get' | 'post' | 'put' | 'delete';
  /** `/v1/hosts/{name}`: what stands in braces is one of `parameters`. */
  readonly path: string;
  /** The area that it is of. */
  readonly tag: string;
  /** One line, for the description. */
  readonly summary: string;
  /** Which errors its handler throws; `invalid` goes without saying. */
  readonly errors?: readonly ErrorCode[];
  /** Waits for an agent that comes up, and is refused (503) where it does not. */
  readonly needsDirectory?: boolean;
  /** Where its body may be larger than those of others (MAX_BODY_BYTES). */
  readonly maxBodyBytes?: number;
}

/** The type of a stream of values: one a line, https://jsonlines.org. */
export const LINES_TYPE = 'application/jsonl';

type ObjectSchema = z.ZodObject<Readonly<Record<string, z.ZodType>>>;

/** What an operation takes. What it does not name is refused by name, so each schema is a strict one. */
interface Schemas<P extends ObjectSchema, Q extends ObjectSchema, B extends z.ZodType> {
  /** Of the path; a field for each. */
  readonly parameters?: P;
  readonly query?: Q;
  readonly body?: B;
}

/** What a handler gets. */
export interface Asked<P, Q, B> {
  readonly parameters: P;
  readonly query: Q;
  readonly body: B;
  /** Aborted when whoever asked has gone. */
  readonly signal: AbortSignal;
}

type AskedOf<P extends z.ZodType, Q extends z.ZodType, B extends z.ZodType> = Asked<
  z.output<P>,
  z.output<Q>,
  z.output<B>
>;

/** What came in, not looked at yet. */
export type Incoming = Asked<unknown, unknown, unknown>;

/** What goes out: a value as JSON, values one a line as they come, or something else as it is. */
export type Outgoing =
  | { readonly kind: 'json'; readonly value: unknown }
  | { readonly kind: 'stream'; readonly items: AsyncIterable<unknown> }
  | { readonly kind: 'content'; readonly type: string; readonly content: string | AsyncIterable<Uint8Array> };

/** What an operation answers, as the description says it. */
export type AnswerFacts =
  | { readonly kind: 'json' | 'stream'; readonly schema: z.ZodType }
  | { readonly kind: 'content'; readonly type: string };

export interface Operation<Agent> extends OperationFacts {
  readonly schemas: { readonly parameters: ObjectSchema; readonly query: ObjectSchema; readonly body: z.ZodType };
  readonly answer: AnswerFacts;
  /** Throws `invalid` for what does not fit the schemas, naming it, and what the handler throws. */
  readonly run: (agent: Agent, incoming: Incoming) => Promise<Outgoing>;
}

/** What a schema describes may be given as it is kept: read-only. */
type Given<T> = T extends (infer E)[]
  ? readonly Given<E>[]
  : T extends object
    ? { readonly [K in keyof T]: Given<T[K]> }
    : T;

const NOTHING = z.strictObject({});
type Nothing = typeof NOTHING;

/** An operation that answers with one JSON value. */
export function operation<
  Agent extends ApiAgent,
  A extends z.ZodType,
  P extends ObjectSchema = Nothing,
  Q extends ObjectSchema = Nothing,
  B extends z.ZodType = Nothing,
>(
  definition: OperationFacts &
    Schemas<P, Q, B> & {
      readonly answer: A;
      readonly handle: (agent: Agent, asked: AskedOf<P, Q, B>) => Given<z.output<A>> | Promise<Given<z.output<A>>>;
    },
): Operation<Agent> {
  const { handle, answer: schema } = definition;
  return assembled(definition, { kind: 'json', schema }, async (agent, asked) => ({
    kind: 'json',
    value: await handle(agent, asked),
  }));
}

/**
 * An operation that goes on answering, a value at a time, until it is done or whoever asked has gone (`signal`): as JSON
 * lines, or as server-sent events for who accepts those. What `handle` rejects with is an answer like any error; what comes
 * later ends the stream with a line `{"error": {"message", "code"}}`.
 */
export function streamOperation<
  Agent extends ApiAgent,
  A extends z.ZodType,
  P extends ObjectSchema = Nothing,
  Q extends ObjectSchema = Nothing,
  B extends z.ZodType = Nothing,
>(
  definition: OperationFacts &
    Schemas<P, Q, B> & {
      /** Of one value. */
      readonly item: A;
      readonly handle: (agent: Agent, asked: AskedOf<P, Q, B>) => Promise<AsyncIterable<Given<z.output<A>>>>;
    },
): Operation<Agent> {
  const { handle, item: schema } = definition;
  return assembled(definition, { kind: 'stream', schema }, async (agent, asked) => ({
    kind: 'stream',
    items: await handle(agent, asked),
  }));
}

/** An operation that answers with something that is no JSON: text, or bytes as they come. */
export function contentOperation<
  Agent extends ApiAgent,
  P extends ObjectSchema = Nothing,
  Q extends ObjectSchema = Nothing,
  B extends z.ZodType = Nothing,
>(
  definition: OperationFacts &
    Schemas<P, Q, B> & {
      /** "application/vnd.tcpdump.pcap" */
      readonly contentType: string;
      readonly handle: (agent: Agent, asked: AskedOf<P, Q, B>) => Promise<string | AsyncIterable<Uint8Array>>;
    },
): Operation<Agent> {
  const { handle, contentType: type } = definition;
  return assembled(definition, { kind: 'content', type }, async (agent, asked) => ({
    kind: 'content',
    type,
    content: await handle(agent, asked),
  }));
}

/** The directory. Throws `unavailable` until all is up. */
export function directoryOf(agent: ApiAgent): DirectoryView {
  const { view } = agent;
  if (view === undefined) throw new DaoliError('unavailable', agent.status().state);
  return view;
}

function assembled<Agent extends ApiAgent, P extends ObjectSchema, Q extends ObjectSchema, B extends z.ZodType>(
  definition: OperationFacts & Schemas<P, Q, B>,
  answer: AnswerFacts,
  answerTo: (agent: Agent, asked: AskedOf<P, Q, B>) => Promise<Outgoing>,
): Operation<Agent> {
  const { id, method, path, tag, summary, errors = [], needsDirectory = false, maxBodyBytes } = definition;
  // What is not given has the schema of nothing, as its type says.
  const parameters = definition.parameters ?? (NOTHING as ObjectSchema as P);
  const query = definition.query ?? (NOTHING as ObjectSchema as Q);
  const body = definition.body ?? (NOTHING as z.ZodType as B);
  const [parseParameters, parseQuery, parseBody] = [parserOf(parameters), parserOf(query), parserOf(body)];
  return {
    ...{ id, method, path, tag, summary, errors, needsDirectory, ...(maxBodyBytes !== undefined && { maxBodyBytes }) },
    schemas: { parameters, query, body },
    answer,
    run: async (agent, incoming) => {
      if (needsDirectory) {
        await agent.settled();
        directoryOf(agent);
      }
      return answerTo(agent, {
        parameters: parseParameters(incoming.parameters),
        query: parseQuery(incoming.query),
        body: parseBody(incoming.body ?? {}),
        signal: incoming.signal,
      });
    },
  };
}
