// Builds the page of src/web: one script with what it uses, beside the page and its style. The files go into the agent's bundle.

import { build } from 'esbuild';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

/** The files by name, as text. */
export async function buildPage(root) {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ['src/web/page.ts'],
    bundle: true,
    write: false,
    platform: 'browser',
    target: ['chrome111', 'firefox115', 'safari16.4'],
    format: 'iife',
    minify: true,
    legalComments: 'eof', // the library's licence asks for it
    logLevel: 'warning',
  });
  const source = (name) => readFileSync(join(root, 'src/web', name), 'utf8');
  return {
    'index.html': source('index.html'),
    'page.css': source('page.css'),
    'icon.svg': source('icon.svg'),
    'page.js': outputFiles[0].text,
  };
}
