// The page beside the API: its files, and what the browser is told of them.
import { once } from 'node:events';
import { createServer, get, type IncomingMessage, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import express from 'express';
import { PAGE_POLICY, servePage } from '../../src/api/page';

describe('the page', () => {
  let server: Server;
  const address = (path: string) => `http://127.0.0.1:${(server.address() as AddressInfo).port}${path}`;
  beforeAll(async () => {
    const app = express().use(servePage({ 'index.html': '<p>page', 'page.js': 'go()' }));
    server = createServer((request, response) => void app(request, response)).listen(0, '127.0.0.1');
    await once(server, 'listening');
  });
  afterAll(() => {
    server.closeAllConnections();
    server.close();
  });

  test('is at the address of the API, with the rules for the browser', async () => {
    const answer = await fetch(address('/'));
    expect([answer.status, await answer.text()]).toEqual([200, '<p>page']);
    expect(answer.headers.get('content-type')).toMatch(/^text\/html/);
    expect(answer.headers.get('content-security-policy')).toBe(PAGE_POLICY);
    expect(answer.headers.get('x-content-type-options')).toBe('nosniff');
    expect((await fetch(address('/page.js'))).headers.get('content-type')).toMatch(/javascript/);
  });

  test('is not sent again where it has not changed', async () => {
    const tag = (await fetch(address('/page.js'))).headers.get('etag') ?? '';
    // fetch would ask for it anew.
    const asked = get(address('/page.js'), { headers: { 'if-none-match': tag }, agent: false });
    const [answer] = (await once(asked, 'response')) as [IncomingMessage];
    expect(answer.statusCode).toBe(304);
    answer.resume();
  });

  test('has no other files', async () => {
    expect((await fetch(address('/../main.js'))).status).toBe(404);
  });

  test.each(['script-src', 'style-src', 'connect-src'])('%s allows what is its own alone', (rule) => {
    expect(PAGE_POLICY).toContain(`${rule} 'self';`);
    expect(PAGE_POLICY).not.toMatch(/unsafe|https?:|\*/);
  });
});
