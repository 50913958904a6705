// Bundles the programs of src/ into dist/, one file each, so that the plugin carries no node_modules folder:
// src/main.ts → dist/main.cjs, which loads src/daolinetd.ts → dist/daolinetd.cjs; the command line src/cli/main.ts → dist/daolictl.cjs.
// The page of src/web is in the agent's bundle. Not a type check (that is `npm run types`). Source maps stay in dist/, outside the plugin.
//
// usage: node plugin/bundle.mjs [ENTRY]     ENTRY stands in for src/main.ts

import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';
import { buildPage } from './page.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/**
 * What dockerode can do and the agent never does: Docker over SSH, and BuildKit's build sessions. These files bring
 * native code and files read at run time, which one bundled file cannot have. Calling one throws there.
 */
const LEFT_OUT = /(docker-modem[\\/]lib[\\/]ssh|dockerode[\\/]lib[\\/](session|buildkit))\.js$/;

const leaveOut = {
  name: 'leave-out',
  setup(pass) {
    pass.onLoad({ filter: LEFT_OUT }, ({ path }) => {
      const name = JSON.stringify(path.replace(/^.*node_modules[\\/]/, ''));
      return { contents: `module.exports = () => { throw new Error(${name} + ' is not part of this program'); };` };
    });
  },
};

/** What main.ts loads once it has opened Docker's socket is a file of its own: reading it takes a quarter of a second. */
const loadLater = {
  name: 'load-later',
  setup(pass) {
    pass.onResolve({ filter: /^\.\/daolinetd\.js$/ }, () => ({ path: './daolinetd.cjs', external: true }));
  },
};

async function bundle(entry, outfile, { banner = '', define = {}, plugins = [] } = {}) {
  await build({
    absWorkingDir: root,
    entryPoints: [entry],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    sourcemap: 'external',
    minifyWhitespace: true,
    legalComments: 'none',
    banner: { js: banner },
    define,
    plugins: [leaveOut, loadLater, ...plugins],
    logLevel: 'warning',
  });
}

/** The plugin's programs into a folder. `plugins` are esbuild's, which see to the sources of the agent beside those here. */
export async function bundlePrograms(folder, { entry = 'src/main.ts', plugins = [] } = {}) {
  const define = { DAOLINET_PAGE: JSON.stringify(await buildPage(root)) };
  await bundle(entry, `${folder}/main.cjs`);
  await bundle('src/daolinetd.ts', `${folder}/daolinetd.cjs`, { define, plugins });
  await bundle('src/cli/main.ts', `${folder}/daolictl.cjs`, { banner: '#!/usr/bin/env node' });
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    await bundlePrograms('dist', { entry: process.argv[2] });
  } catch {
    process.exit(1); // esbuild has said what is wrong
  }
}
