// The description of the management API, OpenAPI 3.1, made from the operations. Its schemas are JSON Schema 2020-12, which is
// what zod gives out; here they are only put in their places.

import { z } from 'zod';
import type { ErrorCode } from '../base/errors';
import { LINES_TYPE, type AnswerFacts, type Operation } from './operation';
import { STATUS } from './refusal';

type Json = Record<string, unknown>;

export const API_VERSION = '1.0.0';
const SCHEMAS = '#/components/schemas/';

const REFUSED = z
  .object({ message: z.string(), code: z.string() })
  .meta({ id: 'Error', description: 'What is wrong, with which thing, and how to mend it' });

/** The whole document, for JSON. */
export function describeApi<Agent>(operations: readonly Operation<Agent>[]): Json {
  const components: Json = {};
  const refused = schemaOf(REFUSED, 'output', components);
  const paths: Record<string, Json> = {};
  for (const operation of operations) {
    const ofPath = (paths[operation.path] ??= {});
    ofPath[operation.method] = describeOperation(operation, components, refused);
  }
  return {
    openapi: '3.1.1',
    info: {
      title: 'DaoliNet management API',
      version: API_VERSION,
      description: 'Of the agent of one host: on the unix socket /run/daolinet/api.sock, for root.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: 'http://localhost', description: 'through the unix socket' }],
    tags: [...new Set(operations.map(({ tag }) => tag))].map((name) => ({ name })),
    paths,
    components: { schemas: components },
  };
}

/** The same as it stands in docs/openapi.json. */
export function formatDescription<Agent>(operations: readonly Operation<Agent>[]): string {
  return `${JSON.stringify(describeApi(operations), null, 2)}\n`;
}

function describeOperation<Agent>(operation: Operation<Agent>, components: Json, refused: Json): Json {
  const { id, summary, tag, schemas, answer } = operation;
  const body = schemaOf(schemas.body, 'input', components);
  const parameters = [
    ...parametersOf('path', schemaOf(schemas.parameters, 'input', components)),
    ...parametersOf('query', schemaOf(schemas.query, 'input', components)),
  ];
  const hasBody = Object.keys(body['properties'] ?? {}).length > 0;
  return {
    operationId: id,
    summary,
    tags: [tag],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(hasBody ? { requestBody: { content: { 'application/json': { schema: body } } } } : {}),
    responses: {
      200: { description: 'Done', content: contentOf(answer, components) },
      ...refusals(operation, refused),
    },
  };
}

function contentOf(answer: AnswerFacts, components: Json): Json {
  if (answer.kind === 'content') return { [answer.type]: {} };
  const type = answer.kind === 'json' ? 'application/json' : LINES_TYPE;
  return { [type]: { schema: schemaOf(answer.schema, 'output', components) } };
}

function refusals<Agent>({ errors = [], needsDirectory }: Operation<Agent>, schema: Json): Json {
  const codes: readonly ErrorCode[] = ['invalid', ...errors, ...(needsDirectory ? (['unavailable'] as const) : [])];
  const statuses = [...new Set(codes.map((code) => STATUS[code]))];
  const content = { 'application/json': { schema } };
  return Object.fromEntries(
    statuses.map((status) => {
      const meanings = new Set(codes.filter((code) => STATUS[code] === status));
      return [status, { description: [...meanings].join(', '), content }] as const;
    }),
  );
}

function parametersOf(place: 'path' | 'query', { properties, required }: Json): Json[] {
  const needed = (required ?? []) as readonly string[];
  return Object.entries((properties ?? {}) as Record<string, Json>).map(([name, { description, ...schema }]) => ({
    name,
    in: place,
    required: needed.includes(name),
    ...(description === undefined ? {} : { description }),
    schema,
  }));
}

/** What has a name goes to the components, once. */
function schemaOf(schema: z.ZodType, io: 'input' | 'output', components: Json): Json {
  const { $schema: _, $defs, ...made } = z.toJSONSchema(schema, { io }) as Json;
  Object.assign(components, moved($defs ?? {}));
  return moved(made);
}

function moved<T>(schema: T): T {
  const text = JSON.stringify(schema).replaceAll('"$ref":"#/$defs/', `"$ref":"${SCHEMAS}`);
  return JSON.parse(text) as T;
}
