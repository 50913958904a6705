// Every operation of the management API keeps the rules that all of them have, and docs/openapi.json says what there is.
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { z } from 'zod';
import { OPERATIONS } from '../../src/api/operations';

const inputOf = (schema: z.ZodType) => z.toJSONSchema(schema, { io: 'input' });

test('docs/openapi.json is up to date, and a valid document: npm run openapi writes it', () => {
  const script = join(__dirname, '../../plugin/openapi.mjs');
  const { status, stderr } = spawnSync(process.execPath, [script, '--check'], { encoding: 'utf8' });
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
});

test('ids and routes are there once', () => {
  const ids = OPERATIONS.map(({ id }) => id);
  const routes = OPERATIONS.map(({ method, path }) => `${method} ${path}`);
  expect(new Set(ids).size).toBe(ids.length);
  expect(new Set(routes).size).toBe(routes.length);
});

test.each(OPERATIONS.map((each) => [each.id, each] as const))('%s is described', (_id, { summary, path, schemas }) => {
  expect(summary).not.toBe('');
  // Prometheus has a place of its own where it looks.
  expect(path).toMatch(/^\/v1(\/(\w+|\{\w+\}))+$|^\/metrics$/);
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
  expect(Object.keys(schemas.parameters.shape)).toEqual(inPath);
});

// A misspelt field must not be left out in silence.
test.each(OPERATIONS.map((each) => [each.id, each] as const))(
  '%s refuses what it does not name',
  (_id, { schemas }) => {
    for (const schema of [schemas.parameters, schemas.query, schemas.body]) {
      expect(inputOf(schema)).toMatchObject({ additionalProperties: false });
    }
  },
);
