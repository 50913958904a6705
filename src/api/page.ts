// The page of src/web, as the agent serves it at the API's address: files that the build has put into this program, and what the
// browser is told that they may do.

import { createHash } from 'node:crypto';
import { Router } from 'express';

/** By name: what plugin/page.mjs made. */
export type PageFiles = Readonly<Record<string, string>>;

/** Replaced by the build; a program that is run from its sources has no page. */
declare const DAOLINET_PAGE: PageFiles | undefined;

export const PAGE_FILES: PageFiles = typeof DAOLINET_PAGE === 'undefined' ? {} : DAOLINET_PAGE;

/** Nothing of anybody else's, nothing written into the page itself, in nobody's frame; and text never becomes markup. */
export const PAGE_POLICY = [
  "default-src 'none'",
  "script-src 'self'",
  "style-src 'self'",
  "img-src 'self' data:",
  "connect-src 'self'",
  "base-uri 'none'",
  "form-action 'none'",
  "frame-ancestors 'none'",
  "require-trusted-types-for 'script'",
  "trusted-types 'none'",
].join('; ');

const INDEX = 'index.html';

/** Answers GET of `/` and of each file beside it. */
export function servePage(files: PageFiles = PAGE_FILES): Router {
  const router = Router();
  for (const [name, content] of Object.entries(files)) {
    const tag = `"${createHash('sha256').update(content).digest('base64url')}"`;
    router.get(name === INDEX ? '/' : `/${name}`, (_request, response) => {
      response.set({
        'Content-Security-Policy': PAGE_POLICY,
        'X-Content-Type-Options': 'nosniff',
        'Referrer-Policy': 'no-referrer',
        'Cross-Origin-Opener-Policy': 'same-origin',
        'Cross-Origin-Resource-Policy': 'same-origin',
        // After an upgrade of the agent the next look shows the new page.
        'Cache-Control': 'no-cache',
        ETag: tag,
      });
      response.type(name).send(content);
    });
  }
  return router;
}
