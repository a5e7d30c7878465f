// Both members' connections to the server are cut at once: while they exchange candidates, and during the call.

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
/** How long a cut lasts, in milliseconds. */
const CUT_MS = 5_000;
/** Video that stands still for so long has stopped; less is a busy machine. */
const STALL_MS = 2_000;

/**
 * To run in a page: notes which candidates are said and which arrive, and keeps those back that could connect the
 * call (all but TCP ones, by which browsers do not reach each other) until `sayMore` lets them go.
 */
function tapCandidates() {
  const tap = { said: [], arrived: [], described: 0, held: [], holding: true };
  window.tap = tap;
  const property = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'onicecandidate');
  Object.defineProperty(RTCPeerConnection.prototype, 'onicecandidate', {
    ...property,
    set(handler) {
      property.set.call(this, (event) => {
        const say = () => {
          if (event.candidate?.candidate) tap.said.push(event.candidate.candidate);
          handler.call(this, event);
        };
        if (tap.holding && event.candidate?.protocol !== 'tcp') tap.held.push(say);
        else say();
      });
    },
  });
  const { addIceCandidate, setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    tap.described += description.sdp.match(/^a=candidate:/gm)?.length ?? 0;
    return setRemoteDescription.call(this, description);
  };
  RTCPeerConnection.prototype.addIceCandidate = function (init) {
    if (init.candidate) tap.arrived.push(init.candidate);
    return addIceCandidate.call(this, init);
  };
  window.sayMore = (count) => {
    for (const say of tap.held.splice(0, count)) say();
    tap.holding = count !== Infinity;
  };
}

/** How far a page's call has come. */
function progress(page) {
  return page.evaluate(() => {
    const { session, mesh } = window.signalboxDemo;
    const [{ connection }] = mesh.peers.values();
    const { said, arrived, described, held } = window.tap;
    return {
      session: session.state,
      connection: connection.connectionState,
      negotiated: connection.signalingState === 'stable' && connection.remoteDescription !== null,
      described,
      said: [...said],
      arrived: [...arrived],
      held: held.length,
    };
  });
}

/** Everything that a page is told from now on about its own connection and about who comes and goes. */
function record(page) {
  return page.evaluateHandle(() => {
    const told = [];
    const { session } = window.signalboxDemo;
    for (const name of ['suspended', 'resumed', 'rejoined', 'ended', 'memberJoined', 'memberLeft']) {
      session.on(name, () => told.push(name));
    }
    return told;
  });
}

test('both connections are cut for 5 s amid the candidates, and again during the call', { skip }, async (t) => {
  const server = await startServer(t);
  const proxies = [await startProxy(t, server.port), await startProxy(t, server.port)];
  const pages = await Promise.all([openPage(t), openPage(t)]);
  const both = (what) => Promise.all(pages.map((page, index) => what(page, index)));
  await both((page) => page.addInitScript(tapCandidates));
  await joinRoom(pages[0], proxies[0].url, 'cut', 'Ann');
  await joinRoom(pages[1], proxies[1].url, 'cut', 'Ben');
  await pages[0].getByTestId('member-tile').waitFor();
  const told = await both(record);
  const toldNow = () => Promise.all(told.map((handle) => handle.jsonValue()));
  const suspended = () => both((page) => page.getByTestId('banner').getByText('is lost').waitFor());

  // The descriptions and the first candidates have passed, both ways; those that matter are still to come.
  const exchanging = ({ negotiated, said, arrived, held }) =>
    negotiated && said.length > 0 && arrived.length > 0 && held > 1;
  await until('the first candidates', async () => (await both(progress)).every(exchanging));
  // With nothing in flight, the next thing said goes out at once.
  await both((page) => page.evaluate(() => window.signalboxDemo.session.sendData({ text: 'barrier' })));
  // Some more are under way when the connections break,
  const swallowed = proxies.map((proxy) => proxy.swallow());
  await both((page) => page.evaluate(() => window.sayMore(1)));
  await Promise.all(swallowed);
  for (const proxy of proxies) proxy.cut();
  const cut = await both(progress);
  // and the rest is said while there is no connection.
  await both((page) => page.evaluate(() => window.sayMore(Infinity)));
  await suspended();
  await sleep(CUT_MS);
  const apart = await both(progress);
  for (const proxy of proxies) proxy.restore();
  for (const [index, { connection, arrived, described }] of cut.entries()) {
    assert.notEqual(connection, 'connected');
    assert.equal(described, 0, 'all candidates trickle');
    assert.ok(arrived.length > 0, 'candidates have arrived before the cut');
    assert.deepEqual([apart[index].session, apart[index].connection], ['suspended', connection]);
    assert.deepEqual(apart[index].arrived, arrived, 'nothing arrives while the connections are cut');
  }
  await both((page) => allConnected(page, 1));
  await both((page) => videoFlows(page));
  // Each candidate of before, amid and after the cut has arrived once, in the order in which it was said.
  const everything = ([ann, ben]) =>
    ann.arrived.length === ben.said.length && ben.arrived.length === ann.said.length && ann.held + ben.held === 0;
  await until('all candidates', async () => everything(await both(progress)));
  const [ann, ben] = await both(progress);
  assert.deepEqual(ann.arrived, ben.said);
  assert.deepEqual(ben.arrived, ann.said);
  for (const [index, { arrived }] of [ann, ben].entries()) {
    t.diagnostic(`${cut[index].arrived.length} candidates arrived before the cut, ${arrived.length} in all`);
    assert.ok(arrived.length > cut[index].arrived.length, 'candidates have arrived after the cut');
  }
  assert.deepEqual(await toldNow(), Array(2).fill(['suspended', 'resumed']));

  // And again, in the middle of the call.
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
    t.diagnostic(`video watched for ${watchedMs} ms, longest time without a frame ${stalledMs} ms`);
    assert.ok(watchedMs >= CUT_MS && stalledMs < STALL_MS, `no frame for ${stalledMs} of ${watchedMs} ms`);
  }
  await chatReaches(pages[0], [pages[1]], 'still here');
  // Barrier: a later entry of each log, after which nothing of before can come.
  await both((page, index) => page.evaluate((text) => window.signalboxDemo.session.sendData({ text }), `${index}`));
  assert.deepEqual(await toldNow(), Array(2).fill(['suspended', 'resumed', 'suspended', 'resumed']));
  assert.deepEqual(
    pages.flatMap((page) => page.errors),
    [],
  );
});
