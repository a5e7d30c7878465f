// With TLS browsers use HTTP/2: pages are secure contexts, and their number is not limited by HTTP/1.1 connections.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allConnected, chatReaches, joinRoom, missing, openPage, startServer } from './harness.mjs';

const skip = missing();
/** More than the six HTTP/1.1 connections that browsers open to a server, of which each page holds one. */
const PAGES = 7;

test('browser opens more pages than HTTP/1.1 would allow', { skip }, async (t) => {
  const { url } = await startServer(t, { args: ['--tls-self-signed'] });
  const args = ['--ignore-certificate-errors'];
  const first = await openPage(t, { args });
  const other = await openPage(t, { args });
  await joinRoom(first, url, 'call', 'Ann');
  await joinRoom(other, url, 'call', 'Ben');
  await allConnected(first, 1);
  for (let index = 1; index < PAGES; index += 1) {
    const page = await first.context().newPage();
    await page.goto(`${url}/?room=room-${index}`);
    // The page remembers the name.
    await page.getByTestId('join-button').click();
    await page.getByTestId('local-tile').waitFor();
  }
  await chatReaches(first, [other], 'with seven pages open');
  const [protocol, secure] = await first.evaluate(() => [
    performance.getEntriesByType('navigation')[0].nextHopProtocol,
    isSecureContext,
  ]);
  assert.deepEqual([protocol, secure], ['h2', true]);
});
