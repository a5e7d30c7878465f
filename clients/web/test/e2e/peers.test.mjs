// Peer connections in Chromium with peers, networks and browsers that do not do what one hopes for.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, openPage, startServer, until } from './harness.mjs';
import { joinMesh, load, peerStates } from './mesh.mjs';

const skip = missing();

/** Pages with the library on one server. */
async function pages(t, count) {
  const server = await startServer(t);
  const opened = await Promise.all(Array.from({ length: count }, () => openPage(t)));
  for (const page of opened) await load(page, server.url);
  return opened;
}

/** Waits until each of the pages is connected to all others. */
async function connected(...pages) {
  for (const page of pages) {
    await until('connected peers', async () => {
      const states = await peerStates(page);
      return states.length === pages.length - 1 && states.every((state) => state === 'connected');
    });
  }
}

/** Waits until both ends agree on a number of m-lines, all of which have a mid. */
async function agreed(pages, lines) {
  const state = (page) =>
    page.evaluate(() => {
      const { connection } = window.t.peer();
      const mids = connection.getTransceivers().filter(({ mid }) => mid !== null).length;
      return `${connection.signalingState} ${mids} of ${connection.getTransceivers().length}`;
    });
  const wanted = `stable ${lines} of ${lines}`;
  for (const page of pages) await until(wanted, async () => (await state(page)) === wanted, 30_000);
}

const framesFlow = async (page) => {
  const before = await page.evaluate(() => window.t.frames());
  await until('frames', async () => {
    const now = await page.evaluate(() => window.t.frames());
    return now.length > 0 && now.every((count, index) => count >= (before[index] ?? 0) + 3);
  });
};

test('renegotiation keeps the connection when fingerprints are written differently', { skip }, async (t) => {
  const [ann, ben] = await pages(t, 2);
  await joinMesh(ann, 'room');
  await joinMesh(ben, 'room');
  await ben.evaluate(() => {
    const { session } = window.t.mesh;
    for (const name of ['sendOffer', 'sendAnswer']) {
      const send = session[name].bind(session);
      session[name] = (to, sdp, number) =>
        send(to, sdp.replaceAll('fingerprint:sha-256', 'fingerprint:SHA-256'), number);
    }
  });
  await connected(ann, ben);
  for (const page of [ann, ben]) {
    await page.evaluate(() => {
      window.t.before = window.t.peer().connection;
      window.t.before.addTransceiver('audio');
    });
    await agreed([ann, ben], page === ann ? 3 : 4);
  }
  for (const page of [ann, ben]) {
    assert.ok(await page.evaluate(() => window.t.peer().connection === window.t.before));
    assert.deepEqual(await page.evaluate(() => window.t.warnings), []);
  }
});

test('offers leave the DTLS role open', { skip }, async (t) => {
  const [ann, ben] = await pages(t, 2);
  for (const page of [ann, ben]) {
    await joinMesh(page, 'room');
    await page.evaluate(() => {
      const { session } = window.t.mesh;
      const send = session.sendOffer.bind(session);
      window.t.roles = [];
      session.sendOffer = (to, sdp, number) => {
        window.t.roles.push(...sdp.match(/a=setup:\w+/g));
        return send(to, sdp, number);
      };
    });
  }
  await connected(ann, ben);
  for (const [index, page] of [ann, ben].entries()) {
    await page.evaluate(() => window.t.peer().connection.restartIce());
    await page.evaluate(() => window.t.peer().connection.addTransceiver('audio'));
    await agreed([ann, ben], 3 + index);
    const roles = await page.evaluate(() => window.t.roles);
    assert.ok(roles.length > 0 && roles.every((role) => role === 'a=setup:actpass'), String(roles));
  }
  await Promise.all([framesFlow(ann), framesFlow(ben)]);
});

