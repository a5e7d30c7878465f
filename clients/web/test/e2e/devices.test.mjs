// The camera and microphone during a call.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allConnected, joinRoom, missing, openPage, startServer, until, videoFlows } from './harness.mjs';

const skip = missing();

/** Records every track that getUserMedia returns in `window.tracks`. */
const recordTracks = (page) =>
  page.addInitScript(() => {
    window.tracks = [];
    const real = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = async function (constraints) {
      const stream = await real.call(this, constraints);
      window.tracks.push(...stream.getTracks());
      return stream;
    };
  });
const attributes = (page) => page.evaluate(() => window.signalboxDemo.session.me.attributes);
const label = (page, id) => page.getByTestId(id).getAttribute('aria-label');
const states = (page, kind) =>
  page.evaluate((kind) => window.tracks.filter((track) => track.kind === kind).map((track) => track.readyState), kind);

async function callOfTwo(t, room, prepare = recordTracks) {
  const server = await startServer(t);
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await prepare(ann);
  await joinRoom(ann, server.url, room, 'Ann');
  await joinRoom(ben, server.url, room, 'Ben');
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  await videoFlows(ben);
  return { server, ann, ben };
}

test('camera that is off is closed, and opened again for members old and new', { skip }, async (t) => {
  const { server, ann, ben } = await callOfTwo(t, 'light');
  await ann.getByTestId('camera-button').click();
  await until('the camera to be closed', async () => (await states(ann, 'video')).join() === 'ended');
  assert.deepEqual(await states(ann, 'audio'), ['live']);
  const sent = () =>
    ann.evaluate(() => {
      const [{ connection }] = window.signalboxDemo.mesh.peers.values();
      return connection.getSenders().filter(({ track }) => track?.kind === 'video').length;
    });
  await until('no picture to be sent', async () => (await sent()) === 0);
  await until('the avatar', async () => /no-video/.test(await ben.getByTestId('member-tile').getAttribute('class')));
  assert.equal((await attributes(ann)).video, 'off');

  const cid = await openPage(t);
  await joinRoom(cid, server.url, 'light', 'Cid');
  await Promise.all([ann, ben, cid].map((page) => allConnected(page, 2)));
  await ann.getByTestId('camera-button').click();
  await until('the camera to be open', async () => (await states(ann, 'video')).join() === 'ended,live');
  await Promise.all([videoFlows(ben), videoFlows(cid)]);
  const tile = (page) => page.locator('[data-testid="member-tile"]', { hasText: 'Ann' });
  for (const page of [ben, cid]) {
    await until('the picture', async () => !/no-video/.test(await tile(page).getAttribute('class')));
  }
  assert.deepEqual([...ann.errors, ...ben.errors, ...cid.errors], []);
});

test('unplugged devices are shown on both sides and can be turned on again', { skip }, async (t) => {
  const { ann, ben } = await callOfTwo(t, 'unplugged');
  await ann.evaluate(() => {
    for (const track of window.tracks) {
      track.stop();
      track.dispatchEvent(new Event('ended'));
    }
  });
  await ann.getByTestId('media-notice').getByText('Your camera and microphone were unplugged').waitFor();
  assert.deepEqual(
    [await label(ann, 'mic-button'), await label(ann, 'camera-button')],
    ['Unmute microphone', 'Turn camera on'],
  );
  const { audio, video } = await attributes(ann);
  assert.deepEqual([audio, video], ['off', 'off']);
  const classes = () => ben.getByTestId('member-tile').getAttribute('class');
  await until('both to be shown as off', async () => /(?=.*no-video)(?=.*no-audio)/.test(await classes()));

  await ann.getByTestId('camera-button').click();
  await ann.getByTestId('mic-button').click();
  await until('both to be shown as on', async () => !/no-video|no-audio/.test(await classes()));
  await videoFlows(ben);
  assert.equal(await ann.getByTestId('media-notice').isVisible(), false);
});

test('shared screen is large for all and ends with its track', { skip }, async (t) => {
  const { ann, ben } = await callOfTwo(t, 'screen');
  await ann.evaluate(() => {
    navigator.mediaDevices.getDisplayMedia = async () => {
      const canvas = document.createElement('canvas');
      canvas.width = 640;
      canvas.height = 480;
      setInterval(() => canvas.getContext('2d').fillRect(Math.random() * 640, 0, 9, 9), 50);
      window.screenStream = canvas.captureStream(10);
      return window.screenStream;
    };
  });
  await ann.getByTestId('screen-button').click();
  await ann.getByTestId('local-screen-tile').waitFor();
  const screen = ben.getByTestId('screen-tile');
  await screen.waitFor();
  assert.match(await screen.getAttribute('class'), /large/);
  assert.equal(await screen.getAttribute('aria-label'), 'Screen of Ann');
  await until('the picture', () => screen.locator('video').evaluate((video) => video.videoWidth === 640));
  await ann.evaluate(() => {
    const [track] = window.screenStream.getTracks();
    track.stop();
    // The event of the browser's own button.
    track.dispatchEvent(new Event('ended'));
  });
  await screen.waitFor({ state: 'detached' });
  await videoFlows(ben);
  assert.equal(await label(ann, 'screen-button'), 'Share your screen');
  assert.deepEqual([...ann.errors, ...ben.errors], []);
});

/** Replaces the microphone by a steady tone, because Chromium's fake one beeps too briefly for a sampled level. */
const replaceMicrophone = (page) =>
  page.addInitScript(() => {
    const real = MediaDevices.prototype.getUserMedia;
    MediaDevices.prototype.getUserMedia = async function (constraints) {
      const stream = await real.call(this, constraints);
      const context = new AudioContext();
      const [tone, output] = [context.createOscillator(), context.createMediaStreamDestination()];
      tone.connect(output);
      tone.start();
      return new MediaStream([...stream.getVideoTracks(), ...output.stream.getAudioTracks()]);
    };
  });

test('tile of a member who speaks is marked, here and there', { skip }, async (t) => {
  const { ann, ben } = await callOfTwo(t, 'speaks', replaceMicrophone);
  const speaking = (page, id) => async () => /speaking/.test(await page.getByTestId(id).getAttribute('class'));
  await until('the member to speak', speaking(ben, 'member-tile'));
  await until('oneself to speak', speaking(ann, 'local-tile'));
  await ann.getByTestId('mic-button').click();
  await until('the member to be silent', async () => !(await speaking(ben, 'member-tile')()));
  await until('oneself to be silent', async () => !(await speaking(ann, 'local-tile')()));
});
