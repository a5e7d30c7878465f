// Calls in a relay_only room use a TURN server (coturn), and members receive no other address.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  allConnected,
  FIREFOX,
  joinRoom,
  missing,
  openFirefox,
  openPage,
  startServer,
  until,
  videoFlows,
} from './harness.mjs';

const TURN = process.env.TURNSERVER_BIN ?? '/usr/bin/turnserver';
const SECRET = 'secret-of-the-test';

/** A free port of the loopback interface. */
function freePort() {
  return new Promise((found) => {
    const probe = createServer().listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => found(port));
    });
  });
}

const urlOf = (port) => `turn:127.0.0.1:${port}?transport=udp`;

/** Starts a TURN server on the loopback interface. Returns its URL, and a function that kills it. */
async function startTurn(t, port) {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-turn-'));
  const options = {
    'listening-ip': '127.0.0.1',
    'relay-ip': '127.0.0.1',
    'listening-port': port,
    realm: 'test',
    'static-auth-secret': SECRET,
    pidfile: join(folder, 'pid'),
    userdb: join(folder, 'users'),
    'log-file': join(folder, 'log'),
  };
  const flags = ['-n', '--use-auth-secret', '--fingerprint', '--allow-loopback-peers', '--no-cli', '--no-tls'];
  flags.push('--no-dtls', '--simple-log');
  const args = [...flags, ...Object.entries(options).map(([name, value]) => `--${name}=${value}`)];
  const child = spawn(TURN, args, { stdio: 'ignore' });
  const exited = new Promise((done) => child.once('exit', done));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async () => {
    kill();
    await exited;
    process.off('exit', kill);
    rmSync(folder, { recursive: true, force: true });
  };
  t.after(stop);
  // It listens on TCP as well as UDP.
  await until('the TURN server to listen', () => {
    if (child.exitCode !== null) throw new Error(`the TURN server exited with ${child.exitCode}`);
    return new Promise((is) => {
      const socket = connect(port, '127.0.0.1', () => socket.destroy() && is(true));
      socket.on('error', () => is(false));
    });
  });
  return stop;
}

/** Creates a relay_only room: CreateRoomRequest { room: { name, relay_only: true } } over gRPC-Web. */
async function createRelayOnly(url, name) {
  const room = Buffer.concat([Buffer.from([0x0a, name.length]), Buffer.from(name), Buffer.from([0x60, 1])]);
  const message = Buffer.concat([Buffer.from([0x0a, room.length]), room]);
  const body = Buffer.concat([Buffer.from([0, 0, 0, 0, message.length]), message]);
  const headers = { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' };
  const response = await fetch(`${url}/signalbox.v1.Rooms/CreateRoom`, { method: 'POST', headers, body });
  const answer = Buffer.from(await response.arrayBuffer()).toString('latin1');
  assert.match(answer, /grpc-status: ?0/);
}

/** Records all remote candidates and descriptions. Runs in the page before it joins. */
function recordRemote() {
  window.remote = [];
  const { addIceCandidate, setRemoteDescription } = RTCPeerConnection.prototype;
  RTCPeerConnection.prototype.addIceCandidate = function (init) {
    window.remote.push(init?.candidate ?? '');
    return addIceCandidate.call(this, init);
  };
  RTCPeerConnection.prototype.setRemoteDescription = function (description) {
    window.remote.push(description.sdp);
    return setRemoteDescription.call(this, description);
  };
}

/** Makes every connection of a page gather all candidates, regardless of its configuration. */
function gatherAll() {
  window.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(configuration) {
      super({ ...configuration, iceTransportPolicy: 'all' });
    }
  };
}

/** Candidate types of the selected pair. */
function selectedPair(page) {
  return page.evaluate(async () => {
    const [{ connection }] = window.signalboxDemo.mesh.peers.values();
    const stats = await connection.getStats();
    const { selectedCandidatePairId } = [...stats.values()].find(({ type }) => type === 'transport') ?? {};
    const selected = [...stats.values()].find((stat) => stat.type === 'candidate-pair' && stat.selected);
    const pair = stats.get(selectedCandidatePairId) ?? selected;
    return [stats.get(pair.localCandidateId).candidateType, stats.get(pair.remoteCandidateId).candidateType];
  });
}

/** Checks that all remote candidates and descriptions of a page contain relay addresses only. */
async function checkRemote(page, name) {
  const remote = await page.evaluate(() => window.remote);
  const lines = remote.flatMap((text) => text.split('\r\n'));
  const candidates = lines.map((line) => line.replace(/^a=/, '')).filter((line) => line.startsWith('candidate:'));
  assert.ok(candidates.length > 0, `${name} received no candidate`);
  for (const candidate of candidates) assert.match(candidate, / typ relay raddr (0\.0\.0\.0|::) rport 9( |$)/, name);
  assert.ok(lines.filter((line) => line.startsWith('m=')).length > 0, `${name} received no SDP`);
  for (const line of lines.filter((line) => /^([co]=|a=rtcp:)/.test(line)))
    assert.match(line, /[ =]IN IP4 0\.0\.0\.0$/, name);
}

