import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import {
  allConnected,
  chatReaches,
  joinRoom,
  missing,
  openChat,
  openPage,
  startProxy,
  startServer,
  tileStates,
  until,
  videoFlows,
  watchVideo,
} from './harness.mjs';

const skip = missing();
/** Longer than the limit for a video stall, so that a stall would be noticed. */
const DOWN_MS = 4_000;

test('two browsers exchange video and chat, and a closed tab leaves at once', { skip }, async (t) => {
  const server = await startServer(t);
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await joinRoom(ann, server.url, 'two', 'Ann');
  await joinRoom(ben, server.url, 'two', 'Ben');
  const started = Date.now();
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  t.diagnostic(`connected ${Date.now() - started} ms after the second join`);
  await Promise.all([videoFlows(ann), videoFlows(ben)]);
  const path = await ann.getByTestId('member-tile').getAttribute('data-path');
  assert.match(path, /^(host|prflx)\/(host|prflx) (udp|tcp)$/);
  await chatReaches(ann, [ben], 'hello from Ann');
  await chatReaches(ben, [ann], '<b>hello</b> from Ben');
  assert.deepEqual([...ann.errors, ...ben.errors], []);

  await openChat(ann);
  const closed = Date.now();
  await ben.close();
  await ann.getByTestId('chat-log').getByText('Ben left').waitFor();
  assert.equal(await ann.getByTestId('member-tile').count(), 0);
  const took = Date.now() - closed;
  t.diagnostic(`closed tab left after ${took} ms`);
  assert.ok(took < 1_500, `took ${took} ms`);
});

test('three browsers form a mesh, and a leaving member is removed', { skip }, async (t) => {
  const server = await startServer(t);
  const pages = await Promise.all(['a', 'b', 'c'].map(() => openPage(t)));
  for (const [index, page] of pages.entries()) await joinRoom(page, server.url, 'three', `Member ${index}`);
  await Promise.all(pages.map((page) => allConnected(page, 2)));
  await Promise.all(pages.map((page) => videoFlows(page)));
  await chatReaches(pages[0], [pages[1], pages[2]], 'hello all');
  await pages[1].getByTestId('leave-button').click();
  await pages[1].getByTestId('join-button').waitFor();
  await Promise.all([allConnected(pages[0], 1), allConnected(pages[2], 1)]);
  assert.deepEqual(
    pages.flatMap((page) => page.errors),
    [],
  );
});

test('interrupted connection suspends and resumes the member without a leave, and media continues', {
  skip,
}, async (t) => {
  const server = await startServer(t);
  const proxy = await startProxy(t, server.port);
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await joinRoom(ann, server.url, 'cut', 'Ann');
  await joinRoom(ben, proxy.url, 'cut', 'Ben');
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  const events = await ann.evaluateHandle(() => {
    const events = [];
    const { session } = window.signalboxDemo;
    session.on('memberUpdated', (member) => events.push(member.state));
    session.on('memberLeft', () => events.push('left'));
    session.on('memberJoined', () => events.push('joined'));
    return events;
  });
  for (const round of [1, 2]) {
    proxy.cut();
    await ben.getByTestId('banner').getByText('The connection to the server is lost').waitFor();
    await until('the member to be suspended', async () => (await tileStates(ann))[0] === 'suspended');
    assert.equal(await ben.getByTestId('session-state').getAttribute('data-state'), 'suspended');
    await Promise.all([videoFlows(ann), videoFlows(ben)]);
    proxy.restore();
    await ben.getByTestId('banner').getByText('Reconnected.').waitFor();
    await allConnected(ann, 1);
    await Promise.all([videoFlows(ann), videoFlows(ben)]);
    await chatReaches(ben, [ann], `back again, round ${round}`);
  }
  assert.deepEqual(await events.jsonValue(), ['suspended', 'connected', 'suspended', 'connected']);
  assert.deepEqual([...ann.errors, ...ben.errors], []);
});