for (const [who, failing, first, times] of [
  ['later joiner rejects an offer', 1, 0, 1],
  ['earlier joiner rejects an offer', 0, 1, 1],
  ['later joiner rejects every offer on this connection', 1, 0, Number.POSITIVE_INFINITY],
  ['earlier joiner cannot apply an answer', 0, 0, 2],
  ['later joiner cannot apply an answer', 1, 1, 2],
]) {
  test(`negotiation recovers when the ${who}`, { skip }, async (t) => {
    const both = await pages(t, 2);
    for (const page of both) await joinMesh(page, 'room');
    await connected(...both);
    await both[failing].evaluate((times) => {
      const { connection } = window.t.peer();
      let left = times;
      connection.setRemoteDescription = (description) => {
        left -= 1;
        if (left >= 0) return Promise.reject(new Error('rejected for the test'));
        return RTCPeerConnection.prototype.setRemoteDescription.call(connection, description);
      };
    }, times);
    await both[first].evaluate(() => window.t.peer().connection.addTransceiver('audio'));
    await until('the failure', async () => {
      const warnings = await both[failing].evaluate(() => window.t.warnings);
      return warnings.some((warning) => warning.includes('rejected for the test'));
    });
    await both[1 - first].evaluate(() => window.t.peer().connection.addTransceiver('audio'));
    await agreed(both, 4);
    await connected(...both);
    await Promise.all(both.map(framesFlow));
  });
}

test('new connection with the same certificate replaces the old one', { skip }, async (t) => {
  const [ann, far] = await pages(t, 2);
  // A member that keeps its certificate, as gateways do. It joins first, so it makes the offers.
  await far.evaluate(async () => {
    const { t } = window;
    const certificates = [await RTCPeerConnection.generateCertificate({ name: 'ECDSA', namedCurve: 'P-256' })];
    t.session = await t.lib.join('room');
    let negotiation = -1;
    t.offer = async () => {
      t.connection?.close();
      const [{ memberId }] = t.session.members.values();
      const connection = new RTCPeerConnection({ certificates });
      t.connection = connection;
      t.channel = connection.createDataChannel('signalbox', { negotiated: true, id: 0 });
      negotiation += 2;
      const number = negotiation;
      connection.onicecandidate = ({ candidate }) => {
        t.session.sendCandidate(memberId, candidate?.toJSON() ?? { candidate: '' }, number);
      };
      await connection.setLocalDescription();
      t.session.sendOffer(memberId, connection.localDescription.sdp, number);
    };
    t.session.on('answer', ({ sdp }) => t.connection.setRemoteDescription({ type: 'answer', sdp }).catch(() => {}));
    t.session.on('candidate', ({ candidate }) => t.connection.addIceCandidate(candidate).catch(() => {}));
  });
  await joinMesh(ann, 'room', { kinds: [] });
  await until('the other member', () => far.evaluate(() => window.t.session.members.size === 1));
  for (let round = 0; round < 3; round += 1) {
    await far.evaluate(() => window.t.offer());
    const state = () => far.evaluate(() => `${window.t.connection.connectionState} ${window.t.channel.readyState}`);
    await until('the connection', async () => (await state()) === 'connected open', 10_000);
    const reached = () => ann.evaluate(() => window.t.mesh.broadcast('hello').length === 0);
    await until('the near side', reached, 10_000);
  }
});

