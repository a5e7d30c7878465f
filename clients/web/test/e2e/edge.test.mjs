import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  allConnected,
  chatReaches,
  joinRoom,
  missing,
  openPage,
  startProxy,
  startServer,
  tileStates,
  until,
  videoFlows,
} from './harness.mjs';

const skip = missing();

test('page on an insecure origin explains the missing camera and works without it', { skip }, async (t) => {
  const server = await startServer(t, { args: ['--allow-anonymous', '--public-name', 'share.test:*'] });
  const args = ['--host-resolver-rules=MAP share.test 127.0.0.1'];
  const [ann, ben] = await Promise.all([openPage(t), openPage(t, { args })]);
  await joinRoom(ann, server.url, 'insecure', 'Ann');
  await joinRoom(ben, `http://share.test:${server.port}`, 'insecure', 'Ben');
  assert.equal(await ben.evaluate(() => window.isSecureContext), false);
  await ben.getByTestId('media-notice').getByText('plain http').waitFor();
  assert.ok(await ben.getByTestId('camera-button').isDisabled());
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  await chatReaches(ann, [ben], 'hello from Ann');
  await chatReaches(ben, [ann], 'hello from Ben');
  // A member without media still receives video.
  await videoFlows(ben);
  await ben.getByTestId('copy-link').click();
  assert.match(await ben.getByTestId('link-field').inputValue(), /^http:\/\/share\.test:\d+\/\?room=insecure$/);
  assert.deepEqual([...ann.errors, ...ben.errors], []);
});

test('page works without camera, or without camera and microphone', { skip }, async (t) => {
  const server = await startServer(t);
  const [denied, blind] = await Promise.all([openPage(t), openPage(t)]);
  await denied.addInitScript(() => {
    window.requests = 0;
    navigator.mediaDevices.getUserMedia = async () => {
      window.requests += 1;
      throw new DOMException('no', 'NotAllowedError');
    };
  });
  await blind.addInitScript(() => {
    const real = MediaDevices.prototype.getUserMedia;
    navigator.mediaDevices.getUserMedia = async (constraints) => {
      if (constraints.video) throw new DOMException('no', 'NotFoundError');
      return real.call(navigator.mediaDevices, constraints);
    };
  });
  await joinRoom(denied, server.url, 'denied', 'Denied');
  await joinRoom(blind, server.url, 'denied', 'Blind');
  await denied.getByTestId('media-notice').getByText('not allowed').waitFor();
  await blind.getByTestId('media-notice').getByText('No camera').waitFor();
  // After a refusal, another request would ask the user again.
  assert.equal(await denied.evaluate(() => window.requests), 1);
  const label = (page, id) => page.getByTestId(id).getAttribute('aria-label');
  assert.equal(await label(denied, 'mic-button'), 'Unmute microphone');
  assert.equal(await label(blind, 'camera-button'), 'Turn camera on');
  assert.equal(await label(blind, 'mic-button'), 'Mute microphone');
  await Promise.all([allConnected(denied, 1), allConnected(blind, 1)]);
  assert.deepEqual([...denied.errors, ...blind.errors], []);
});

test('two members without media connect with a data channel', { skip }, async (t) => {
  const server = await startServer(t, { args: ['--allow-anonymous', '--public-name', 'share.test:*'] });
  const args = ['--host-resolver-rules=MAP share.test 127.0.0.1'];
  const pages = await Promise.all([openPage(t, { args }), openPage(t, { args })]);
  for (const page of pages) await joinRoom(page, `http://share.test:${server.port}`, 'plain', 'Guest');
  await Promise.all(pages.map((page) => allConnected(page, 1)));
  await chatReaches(pages[0], [pages[1]], 'ping');
  await chatReaches(pages[1], [pages[0]], 'pong');
});

test('full room and invalid room name are explained', { skip }, async (t) => {
  const server = await startServer(t, { args: ['--max-members', '1'] });
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await joinRoom(ann, server.url, 'small', 'Ann');
  await ben.goto(`${server.url}/?room=small`);
  await ben.getByTestId('name-input').fill('Ben');
  await ben.getByTestId('join-button').click();
  await ben.getByTestId('join-error').getByText('This room is full').waitFor();
  await ben.getByTestId('room-input').fill('not a room!');
  await ben.getByTestId('join-button').click();
  await ben.getByTestId('join-error').getByText('Invalid room name').waitFor();
  await ben.getByTestId('room-input').fill('another');
  await ben.getByTestId('join-button').click();
  await ben.getByTestId('local-tile').waitFor();
  assert.equal(new URL(ben.url()).search, '?room=another');
});

