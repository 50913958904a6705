// Bundles the programs of src/ into dist/, one file each, so that the plugin carries no node_modules folder:
// src/main.ts → dist/daolinetd.cjs, and the command line src/cli/main.ts → dist/daolictl.cjs.
// Not a type check (that is `npm run types`). Source maps stay in dist/, outside the plugin.
//
// usage: node plugin/bundle.mjs [ENTRY]     ENTRY stands in for src/main.ts

import { build } from 'esbuild';
import { fileURLToPath } from 'node:url';

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

async function bundle(entry, outfile, banner = '') {
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
    plugins: [leaveOut],
    logLevel: 'warning',
  });
}

try {
  await bundle(process.argv[2] ?? 'src/main.ts', 'dist/daolinetd.cjs');
  await bundle('src/cli/main.ts', 'dist/daolictl.cjs', '#!/usr/bin/env node');
} catch {
  process.exit(1); // esbuild has said what is wrong
}