test('media that is published reaches newcomers and replaced connections', { skip }, async (t) => {
  const [ann, ben, cid] = await pages(t, 3);
  await joinMesh(ann, 'room');
  await joinMesh(ben, 'room', { kinds: [] });
  await connected(ann, ben);
  const events = (page) => page.evaluate(() => window.t.events);
  await until('both tracks', async () => (await events(ben)).length === 2);
  assert.deepEqual((await events(ben)).sort(), ['trackAdded audio media', 'trackAdded video media']);
  await ann.evaluate(async () => {
    const { t } = window;
    const canvas = document.createElement('canvas');
    const context = canvas.getContext('2d');
    setInterval(() => context.fillRect(Math.random() * 100, 0, 50, 50), 50);
    t.screen = t.mesh.publish(canvas.captureStream(10), { label: 'screen', maxBitrate: 300_000 });
    await t.screen.update({ maxFramerate: 5 });
  });
  await until('the screen', async () => (await events(ben)).includes('trackAdded video screen'));
  await ann.evaluate(() => window.t.screen.setMuted(true));
  await until('muted', async () => (await events(ben)).includes('trackMuted video screen muted'));
  await ann.evaluate(() => window.t.screen.setMuted(false));

  // The camera is replaced, past the mesh too, and the old one stopped.
  await ann.evaluate(async () => {
    const [camera] = window.t.stream.getVideoTracks();
    const sender = window.t
      .peer()
      .connection.getSenders()
      .find(({ track }) => track === camera);
    const other = await navigator.mediaDevices.getUserMedia({ video: true });
    await sender.replaceTrack(other.getVideoTracks()[0]);
    camera.stop();
  });
  await joinMesh(cid, 'room', { kinds: [] });
  await connected(ann, ben, cid);
  const cidFrames = () => cid.evaluate(() => window.t.frames());
  await until('camera and screen at the newcomer', async () => {
    const frames = await cidFrames();
    return frames.length === 2 && frames.every((count) => count > 0);
  });
  assert.deepEqual((await events(cid)).sort(), [
    'trackAdded audio media',
    'trackAdded video media',
    'trackAdded video screen',
  ]);
  const encoding = await ann.evaluate(() => {
    const { screen, mesh } = window.t;
    const [track] = screen.tracks;
    return [...mesh.peers.values()].map(({ connection }) => {
      const sender = connection.getSenders().find((each) => each.track === track);
      const { maxBitrate, maxFramerate } = sender.getParameters().encodings[0];
      return [maxBitrate, maxFramerate];
    });
  });
  assert.deepEqual(encoding, [
    [300_000, 5],
    [300_000, 5],
  ]);

  // A peer whose connection ended gets all of it over the next one.
  await ben.evaluate(() => {
    window.t.events.length = 0;
    window.t.peer().connection.close();
  });
  const added = async () => (await events(ben)).filter((event) => event.startsWith('trackAdded')).sort();
  await until('the media on a new connection', async () => (await added()).length === 3);
  await connected(ann, ben, cid);
  await ann.evaluate(() => window.t.screen.unpublish());
  t.diagnostic(JSON.stringify(await ann.evaluate(() => window.t.warnings)));
  await until('the end of the screen', async () => (await events(cid)).includes('trackRemoved video screen'));
  const kinds = () =>
    cid.evaluate(() =>
      window.t
        .peer()
        .stream.getTracks()
        .map(({ kind }) => kind),
    );
  assert.deepEqual((await kinds()).sort(), ['audio', 'video']);
});

test('message over a peer limit is refused for that peer only', { skip }, async (t) => {
  const [ann, ben, cid] = await pages(t, 3);
  await ben.evaluate(() => {
    const { get } = Object.getOwnPropertyDescriptor(RTCPeerConnection.prototype, 'localDescription');
    Object.defineProperty(RTCPeerConnection.prototype, 'localDescription', {
      get() {
        const description = get.call(this);
        const sdp = description?.sdp.replace(/max-message-size:\d+/g, 'max-message-size:65536');
        return description && { type: description.type, sdp };
      },
    });
  });
  await joinMesh(cid, 'room', { kinds: [], displayName: 'Cid' });
  await joinMesh(ann, 'room', { kinds: [], displayName: 'Ann' });
  await joinMesh(ben, 'room', { kinds: [], displayName: 'Ben' });
  await connected(ann, ben, cid);
  const broadcast = (text, times) =>
    ann.evaluate(
      ({ text, times }) => window.t.mesh.broadcast(text.repeat(times)).map(({ member }) => member.displayName),
      { text, times },
    );
  await until('open channels', async () => (await broadcast('x', 1)).length === 0);
  assert.deepEqual(await broadcast('y', 100 * 1024), ['Ben']);
  assert.deepEqual((await broadcast('é', 150_000)).sort(), ['Ben', 'Cid']);
  const lengths = (page) => page.evaluate(() => window.t.events.map((event) => event.length));
  await until('the message', async () => (await lengths(cid)).some((length) => length > 100_000));

  // `send` has no limit.
  await ann.evaluate(async () => {
    const progress = [];
    for (const peer of window.t.mesh.peers.values()) {
      await peer.send('z'.repeat(3_000_000), { onProgress: (sent, total) => progress.push(sent / total) });
    }
    if (progress.at(-1) !== 1) throw new Error(`progress ${progress.at(-1)}`);
  });
  for (const page of [ben, cid]) {
    await until('the large message', async () => (await lengths(page)).includes('message '.length + 3_000_000));
  }
  const cancelled = await ann.evaluate(() => {
    const signal = AbortSignal.timeout(50);
    return window.t
      .peer()
      .send(new Blob([new Uint8Array(100_000_000)]), { signal })
      .catch(({ name }) => name);
  });
  assert.equal(cancelled, 'TimeoutError');
  const gone = ann.evaluate(() => {
    const [peer] = [...window.t.mesh.peers.values()].filter(({ member }) => member.displayName === 'Ben');
    return peer.send(new Blob([new Uint8Array(100_000_000)])).catch(({ reason, message }) => reason ?? message);
  });
  await ben.evaluate(() => void window.t.mesh.leave());
  assert.match(String(await gone), /^(INTERRUPTED|CLOSED)$/);
});

