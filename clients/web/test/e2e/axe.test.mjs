// Accessibility rules of axe-core on every view of the page.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { test } from 'node:test';
import { allConnected, chatReaches, joinRoom, missing, openPage, startProxy, startServer } from './harness.mjs';

const skip = missing();
const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8');

/** Fails with the violations of the current view. */
async function check(page, view) {
  // The Content-Security-Policy forbids injected script elements, but not those of the developer tools.
  await page.evaluate(AXE);
  const violations = await page.evaluate(async () => {
    const { violations } = await window.axe.run();
    return violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html.slice(0, 120)).join(' | ')}`);
  });
  assert.deepEqual(violations, [], view);
}

for (const colorScheme of ['light', 'dark']) {
  for (const viewport of [
    { width: 1280, height: 800 },
    { width: 390, height: 844 },
  ]) {
    test(`no violations in the ${colorScheme} scheme at ${viewport.width} px`, { skip }, async (t) => {
      const server = await startServer(t);
      const proxy = await startProxy(t, server.port);
      const [ann, ben] = await Promise.all([openPage(t, { viewport, colorScheme }), openPage(t)]);
      await ann.goto(`${proxy.url}/?room=axe`);
      await check(ann, 'lobby');
      await ann.getByTestId('room-input').fill('not a room!');
      await ann.getByTestId('join-button').click();
      await check(ann, 'invalid room');
      await joinRoom(ann, proxy.url, 'axe', 'Ann');
      await check(ann, 'alone');
      await joinRoom(ben, server.url, 'axe', 'Ben');
      await allConnected(ann, 1);
      await check(ann, 'call of two');
      await chatReaches(ben, [ann], 'hello, see https://example.org');
      await chatReaches(ann, [ben], 'hello');
      await check(ann, 'chat');
      await ann.getByTestId('details-button').click();
      await check(ann, 'details');
      await ann.getByTestId('mic-button').click();
      await ann.getByTestId('camera-button').click();
      await ann.getByTestId('local-tile').locator('.avatar').waitFor();
      await check(ann, 'muted, camera off');
      const cid = await openPage(t);
      await joinRoom(cid, server.url, 'axe', 'Cid');
      await allConnected(ann, 2);
      await check(ann, 'call of three');
      proxy.cut();
      await ann.getByTestId('banner').getByText('is lost').waitFor();
      await check(ann, 'reconnecting');
      proxy.restore();
      await ann.getByTestId('banner').getByText('Reconnected.').waitFor();
      await check(ann, 'reconnected');
      await server.stop();
      await ann.getByTestId('leave-button').click();
      await ann.getByTestId('join-button').waitFor();
      await ann.getByTestId('join-button').click();
      await ann.getByTestId('join-error').waitFor();
      await check(ann, 'failure');
    });
  }
}
