// The mesh in Node with another WebRTC implementation, in a call with a browser.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, openPage, startServer, until } from './harness.mjs';
import { joinMesh, load } from './mesh.mjs';
import { STACKS } from './nativeMember.mjs';

const { needs } = STACKS.find(({ name }) => name === 'werift');
const skip = missing(needs);

test('mesh in Node connects to a browser with an injected implementation', { skip }, async (t) => {
  const { Mesh } = await import('../../dist/lib/index.js');
  const { MediaStream, RTCPeerConnection } = await import(
    '../../../../testing/interop/node_modules/werift/lib/index.mjs'
  );
  const { url } = await startServer(t);
  await assert.rejects(Mesh.join('node', { url }), ({ reason }) => reason === 'UNSUPPORTED');
  const page = await openPage(t);
  await load(page, url);
  await joinMesh(page, 'node', { kinds: [] });
  const webrtc = { MediaStream, RTCPeerConnection };
  const mesh = await Mesh.join('node', { url, webrtc, displayName: 'Node' });
  t.after(() => mesh.leave());
  const received = [];
  mesh.on('message', ({ data }) => received.push(data));
  await until('a connected peer', () => [...mesh.peers.values()].some(({ state }) => state === 'connected'));
  await until('an open channel', () => mesh.broadcast('from Node').length === 0);
  await until('the message', () => page.evaluate(() => window.t.events.includes('message from Node')));
  await page.evaluate(() => window.t.mesh.broadcast('from the page'));
  await until('the message', () => received.includes('from the page'));
});
