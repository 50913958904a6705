// Writes docs/openapi.json, the description of the management API, from the operations of src/api. Fails where it is no valid
// OpenAPI document.
//
// usage: npm run openapi              npm run openapi -- --check     looks at it, and writes nothing

import { Validator } from '@seriousme/openapi-schema-validator';
import { build } from 'esbuild';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('..', import.meta.url));
const file = join(root, 'docs/openapi.json');
const source = `import { formatDescription } from './src/api/open-api';
import { OPERATIONS } from './src/api/operations';
export const text = formatDescription(OPERATIONS);`;

/** The description as the sources have it. */
async function describe() {
  const folder = mkdtempSync(join(tmpdir(), 'openapi-'));
  const outfile = join(folder, 'description.cjs');
  try {
    await build({
      stdin: { contents: source, resolveDir: root, loader: 'ts' },
      outfile,
      bundle: true,
      platform: 'node',
      target: 'node20',
      logLevel: 'warning',
    });
    return createRequire(import.meta.url)(outfile).text;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function fail(message) {
  console.error(`docs/openapi.json: ${message}`);
  process.exit(1);
}

const text = await describe();
const { valid, errors } = await new Validator().validate(JSON.parse(text));
if (!valid) fail(`is no valid OpenAPI document: ${JSON.stringify(errors, null, 2)}`);
if (!process.argv.includes('--check')) writeFileSync(file, text);
else if (readFileSync(file, 'utf8') !== text) fail('is not as src/api has it: npm run openapi');