test('page joins on a click only, also after a reload, and Back leaves', { skip }, async (t) => {
  const server = await startServer(t);
  const page = await openPage(t);
  await page.goto(server.url);
  assert.match(await page.getByTestId('room-input').inputValue(), /^[a-z]+-[a-z]+-[a-z0-9]{10}$/);
  await page.getByTestId('room-input').fill('again');
  await page.getByTestId('name-input').fill('Ann');
  await page.keyboard.press('Enter');
  await page.getByTestId('local-tile').waitFor();
  await page.reload();
  await page.getByTestId('join-button').waitFor();
  assert.equal(await page.getByTestId('room-input').inputValue(), 'again');
  assert.equal(await page.getByTestId('name-input').inputValue(), 'Ann');
  // The server has seen no join of the reloaded page when that of another page is through.
  const other = await openPage(t);
  await joinRoom(other, server.url, 'again', 'Ben');
  assert.equal(await page.evaluate(() => window.signalboxDemo), undefined);
  assert.deepEqual(await tileStates(other), []);
  await page.getByTestId('join-button').click();
  await page.getByTestId('local-tile').waitFor();
  await page.goBack();
  await page.getByTestId('join-button').waitFor();
  assert.equal(await page.evaluate(() => window.signalboxDemo), undefined);
});

test('mute and camera off are shown to the other members', { skip }, async (t) => {
  const server = await startServer(t);
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await joinRoom(ann, server.url, 'mute', 'Ann');
  await joinRoom(ben, server.url, 'mute', 'Ben');
  await allConnected(ann, 1);
  await ben.getByTestId('mic-button').click();
  await ben.getByTestId('camera-button').click();
  const classes = () => ann.getByTestId('member-tile').getAttribute('class');
  await until(
    'both to be shown as off',
    async () => /no-video/.test(await classes()) && /no-audio/.test(await classes()),
  );
  await ben.getByTestId('camera-button').click();
  await until('the camera to be shown as on', async () => !/no-video/.test(await classes()));
  assert.match(await classes(), /no-audio/);
});

test('silent connection is replaced after a timeout, or at once on the online event', {
  skip,
}, async (t) => {
  const server = await startServer(t, { args: ['--heartbeat', '1s'] });
  const proxy = await startProxy(t, server.port);
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  await joinRoom(ann, server.url, 'silent', 'Ann');
  await joinRoom(ben, proxy.url, 'silent', 'Ben');
  await allConnected(ann, 1);
  const events = await ben.evaluateHandle(() => {
    const events = [];
    const { session } = window.signalboxDemo;
    for (const name of ['suspended', 'resumed', 'rejoined', 'ended']) session.on(name, () => events.push(name));
    return events;
  });
  // Longer than the server's silence timeout: heartbeats in both directions keep the session alive.
  const quietUntil = Date.now() + 9_000;
  await until('nine quiet seconds', () => Date.now() > quietUntil);
  assert.deepEqual(await events.jsonValue(), []);

  proxy.freeze();
  const frozen = Date.now();
  await until('the resume', async () => (await events.jsonValue()).at(-1) === 'resumed', 20_000);
  t.diagnostic(`silence noticed and resumed after ${Date.now() - frozen} ms`);
  assert.ok(Date.now() - frozen > 5_000);

  proxy.freeze();
  const again = Date.now();
  await ben.evaluate(() => window.dispatchEvent(new Event('online')));
  await until('the resume', async () => (await events.jsonValue()).length === 4);
  t.diagnostic(`resumed ${Date.now() - again} ms after "online"`);
  assert.ok(Date.now() - again < 5_000);
  assert.deepEqual(await events.jsonValue(), ['suspended', 'resumed', 'suspended', 'resumed']);
  await allConnected(ann, 1);
  await chatReaches(ben, [ann], 'still here');
});

test('failed peer connection is restored by an ICE restart', { skip }, async (t) => {
  const server = await startServer(t);
  const pages = await Promise.all([openPage(t), openPage(t)]);
  for (const page of pages) {
    // Remote candidates are replaced by unreachable ones.
    await page.addInitScript(() => {
      window.unreachable = true;
      const { addIceCandidate } = RTCPeerConnection.prototype;
      RTCPeerConnection.prototype.addIceCandidate = function (init) {
        const [foundation, component, protocol, priority, , , ...rest] = init.candidate.split(' ');
        const elsewhere = [foundation, component, protocol, priority, '192.0.2.99', '9999', ...rest].join(' ');
        const changed = window.unreachable && init.candidate ? { ...init, candidate: elsewhere } : init;
        return addIceCandidate.call(this, changed);
      };
    });
  }
  await joinRoom(pages[0], server.url, 'failing', 'Ann');
  await joinRoom(pages[1], server.url, 'failing', 'Ben');
  const started = Date.now();
  // The state is recorded, because `failed` is brief: ICE restarts at once.
  for (const page of pages) {
    await page.evaluate(() => {
      window.signalboxDemo.mesh.on('peerChanged', ({ state }) => {
        window.hasFailed ||= state === 'failed';
      });
    });
  }
  const failed = async () =>
    (await Promise.all(pages.map((page) => page.evaluate(() => window.hasFailed)))).some(Boolean);
  await until('the connection to fail', failed, 60_000);
  t.diagnostic(`failed after ${Date.now() - started} ms`);
  for (const page of pages) {
    await page.evaluate(() => {
      window.unreachable = false;
    });
  }
  await until('the connection', async () => (await tileStates(pages[0]))[0] === 'connected', 60_000);
  t.diagnostic(`connected after ${Date.now() - started} ms`);
  await allConnected(pages[1], 1);
  await Promise.all(pages.map((page) => videoFlows(page)));
});