test('members rejoin after a server crash, and media continues throughout', { skip }, async (t) => {
  const server = await startServer(t);
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await joinRoom(ann, server.url, 'restart', 'Ann');
  await joinRoom(ben, server.url, 'restart', 'Ben');
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  const mark = (page) =>
    page.evaluate(() => {
      const [peer] = window.signalboxDemo.mesh.peers.values();
      window.before = peer.connection;
      return window.signalboxDemo.session.me.memberId;
    });
  const before = [await mark(ann), await mark(ben)];
  const endWatch = await Promise.all([watchVideo(ann), watchVideo(ben)]);
  await server.stop('SIGKILL');
  for (const page of [ann, ben]) await page.getByTestId('banner').getByText('is lost').waitFor();
  await Promise.all([videoFlows(ann), videoFlows(ben)]);
  await sleep(DOWN_MS);
  await startServer(t, { port: server.port });
  for (const page of [ann, ben]) await page.getByTestId('session-state').getByText('Connected').waitFor();
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  for (const [index, page] of [ann, ben].entries()) {
    const { memberId, same, state } = await page.evaluate(() => {
      const { session, mesh } = window.signalboxDemo;
      const [peer] = mesh.peers.values();
      return { memberId: session.me.memberId, same: peer.connection === window.before, state: session.state };
    });
    assert.notEqual(memberId, before[index]);
    assert.ok(same, 'the RTCPeerConnection is kept');
    assert.equal(state, 'connected');
  }
  await Promise.all([videoFlows(ann), videoFlows(ben)]);
  for (const end of endWatch) {
    const { watchedMs, stalledMs } = await end();
    t.diagnostic(`video watched for ${watchedMs} ms, longest stall ${stalledMs} ms`);
    assert.ok(watchedMs > DOWN_MS && stalledMs < 2_000, `no frame for ${stalledMs} of ${watchedMs} ms`);
  }
  await chatReaches(ann, [ben], 'still here');
  // Negotiation works with the new member_ids.
  const ufrag = (page, side) =>
    page.evaluate((side) => {
      const { connection } = [...window.signalboxDemo.mesh.peers.values()][0];
      return /ice-ufrag:(.*)/.exec(connection[side].sdp)[1].trim();
    }, side);
  const old = await ufrag(ann, 'localDescription');
  await ann.evaluate(() => [...window.signalboxDemo.mesh.peers.values()][0].connection.restartIce());
  await until('the new description at the remote peer', async () => {
    const now = await ufrag(ann, 'localDescription');
    return now !== old && (await ufrag(ben, 'remoteDescription')) === now;
  });
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  assert.deepEqual([...ann.errors, ...ben.errors], []);
});

test('simultaneous renegotiations converge', { skip }, async (t) => {
  const server = await startServer(t);
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await joinRoom(ann, server.url, 'glare', 'Ann');
  await joinRoom(ben, server.url, 'glare', 'Ben');
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  const renegotiate = (page) =>
    page.evaluate(async () => {
      const [peer] = window.signalboxDemo.mesh.peers.values();
      for (let i = 0; i < 8; i += 1) {
        if (i % 2 === 0) peer.connection.restartIce();
        else peer.connection.addTransceiver('audio', { direction: 'inactive' });
        await new Promise((resolve) => setTimeout(resolve, Math.random() * 60));
      }
    });
  const warnings = [ann, ben].map((page) =>
    page.evaluateHandle(() => {
      const errors = [];
      window.signalboxDemo.mesh.on('warning', ({ error }) => errors.push(String(error)));
      return errors;
    }),
  );
  await Promise.all([renegotiate(ann), renegotiate(ben)]);
  const state = (page) =>
    page.evaluate(() => {
      const { connection } = [...window.signalboxDemo.mesh.peers.values()][0];
      const lines = connection.getTransceivers().length;
      return `${connection.signalingState} ${connection.connectionState} ${lines}`;
    });
  await until('both to agree', async () => {
    const [a, b] = [await state(ann), await state(ben)];
    // Two m-lines of the call, and four added by each peer.
    return a === b && a === 'stable connected 10';
  });
  await Promise.all([videoFlows(ann), videoFlows(ben)]);
  for (const errors of await Promise.all(warnings)) assert.deepEqual(await errors.jsonValue(), []);
});
