// A session moves to another port only where both its page and the server there are set so.

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

test('a session moves where every port of its host is listed, and nowhere else', { skip }, async (t) => {
  const listed = { args: ['--cors-origin', 'http://127.0.0.1:*'] };
  const closed = await startServer(t);
  const [open, other] = [await startServer(t, listed), await startServer(t, listed)];
  const page = await openPage(t);

  // The page may not connect there, whoever may call.
  await joinRoom(page, closed.url, 'moving', 'Ann');
  assert.equal(await moveTo(page, open.url), 'NETWORK');
  assert.deepEqual(await where(page), [closed.url, 'connected']);
  assert.match(page.errors.join(), /Content Security Policy/);

  // The page may, but not call.
  page.errors.length = 0;
  await joinRoom(page, open.url, 'moving', 'Ann');
  assert.equal(await moveTo(page, closed.url), 'NETWORK');
  assert.deepEqual(await where(page), [open.url, 'connected']);

  // Both may. It is another process here, and so as after a restart: a new session.
  const id = await page.evaluate(() => window.signalboxDemo.session.me.memberId);
  assert.equal(await moveTo(page, other.url), 'moved');
  const memberId = () => page.evaluate(() => window.signalboxDemo.session.me.memberId);
  await until(
    'a session there',
    async () => (await where(page)).join() === `${other.url},connected` && (await memberId()) !== id,
  );
  assert.deepEqual(page.errors, []);
});
