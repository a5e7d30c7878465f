// A call of Chromium, Firefox and a late Chromium, in which devices and publications change. After each step, what each
// member sees is checked.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FIREFOX, missing, openFirefox, openPage, startServer, until } from './harness.mjs';
import { joinMesh, load } from './mesh.mjs';

const skip = missing(FIREFOX);

/** The tracks that a page has from each connected peer, by display name. */
const seenBy = (page) =>
  page.evaluate(() => {
    const peers = [...window.t.mesh.peers.values()].filter(({ state }) => state === 'connected');
    const text = ({ kind, label, muted }) => `${kind} ${label}${muted ? ' muted' : ''}`;
    return Object.fromEntries(peers.map(({ member, tracks }) => [member.displayName, tracks.map(text).sort()]));
  });

async function sees(page, what, expected) {
  let seen;
  try {
    await until(what, async () => {
      seen = await seenBy(page);
      return JSON.stringify(seen) === JSON.stringify(expected);
    });
  } catch (error) {
    throw new Error(`${error.message}: ${JSON.stringify(seen)} instead of ${JSON.stringify(expected)}`);
  }
}

/** Number of decoded frames of each video from a peer. */
const framesFrom = (page, name) =>
  page.evaluate(async (name) => {
    const peer = [...window.t.mesh.peers.values()].find(({ member }) => member.displayName === name);
    return window.t.frames(peer);
  }, name);

async function videosFlow(page, name, count) {
  const before = await framesFrom(page, name);
  await until(`${count} videos of ${name}`, async () => {
    const now = await framesFrom(page, name);
    return now.filter((frames, index) => frames > (before[index] ?? 0) + 2).length === count;
  });
}

/** A drawn video of the given width, which is easy to tell from the camera. */
const drawVideo = (page, name, width) =>
  page.evaluate(
    ({ name, width }) => {
      const canvas = Object.assign(document.createElement('canvas'), { width, height: 90 });
      const context = canvas.getContext('2d');
      setInterval(() => context.fillRect(Math.random() * width, 0, 40, 40), 60);
      [window.t[name]] = canvas.captureStream(15).getVideoTracks();
    },
    { name, width },
  );

const MEDIA = ['audio media', 'video media'];

test('Chromium and Firefox see what the others publish, at each step', { skip }, async (t) => {
  const { url } = await startServer(t);
  const [ann, ben, cid] = await Promise.all([openPage(t), openFirefox(t), openPage(t)]);
  for (const page of [ann, ben, cid]) await load(page, url);
  await joinMesh(ann, 'three', { displayName: 'Ann' });
  await joinMesh(ben, 'three', { displayName: 'Ben' });
  await sees(ann, 'the media of Ben', { Ben: MEDIA });
  await sees(ben, 'the media of Ann', { Ann: MEDIA });
  await Promise.all([videosFlow(ann, 'Ben', 1), videosFlow(ben, 'Ann', 1)]);

  // Another camera.
  await drawVideo(ann, 'other', 160);
  await ann.evaluate(() => window.t.mesh.publications[0].replace(window.t.other));
  const width = () =>
    ben.evaluate(async () => {
      const stats = [...(await window.t.peer().connection.getStats()).values()];
      return stats.find(({ type, kind }) => type === 'inbound-rtp' && kind === 'video').frameWidth;
    });
  await until('the other camera', async () => (await width()) === 160);
  await sees(ben, 'the same tracks', { Ann: MEDIA });

  // A shared screen, and a member that joins late.
  await drawVideo(ann, 'screenTrack', 320);
  await ann.evaluate(() => {
    window.t.screen = window.t.mesh.publish(window.t.screenTrack, { label: 'screen' });
  });
  const withScreen = [...MEDIA, 'video screen'];
  await sees(ben, 'the screen', { Ann: withScreen });
  await joinMesh(cid, 'three', { displayName: 'Cid' });
  await sees(cid, 'all media', { Ann: withScreen, Ben: MEDIA });
  await sees(ben, 'the media of Cid', { Ann: withScreen, Cid: MEDIA });
  await Promise.all([videosFlow(cid, 'Ann', 2), videosFlow(cid, 'Ben', 1), videosFlow(ben, 'Ann', 2)]);

  // Muted, and the screen off and on again.
  await ann.evaluate(() => window.t.mesh.publications[0].setMuted(true, 'audio'));
  const muted = ['audio media muted', 'video media'];
  await sees(ben, 'the muted microphone', { Ann: [...muted, 'video screen'], Cid: MEDIA });
  await ann.evaluate(() => window.t.screen.unpublish());
  await sees(ben, 'the end of the screen', { Ann: muted, Cid: MEDIA });
  await sees(cid, 'the end of the screen', { Ann: muted, Ben: MEDIA });
  const lines = () => ann.evaluate(() => window.t.peer().connection.getTransceivers().length);
  const before = await lines();
  await ann.evaluate(() => {
    window.t.screen = window.t.mesh.publish(window.t.screenTrack, { label: 'screen' });
  });
  await sees(cid, 'the screen again', { Ann: [...muted, 'video screen'], Ben: MEDIA });
  await videosFlow(cid, 'Ann', 2);
  assert.equal(await lines(), before, 'the m-line of the screen is used again');

  // A camera that is unplugged, and one that takes its place.
  await ben.evaluate(async () => {
    window.t.stream.getVideoTracks()[0].stop();
    await window.t.mesh.publications[0].replace(null, 'video');
  });
  const still = await framesFrom(ann, 'Ben');
  await videosFlow(ann, 'Cid', 1);
  assert.ok((await framesFrom(ann, 'Ben'))[0] - still[0] < 5, 'the picture of Ben stands still');
  await ben.evaluate(async () => {
    const stream = await navigator.mediaDevices.getUserMedia({ video: true });
    await window.t.mesh.publications[0].replace(stream.getVideoTracks()[0]);
  });
  await videosFlow(ann, 'Ben', 1);

  // A member that loads its page again.
  await load(ben, url);
  await joinMesh(ben, 'three', { displayName: 'Ben again' });
  await sees(ben, 'all media after the reload', { Ann: [...muted, 'video screen'], Cid: MEDIA });
  await sees(ann, 'the member that came again', { Cid: MEDIA, 'Ben again': MEDIA });
  await sees(cid, 'the member that came again', { Ann: [...muted, 'video screen'], 'Ben again': MEDIA });
  await Promise.all([videosFlow(ben, 'Ann', 2), videosFlow(cid, 'Ben again', 1)]);
  for (const page of [ann, cid]) assert.deepEqual(await page.evaluate(() => window.t.warnings), []);
});
