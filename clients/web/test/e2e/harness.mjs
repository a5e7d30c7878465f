// The real parts: the server's binary, a TCP proxy that can cut connections, and Chromium, one process per page.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';

const ROOT = new URL('../../', import.meta.url).pathname;
const SERVER = process.env.SIGNALBOX_BIN ?? resolve(ROOT, '../../target/release/signalbox');
const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';

/** Why the tests cannot run here, or false. Where tests must run (CI is set) that is an error. */
export function missing() {
  const absent = [SERVER, CHROMIUM].filter((path) => !existsSync(path));
  if (absent.length === 0) return false;
  const reason = `missing: ${absent.join(', ')}`;
  if (process.env.CI) throw new Error(reason);
  return reason;
}

/** Polls until `check` gives something truthy, and returns it. */
export async function until(what, check, timeoutMs = 15_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`waited ${timeoutMs} ms in vain for: ${what}`);
    await sleep(25);
  }
}

/** Starts a server. `t` is the test it belongs to, which stops it. */
export async function startServer(t, { args = [], port = 0, store } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-e2e-'));
  const readyFile = join(folder, 'ready');
  const options = ['--listen', `127.0.0.1:${port}`, '--ready-file', readyFile, '--store', `redb:${store ?? folder}`];
  // Reached through proxies, too.
  options.push('--public-name', '127.0.0.1:*');
  const child = spawn(SERVER, ['serve', ...options, '--web-dir', join(ROOT, 'dist'), ...args], {
    stdio: ['ignore', 'ignore', 'inherit'],
    env: { SIGNALBOX_LOG: 'error', ...process.env },
  });
  const exited = new Promise((done) => child.once('exit', done));
  const kill = () => child.kill('SIGKILL');
  process.once('exit', kill);
  const stop = async (signal = 'SIGKILL') => {
    child.kill(signal);
    await exited;
    process.off('exit', kill);
    rmSync(folder, { recursive: true, force: true });
  };
  t.after(() => stop());
  const address = await until('the server to listen', () => {
    if (child.exitCode !== null) throw new Error(`the server exited with ${child.exitCode}`);
    return existsSync(readyFile) && readFileSync(readyFile, 'utf8').trim();
  });
  const url = address.includes('://') ? address : `http://${address}`;
  return { url, port: Number(new URL(url).port), stop };
}

/** A TCP proxy in front of a port of this machine. */
export async function startProxy(t, port) {
  const pairs = new Set();
  let refusing = false;
  const listener = net.createServer((client) => {
    if (refusing) return client.destroy();
    const server = net.connect(port, '127.0.0.1');
    const pair = { client, server };
    pairs.add(pair);
    const end = () => {
      pairs.delete(pair);
      client.destroy();
      server.destroy();
    };
    for (const socket of [client, server]) socket.on('error', end).on('close', end);
    client.pipe(server);
    server.pipe(client);
  });
  await new Promise((done) => listener.listen(0, '127.0.0.1', done));
  const cut = () => {
    for (const { client, server } of pairs) {
      client.destroy();
      server.destroy();
    }
  };
  t.after(() => {
    cut();
    listener.close();
  });
  return {
    url: `http://127.0.0.1:${listener.address().port}`,
    /** Breaks all connections, and lets no new one through until `restore`. */
    cut() {
      refusing = true;
      cut();
    },
    restore() {
      refusing = false;
    },
    /** Breaks all connections; new ones are fine. */
    break: cut,
    /** Leaves connections open and passes nothing on any more, as a network does that just went away. */
    freeze() {
      for (const { client, server } of pairs) {
        client.unpipe(server);
        server.unpipe(client);
        client.pause();
        server.pause();
      }
    },
  };
}

/** Starts a browser of its own and opens an empty page in it. */
export async function openPage(t, { args = [], viewport, colorScheme } = {}) {
  const browser = await chromium.launch({
    executablePath: CHROMIUM,
    args: [
      ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
      ...['--disable-component-update', '--disable-sync', '--use-fake-ui-for-media-stream'],
      ...['--use-fake-device-for-media-stream=fps=10', '--allow-loopback-in-peer-connection', ...args],
    ],
  });
  t.after(() => browser.close());
  const context = await browser.newContext({ viewport: viewport ?? { width: 1000, height: 700 }, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(error.message));
  page.on('console', (message) => {
    // Requests that fail are errors, too, and many a test is about them; what the page's policy forbids is a fault.
    if (message.type() === 'error' && /Content Security Policy/.test(message.text())) page.errors.push(message.text());
    if (process.env.DEBUG_PAGE) console.log(`[page] ${message.text()}`);
  });
  return page;
}

/** Joins a room the way a person does. Resolves in the room. */
export async function joinRoom(page, url, room, name) {
  await page.goto(`${url}/?room=${room}`);
  await page.getByTestId('name-input').fill(name);
  await page.getByTestId('join-button').click();
  await page.getByTestId('local-tile').waitFor();
}

/** Waits until the page shows `count` members, all connected. */
export async function allConnected(page, count) {
  await until(`${count} connected members`, async () => {
    const states = await tileStates(page);
    return states.length === count && states.every((state) => state === 'connected');
  });
}

/** data-state of every member's tile. */
export function tileStates(page) {
  return page.getByTestId('member-tile').evaluateAll((tiles) => tiles.map((tile) => tile.dataset.state));
}

/** How many video frames were decoded from each member, in the order of the tiles. */
export function framesDecoded(page) {
  return page.evaluate(async () => {
    const counts = [];
    for (const peer of window.signalboxDemo.mesh.peers.values()) {
      const stats = [...(await peer.connection.getStats()).values()];
      counts.push(stats.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video')?.framesDecoded ?? 0);
    }
    return counts;
  });
}

/** Waits until video from every member has gone on for `more` frames. */
export async function videoFlows(page, more = 5) {
  const before = await framesDecoded(page);
  await until('video frames', async () => {
    const now = await framesDecoded(page);
    return now.length > 0 && now.every((count, index) => count >= (before[index] ?? 0) + more);
  });
}

/** Sends a line and waits until the others have it. */
export async function chatReaches(from, others, text) {
  await from.getByTestId('chat-input').fill(text);
  await from.getByTestId('chat-send').click();
  for (const page of others) await page.getByTestId('chat-log').getByText(text, { exact: true }).waitFor();
}
