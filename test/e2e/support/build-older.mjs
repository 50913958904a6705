// Makes of today's sources the plugin as it would be if the newest tables and columns of the directory were not there yet: its
// schema is the recorded one before today's, its agent sees no others in any database, and it says that it is older. Real files
// of an older version are better still: see older-plugin.ts.
//
// usage: node build-older.mjs FOLDER     leaves the files there that differ, at the places that they have in the plugin

import { copyFileSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bundlePrograms } from '../../../plugin/bundle.mjs';

export const OLDER_VERSION = '0.0.1';

const root = fileURLToPath(new URL('../../..', import.meta.url));
const records = join(root, 'test/golden');
const versionIn = (path) => JSON.parse(readFileSync(path, 'utf8')).version;
const isEarlier = (one, other) => one.localeCompare(other, 'en', { numeric: true }) < 0;

/** The latest of the recorded schemas that is earlier than today's. */
function formerSchema() {
  const present = versionIn(join(root, 'src/directory/directory.ovsschema'));
  const files = readdirSync(records)
    .filter((name) => name.endsWith('.ovsschema'))
    .map((name) => join(records, name))
    .filter((path) => isEarlier(versionIn(path), present));
  return files.sort((one, other) => (isEarlier(versionIn(one), versionIn(other)) ? 1 : -1))[0];
}

/** What of a database this agent knows; in the place of parseSchema, which it calls. */
const KNOWN = (schema) => `
const KNOWN = ${JSON.stringify(Object.fromEntries(Object.entries(schema.tables).map(([name, { columns }]) => [name, Object.keys(columns)])))};
export function parseSchema(json) {
  const schema = parseAll(json);
  if (schema.name !== 'DaoliNet') return schema;
  const tables = [...schema.tables].filter(([name]) => name in KNOWN).map(([name, table]) => {
    const columns = [...table.columns].filter(([column]) => column.startsWith('_') || KNOWN[name].includes(column));
    return [name, { ...table, columns: new Map(columns) }];
  });
  return { ...schema, tables: new Map(tables) };
}
`;

/** Changes one of the sources. What is to be changed has to be there. */
const edit = (file, from, to) => ({
  name: file,
  setup(pass) {
    pass.onLoad({ filter: new RegExp(`/src/${file.replaceAll('.', '\\.')}$`) }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      if (!from.test(text)) throw new Error(`${path} has no ${from}`);
      return { contents: text.replace(from, to), loader: 'ts' };
    });
  },
});

const [, , folder] = process.argv;
const former = formerSchema();
const schema = JSON.parse(readFileSync(former, 'utf8'));
const [programs, schemas] = [join(folder, 'usr/lib/daolinet'), join(folder, 'usr/share/daolinet')];
for (const each of [programs, schemas]) mkdirSync(each, { recursive: true });
copyFileSync(former, join(schemas, 'directory.ovsschema'));
await bundlePrograms(programs, {
  plugins: [
    edit('agent.ts', /(export const VERSION = )'[^']*'/, `$1'${OLDER_VERSION}'`),
    edit('directory/schema-version.ts', /(export const SCHEMA_VERSION = )'[^']*'/, `$1'${schema.version}'`),
    edit('ovsdb/schema.ts', /export function parseSchema(\(.*\n(?:.*\n)*)/, `function parseAll$1${KNOWN(schema)}`),
  ],
});
