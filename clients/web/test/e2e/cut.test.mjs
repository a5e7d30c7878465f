// Both members lose their connections to the server: once while they exchange candidates, and once during the call.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  allConnected,
  chatReaches,
  joinRoom,
  missing,
  openPage,
  startProxy,
  startServer,
  until,
  videoFlows,
  watchVideo,
} from './harness.mjs';

const skip = missing();
/** Duration of an interruption, in milliseconds. */
const CUT_MS = 5_000;
/** A shorter stall may come from a busy machine. */
const STALL_MS = 2_000;

/**
 * Runs in the page. Records sent and received candidates, and holds those that could connect the call until `sendHeld`.
 * TCP candidates are not held, since they cannot connect two browsers.
 */
function tapCandidates() {
  const tap = { sent: [], received: [], described: 0, held: [], holding: true };
  window.tap = tap;
  const property = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'onicecandidate');
  Object.defineProperty(RTCPeerConnection.prototype, 'onicecandidate', {
    ...property,
    set(handler) {
      property.set.call(this, (event) => {
        const send = () => {
          if (event.candidate?.candidate) tap.sent.push(event.candidate.candidate);
          handler.call(this, event);
        };
        if (tap.holding && event.candidate?.protocol !== 'tcp') tap.held.push(send);
        else send();
      });
    },
  });
  const { addIceCandidate, setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    tap.described += description.sdp.match(/^a=candidate:/gm)?.length ?? 0;
    return setRemoteDescription.call(this, description);
  };
  RTCPeerConnection.prototype.addIceCandidate = function (init) {
    if (init.candidate) tap.received.push(init.candidate);
    return addIceCandidate.call(this, init);
  };
  window.sendHeld = (count) => {
    for (const send of tap.held.splice(0, count)) send();
    tap.holding = count !== Infinity;
  };
}

/** Progress of a page's call. */
function progress(page) {
  return page.evaluate(() => {
    const { session, mesh } = window.signalboxDemo;
    const [{ connection }] = mesh.peers.values();
    const { sent, received, described, held } = window.tap;
    return {
      session: session.state,
      connection: connection.connectionState,
      negotiated: connection.signalingState === 'stable' && connection.remoteDescription !== null,
      described,
      sent: [...sent],
      received: [...received],
      held: held.length,
    };
  });
}

/** Records further session and roster events of a page. */
function record(page) {
  return page.evaluateHandle(() => {
    const events = [];
    const { session } = window.signalboxDemo;
    for (const name of ['suspended', 'resumed', 'rejoined', 'ended', 'memberJoined', 'memberLeft']) {
      session.on(name, () => events.push(name));
    }
    return events;
  });
}

test('no candidate is lost when both connections are interrupted, and media continues', { skip }, async (t) => {
  const server = await startServer(t);
  const proxies = [await startProxy(t, server.port), await startProxy(t, server.port)];
  const pages = await Promise.all([openPage(t), openPage(t)]);
  const both = (what) => Promise.all(pages.map((page, index) => what(page, index)));
  await both((page) => page.addInitScript(tapCandidates));
  await joinRoom(pages[0], proxies[0].url, 'cut', 'Ann');
  await joinRoom(pages[1], proxies[1].url, 'cut', 'Ben');
  await pages[0].getByTestId('member-tile').waitFor();
  const events = await both(record);
  const currentEvents = () => Promise.all(events.map((handle) => handle.jsonValue()));
  const suspended = () => both((page) => page.getByTestId('banner').getByText('is lost').waitFor());

  // Descriptions and the first candidates are exchanged, while the connecting ones are held.
  const exchanging = ({ negotiated, sent, received, held }) =>
    negotiated && sent.length > 0 && received.length > 0 && held > 1;
  await until('the first candidates', async () => (await both(progress)).every(exchanging));
  // With nothing in flight, the next message is sent at once.
  await both((page) => page.evaluate(() => window.signalboxDemo.session.sendData({ text: 'barrier' })));
  // Some candidates are in flight when the connections break.
  const swallowed = proxies.map((proxy) => proxy.swallow());
  await both((page) => page.evaluate(() => window.sendHeld(1)));
  await Promise.all(swallowed);
  for (const proxy of proxies) proxy.cut();
  const beforeCut = await both(progress);
  // The others are sent while disconnected.
  await both((page) => page.evaluate(() => window.sendHeld(Infinity)));
  await suspended();
  await sleep(CUT_MS);
  const disconnected = await both(progress);
  for (const proxy of proxies) proxy.restore();
  for (const [index, { connection, received, described }] of beforeCut.entries()) {
    assert.notEqual(connection, 'connected');
    assert.equal(described, 0, 'all candidates trickle');
    assert.ok(received.length > 0, 'candidates arrived before the interruption');
    assert.deepEqual([disconnected[index].session, disconnected[index].connection], ['suspended', connection]);
    assert.deepEqual(disconnected[index].received, received, 'no candidate arrives while disconnected');
  }
  await both((page) => allConnected(page, 1));
  await both((page) => videoFlows(page));
  // Each candidate arrived once, in the order in which it was sent.
  const everything = ([ann, ben]) =>
    ann.received.length === ben.sent.length && ben.received.length === ann.sent.length && ann.held + ben.held === 0;
  await until('all candidates', async () => everything(await both(progress)));
  const [ann, ben] = await both(progress);
  assert.deepEqual(ann.received, ben.sent);
  assert.deepEqual(ben.received, ann.sent);
  for (const [index, { received }] of [ann, ben].entries()) {
    t.diagnostic(
      `${beforeCut[index].received.length} candidates arrived before the interruption, ${received.length} in all`,
    );
    assert.ok(received.length > beforeCut[index].received.length, 'candidates arrived after the interruption');
  }
  assert.deepEqual(await currentEvents(), Array(2).fill(['suspended', 'resumed']));

  // The second interruption, during the call.
  const endWatch = await both(watchVideo);
  for (const proxy of proxies) proxy.cut();
  await suspended();
  await sleep(CUT_MS);
  assert.deepEqual(
    (await both(progress)).map(({ session }) => session),
    ['suspended', 'suspended'],
  );
  for (const proxy of proxies) proxy.restore();
  await both((page) => page.getByTestId('banner').getByText('Reconnected.').waitFor());
  await both((page) => allConnected(page, 1));
  for (const end of endWatch) {
    const { watchedMs, stalledMs } = await end();
    t.diagnostic(`video watched for ${watchedMs} ms, longest stall ${stalledMs} ms`);
    assert.ok(watchedMs >= CUT_MS && stalledMs < STALL_MS, `no frame for ${stalledMs} of ${watchedMs} ms`);
  }
  await chatReaches(pages[0], [pages[1]], 'still here');
  // Barrier: no earlier event can follow a later entry of the log.
  await both((page, index) => page.evaluate((text) => window.signalboxDemo.session.sendData({ text }), `${index}`));
  assert.deepEqual(await currentEvents(), Array(2).fill(['suspended', 'resumed', 'suspended', 'resumed']));
  assert.deepEqual(
    pages.flatMap((page) => page.errors),
    [],
  );
});
