// Over TLS browsers speak HTTP/2: pages are secure, and there may be more of them than HTTP/1.1 has connections.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allConnected, chatReaches, joinRoom, missing, openPage, startServer } from './harness.mjs';

const skip = missing();
/** Browsers have six connections to a server over HTTP/1.1, and each page holds one. */
const PAGES = 7;

test('a call, and more pages than HTTP/1.1 allows', { skip }, async (t) => {
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
    // The page knows the name by now, and joins by itself.
    await page.getByTestId('local-tile').waitFor();
  }
  await chatReaches(first, [other], 'past the sixth page');
  const [protocol, secure] = await first.evaluate(() => [
    performance.getEntriesByType('navigation')[0].nextHopProtocol,
    isSecureContext,
  ]);
  assert.deepEqual([protocol, secure], ['h2', true]);
});
