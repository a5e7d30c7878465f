// A session moves to another port only if the policies of the page and of the new server allow it.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { joinRoom, missing, openPage, startServer, until } from './harness.mjs';

const skip = missing();

const moveTo = (page, url) =>
  page.evaluate(
    (url) =>
      window.signalboxDemo.session.moveTo(url).then(
        () => 'moved',
        (error) => error.reason,
      ),
    url,
  );
const where = (page) => page.evaluate(() => [window.signalboxDemo.session.url, window.signalboxDemo.session.state]);

test('session moves only to a server that lists its origin', { skip }, async (t) => {
  const listed = { args: ['--cors-origin', 'http://127.0.0.1:*'] };
  const closed = await startServer(t);
  const [open, other] = [await startServer(t, listed), await startServer(t, listed)];
  const page = await openPage(t);

  // The page's Content-Security-Policy does not allow the connection.
  await joinRoom(page, closed.url, 'moving', 'Ann');
  assert.equal(await moveTo(page, open.url), 'NETWORK');
  assert.deepEqual(await where(page), [closed.url, 'connected']);
  assert.match(page.errors.join(), /Content Security Policy/);

  // The policy of the page allows it, but the server does not list the origin.
  page.errors.length = 0;
  await joinRoom(page, open.url, 'moving', 'Ann');
  assert.equal(await moveTo(page, closed.url), 'NETWORK');
  assert.deepEqual(await where(page), [open.url, 'connected']);

  // Both allow it. The new server is another process, so the client rejoins as after a restart.
  const id = await page.evaluate(() => window.signalboxDemo.session.me.memberId);
  assert.equal(await moveTo(page, other.url), 'moved');
  const memberId = () => page.evaluate(() => window.signalboxDemo.session.me.memberId);
  await until(
    'the new session',
    async () => (await where(page)).join() === `${other.url},connected` && (await memberId()) !== id,
  );
  assert.deepEqual(page.errors, []);
});
