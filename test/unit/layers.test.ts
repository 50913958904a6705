// Imports go one way. A folder may import only from the folders in the rows above its own, and from itself.
import { readdirSync, readFileSync } from 'node:fs';
import { dirname, join, normalize, relative } from 'node:path';

const SRC = join(__dirname, '../../src');
const LAYERS = [
  ['base'],
  ['packet', 'openflow', 'ovsdb', 'host', 'docker', 'pki'],
  ['switch', 'directory'],
  ['ipam', 'flowctl', 'cluster', 'names', 'policy'],
  ['driver', 'move', 'tunnel', 'backup'],
  ['observe'],
  ['api'],
  ['cli', 'web'],
];
// src/ovsdb is to be publishable as it stands, and the codecs know nothing of the product.
const ALONE = ['ovsdb'];

const rank = new Map(LAYERS.flatMap((folders, row) => folders.map((folder) => [folder, row] as const)));

function sources(folder: string): string[] {
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => join(folder, file));
}

function upwardImports(file: string): string[] {
  const from = relative(SRC, file).split('/')[0] ?? '';
  const imports = readFileSync(file, 'utf8').matchAll(/(?:from|import|require\()\s*['"](\.[^'"]+)['"]/g);
  return [...imports]
    .map(([, path = '']) => normalize(join(dirname(file), path)))
    .map((path) => relative(SRC, path).split('/')[0] ?? '')
    .filter((to) => to !== from && (ALONE.includes(from) || (rank.get(to) ?? Infinity) >= (rank.get(from) ?? -1)))
    .map((to) => `${relative(SRC, file)} imports ${to}`);
}

test('every folder of src has a layer', () => {
  const folders = readdirSync(SRC, { withFileTypes: true }).filter((entry) => entry.isDirectory());
  expect(folders.map((entry) => entry.name).filter((name) => !rank.has(name))).toEqual([]);
});

test('no import goes upwards or sideways', () => {
  const inFolders = sources(SRC).filter((file) => relative(SRC, file).includes('/'));
  expect(inFolders.flatMap(upwardImports)).toEqual([]);
});
