// The lobby: permission, preview, devices, and ways in and out.

import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { allConnected, joinRoom, missing, openPage, startServer, until } from './harness.mjs';

const skip = missing();

/** Replaces getUserMedia. `window.requests` counts the calls. */
const replaceUserMedia = (page, answer) =>
  page.addInitScript(`
    window.requests = 0;
    const real = MediaDevices.prototype.getUserMedia.bind(navigator.mediaDevices);
    navigator.mediaDevices.getUserMedia = (constraints) => {
      window.requests += 1;
      return (${answer})(constraints, real);
    };
  `);
/** Opens the preview, unless it opens by itself because the browser has the permission. */
async function openPreview(page) {
  const button = page.getByTestId('preview-open');
  if (await button.isVisible()) await button.click();
}
const requests = (page) => page.evaluate(() => window.requests);

test('open permission prompt leaves ways to join and to cancel', { skip }, async (t) => {
  const server = await startServer(t);
  const page = await openPage(t);
  await replaceUserMedia(
    page,
    '(_, real) => new Promise((resolve) => { window.answer = () => resolve(real({ video: true, audio: true })); })',
  );
  await page.goto(`${server.url}/?room=prompt`);
  await page.getByTestId('name-input').fill('Ann');
  await page.getByTestId('join-button').click();
  const without = page.getByTestId('join-without');
  await without.waitFor();
  await page.getByTestId('join-status').getByText('Answer the question of your browser').waitFor();
  await page.getByTestId('cancel-join').click();
  await without.waitFor({ state: 'hidden' });
  assert.equal(await page.getByTestId('join-button').textContent(), 'Join');

  await page.getByTestId('join-button').click();
  await without.click();
  await page.getByTestId('local-tile').waitFor();
  assert.equal(await requests(page), 1);
  const labels = () =>
    Promise.all(['mic-button', 'camera-button'].map((id) => page.getByTestId(id).getAttribute('aria-label')));
  assert.deepEqual(await labels(), ['Unmute microphone', 'Turn camera on']);
  // An answer that comes too late turns nothing on.
  await page.evaluate(() => window.answer());
  const other = await openPage(t);
  await joinRoom(other, server.url, 'prompt', 'Ben');
  await allConnected(page, 1);
  assert.deepEqual(await labels(), ['Unmute microphone', 'Turn camera on']);
  assert.deepEqual(page.errors, []);
});

test('refused permission asks once and joins without', { skip }, async (t) => {
  const server = await startServer(t);
  const page = await openPage(t);
  await replaceUserMedia(page, "() => Promise.reject(new DOMException('no', 'NotAllowedError'))");
  await joinRoom(page, server.url, 'refused', 'Ann');
  assert.equal(await requests(page), 1);
  await page.getByTestId('media-notice').getByText('Camera and microphone are not allowed for this page').waitFor();
  // The user may have allowed it since.
  await page.getByTestId('mic-button').click();
  await until('another request', async () => (await requests(page)) === 2);
});

test('preview shows the camera and the level, and muted devices stay off', { skip }, async (t) => {
  const server = await startServer(t);
  const [page, other] = await Promise.all([openPage(t), openPage(t)]);
  await page.goto(`${server.url}/?room=preview`);
  await openPreview(page);
  await until('the preview', () =>
    page.getByTestId('preview-video').evaluate((video) => video.videoWidth > 0 && !video.paused),
  );
  // Chromium's fake microphone beeps once a second.
  await until('the level', () => page.getByTestId('level').evaluate((meter) => meter.value > 0));
  const choices = (id) => page.getByTestId(id).evaluate((select) => select.options.length);
  await until('the microphones', async () => (await choices('choose-audio')) > 1);
  assert.ok((await choices('choose-video')) > 0);

  await page.getByTestId('lobby-mic').click();
  await page.getByTestId('lobby-camera').click();
  await page.getByTestId('preview-text').getByText('Your camera is off.').waitFor();
  await page.getByTestId('name-input').fill('Ann');
  await page.getByTestId('join-button').click();
  await page.getByTestId('local-tile').waitFor();
  await joinRoom(other, server.url, 'preview', 'Ben');
  await allConnected(other, 1);
  assert.match(await other.getByTestId('member-tile').getAttribute('class'), /(?=.*no-video)(?=.*no-audio)/);
  const attributes = await page.evaluate(() => window.signalboxDemo.session.me.attributes);
  assert.deepEqual([attributes.audio, attributes.video], ['off', 'off']);
  // Both can be turned on in the call.
  await page.getByTestId('camera-button').click();
  await page.getByTestId('mic-button').click();
  await until('picture and sound', async () => {
    const classes = await other.getByTestId('member-tile').getAttribute('class');
    return !/no-video|no-audio/.test(classes);
  });
  assert.deepEqual([...page.errors, ...other.errors], []);
});

test('chosen device is used and remembered', { skip }, async (t) => {
  const server = await startServer(t);
  const page = await openPage(t, { args: ['--use-fake-device-for-media-stream=fps=10,device-count=2'] });
  await page.goto(`${server.url}/?room=devices`);
  await openPreview(page);
  const select = page.getByTestId('choose-video');
  const devices = () => select.evaluate((select) => [...select.options].map(({ value }) => value));
  await until('two cameras', async () => (await devices()).length === 2);
  const used = () =>
    page
      .getByTestId('preview-video')
      .evaluate(({ srcObject }) => srcObject?.getVideoTracks()[0]?.getSettings().deviceId);
  const first = await until('the preview', used);
  const next = (await devices()).find((device) => device !== first);
  await select.selectOption(next);
  await until('the other camera', async () => (await used()) === next);
  await page.getByTestId('name-input').fill('Ann');
  await page.getByTestId('join-button').click();
  await page.getByTestId('local-tile').waitFor();
  await page.reload();
  await page.getByTestId('join-button').waitFor();
  await openPreview(page);
  await until('the remembered camera', async () => (await used()) === next);
  // A camera that is gone does not matter.
  await page.evaluate(() => localStorage.setItem('signalbox.video', 'gone'));
  await page.reload();
  await page.getByTestId('join-button').waitFor();
  await openPreview(page);
  await until('another camera', used);
});

test('a join that the server does not answer can be cancelled', { skip }, async (t) => {
  const server = await startServer(t);
  const page = await openPage(t);
  await page.goto(`${server.url}/?room=silent`);
  await page.getByTestId('name-input').fill('Ann');
  await server.stop();
  const silent = createServer(() => {}).listen(server.port, '127.0.0.1');
  t.after(() => silent.close());
  await page.getByTestId('join-button').click();
  await page.getByTestId('join-status').getByText('The server does not respond yet').waitFor();
  await page.getByTestId('cancel-join').click();
  await until('the form', async () => (await page.getByTestId('join-button').textContent()) === 'Join');
  assert.ok(await page.getByTestId('join-error').isHidden());
  assert.ok(await page.getByTestId('cancel-join').isHidden());
});