/** Joins both pages to a relay_only room of a server whose TURN server has the port. */
async function joinBoth(t, names, pages, port) {
  const server = await startServer(t, { args: ['--turn-url', urlOf(port), '--turn-secret', SECRET] });
  await createRelayOnly(server.url, 'relayed');
  await joinRoom(pages[0], server.url, 'relayed', names[0]);
  await joinRoom(pages[1], server.url, 'relayed', names[1]);
}

async function call(t, names, pages) {
  const port = await freePort();
  await startTurn(t, port);
  await joinBoth(t, names, pages, port);
  const [ann, ben] = pages;
  await Promise.all([allConnected(ann, 1), allConnected(ben, 1)]);
  await Promise.all([videoFlows(ann), videoFlows(ben)]);
  return [ann, ben];
}

test('two browsers connect through the relay', { skip: missing(TURN) }, async (t) => {
  const pages = await Promise.all([openPage(t), openPage(t)]);
  for (const page of pages) await page.addInitScript(recordRemote);
  const [ann, ben] = await call(t, ['Ann', 'Ben'], pages);
  assert.deepEqual(await selectedPair(ann), ['relay', 'relay']);
  assert.deepEqual(await selectedPair(ben), ['relay', 'relay']);
  await checkRemote(ann, 'Ann');
  await checkRemote(ben, 'Ben');
  assert.deepEqual([...ann.errors, ...ben.errors], []);
});

test('addresses of a browser that gathers all candidates are not forwarded', { skip: missing(TURN) }, async (t) => {
  const pages = await Promise.all([openPage(t), openPage(t)]);
  await pages[0].addInitScript(gatherAll);
  for (const page of pages) await page.addInitScript(recordRemote);
  const [ann, ben] = await call(t, ['Ann', 'Ben'], pages);
  await checkRemote(ann, 'Ann');
  await checkRemote(ben, 'Ben');
  assert.equal((await selectedPair(ben))[0], 'relay');
});

test('Chromium and Firefox connect through the relay', { skip: missing(TURN, FIREFOX) }, async (t) => {
  const pages = await Promise.all([openPage(t), openFirefox(t)]);
  await pages[0].addInitScript(recordRemote);
  await pages[1].evaluateOnNewDocument(recordRemote);
  const [ann, fox] = await call(t, ['Ann', 'Fox'], pages);
  assert.deepEqual(await selectedPair(ann), ['relay', 'relay']);
  await checkRemote(ann, 'Ann');
  await checkRemote(fox, 'Fox');
});

/** Waits until both pages say that the relay is missing, and have reported it to the server. */
async function relayMissing(pages) {
  for (const page of pages) {
    await until(
      'the cause',
      () => page.evaluate(() => window.reports.some(({ error }) => /NO_RELAY/.test(error))),
      40_000,
    );
    await page.getByTestId('member-tile').getByText('No relay').waitFor();
  }
}

/** Records the reports of a page to the server. */
async function recordReports(page) {
  await page.evaluate(() => {
    const { session } = window.signalboxDemo;
    const report = session.report.bind(session);
    window.reports = [];
    session.report = (message) => {
      window.reports.push(message);
      return report(message);
    };
  });
}

test('missing TURN server is reported at the join, and the call connects once it is back', {
  skip: missing(TURN),
}, async (t) => {
  const pages = await Promise.all([openPage(t), openPage(t)]);
  const port = await freePort();
  await joinBoth(t, ['Ann', 'Ben'], pages, port);
  for (const page of pages) await recordReports(page);
  await relayMissing(pages);
  await startTurn(t, port);
  for (const page of pages) {
    const states = () =>
      page.$$eval('[data-testid="member-tile"]', (tiles) => tiles.map(({ dataset }) => dataset.state));
    await until('the connection', async () => (await states()).join() === 'connected', 40_000);
  }
  const [{ elapsedMs, error }] = await pages[0].evaluate(() => window.reports);
  assert.ok(elapsedMs >= 14_000, `elapsedMs ${elapsedMs}`);
  assert.match(error, /^NO_RELAY: no TURN server can be reached/);
});

test('call recovers from a TURN server that is away', { skip: missing(TURN) }, async (t) => {
  const pages = await Promise.all([openPage(t), openPage(t)]);
  const port = await freePort();
  const stop = await startTurn(t, port);
  await joinBoth(t, ['Ann', 'Ben'], pages, port);
  await Promise.all(pages.map((page) => allConnected(page, 1)));
  for (const page of pages) await recordReports(page);
  await stop();
  await relayMissing(pages);
  await startTurn(t, port);
  const back = Date.now();
  for (const page of pages) {
    const states = () =>
      page.$$eval('[data-testid="member-tile"]', (tiles) => tiles.map(({ dataset }) => dataset.state));
    await until('the connection', async () => (await states()).join() === 'connected', 40_000);
  }
  t.diagnostic(`connected ${Date.now() - back} ms after the return`);
  await Promise.all(pages.map((page) => videoFlows(page)));
});