test('browser without WebRTC is refused before it joins', { skip }, async (t) => {
  const [ann, ben] = await pages(t, 2);
  await joinMesh(ann, 'room', { kinds: [] });
  await ben.evaluate(() => {
    delete window.RTCPeerConnection;
  });
  const reason = await ben.evaluate(() => window.t.lib.Mesh.join('room').catch(({ reason }) => reason));
  assert.equal(reason, 'UNSUPPORTED');
  const bad = { iceServers: [{ urls: 'stun:' }] };
  const refused = await ann.evaluate(
    (rtcConfiguration) => window.t.lib.Mesh.join('room', { rtcConfiguration }).catch(({ reason }) => reason),
    bad,
  );
  assert.equal(refused, 'UNSUPPORTED');
  assert.equal(await ann.evaluate(() => window.t.mesh.session.members.size), 0);
});

test('constructor that throws once is called again', { skip }, async (t) => {
  const [ann, ben] = await pages(t, 2);
  await ann.evaluate(() => {
    window.RTCPeerConnection = class extends RTCPeerConnection {
      constructor(configuration) {
        if (window.failNext) {
          window.failNext = false;
          throw new Error('too many connections');
        }
        super(configuration);
      }
    };
  });
  await joinMesh(ann, 'room');
  await ann.evaluate(() => {
    window.failNext = true;
  });
  await joinMesh(ben, 'room');
  await until('the peer', async () => (await peerStates(ann)).length === 1);
  await connected(ann, ben);
  assert.match(String(await ann.evaluate(() => window.t.warnings)), /too many connections/);
});

test('ICE server that the browser rejects is left out', { skip }, async (t) => {
  const server = await startServer(t, {
    args: ['--ice-server', 'stun:127.0.0.1:9', '--ice-server', 'stun:127.0.0.1:10'],
  });
  const [ann, ben] = await Promise.all([openPage(t), openPage(t)]);
  for (const page of [ann, ben]) {
    await load(page, server.url);
    await page.evaluate(() => {
      window.RTCPeerConnection = class extends RTCPeerConnection {
        constructor(configuration) {
          if (JSON.stringify(configuration?.iceServers ?? []).includes(':9"')) throw new SyntaxError('not a valid URL');
          super(configuration);
        }
      };
    });
    await joinMesh(page, 'room');
  }
  await connected(ann, ben);
  const urls = await ann.evaluate(() =>
    window.t
      .peer()
      .connection.getConfiguration()
      .iceServers.flatMap(({ urls }) => urls),
  );
  assert.deepEqual(urls, ['stun:127.0.0.1:10']);
  assert.match(String(await ann.evaluate(() => window.t.warnings)), /not a valid URL/);
});
