// Starts the real server and browsers, one browser process per page.

import { spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { chromium } from 'playwright-core';
import puppeteer from 'puppeteer-core';

export { startProxy } from './proxy.mjs';

const ROOT = new URL('../../', import.meta.url).pathname;
export const SERVER = process.env.SIGNALBOX_BIN ?? resolve(ROOT, '../../target/release/signalbox');
const CHROMIUM = process.env.CHROMIUM_BIN ?? '/usr/bin/chromium';
export const FIREFOX = process.env.FIREFOX_BIN ?? '/usr/bin/firefox-esr';

/** Why the tests must be skipped, or false. Throws in CI, where they must run. */
export function missing(...more) {
  const absent = [SERVER, CHROMIUM, ...more].filter((path) => !existsSync(path));
  if (absent.length === 0) return false;
  const reason = `missing: ${absent.join(', ')}`;
  if (process.env.CI) throw new Error(reason);
  return reason;
}

/** Polls until `check` returns a truthy value, and returns it. */
export async function until(what, check, timeoutMs = 15_000) {
  const deadline = Date.now() + timeoutMs;
  for (;;) {
    const result = await check();
    if (result) return result;
    if (Date.now() > deadline) throw new Error(`timed out after ${timeoutMs} ms waiting for ${what}`);
    await sleep(25);
  }
}

/** Starts a server that stops at the end of the test `t`. */
export async function startServer(t, { args = [], port = 0, store } = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'signalbox-e2e-'));
  const readyFile = join(folder, 'ready');
  const options = ['--listen', `127.0.0.1:${port}`, '--ready-file', readyFile, '--store', `redb:${store ?? folder}`];
  // Proxies listen on other ports.
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
  const url = `${args.includes('--tls-self-signed') ? 'https' : 'http'}://${address}`;
  return { url, port: Number(new URL(url).port), stop };
}

/** Starts a separate Chromium and opens an empty page in it. */
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
    // Failed requests are logged as errors too, and are expected by many tests. Policy violations never are.
    if (message.type() === 'error' && /Content Security Policy/.test(message.text())) page.errors.push(message.text());
    if (process.env.DEBUG_PAGE) console.log(`[page] ${message.text()}`);
  });
  return page;
}

/**
 * Opens a page in Firefox with Puppeteer, because Playwright cannot drive Debian's build. Use only methods that both
 * drivers have: `goto`, `evaluate`, `waitForSelector`, `$$eval`, `locator(..).fill` and `.click`, `close`.
 */
export async function openFirefox(t) {
  const browser = await puppeteer.launch({
    browser: 'firefox',
    executablePath: FIREFOX,
    headless: true,
    extraPrefsFirefox: {
      'media.navigator.streams.fake': true,
      'media.navigator.permission.disabled': true,
      'media.peerconnection.ice.loopback': true,
      // Without these, Firefox gathers no candidates on a machine without a default route.
      'permissions.default.camera': 1,
      'permissions.default.microphone': 1,
    },
  });
  t.after(() => browser.close());
  const page = await browser.newPage();
  await page.setViewport({ width: 1000, height: 700 });
  page.setDefaultTimeout(20_000);
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(error.message));
  page.on('console', (message) => {
    if (process.env.DEBUG_PAGE) console.log(`[page] ${message.text()}`);
  });
  return page;
}

const at = (testId) => `[data-testid="${testId}"]`;

/** Joins a room through the form. */
export async function joinRoom(page, url, room, name) {
  await page.goto(`${url}/?room=${room}`);
  await page.locator(at('name-input')).fill(name);
  await page.locator(at('join-button')).click();
  await page.waitForSelector(at('local-tile'));
}

/** Waits until the page shows `count` members, all connected. */
export async function allConnected(page, count) {
  await until(`${count} connected members`, async () => {
    const states = await tileStates(page);
    return states.length === count && states.every((state) => state === 'connected');
  });
}

/** The data-state of each member's tile. */
export function tileStates(page) {
  return page.$$eval(at('member-tile'), (tiles) => tiles.map((tile) => tile.dataset.state));
}

/** Number of decoded video frames of each member, in the order of the tiles. */
export function framesDecoded(page) {
  return page.evaluate(async () => {
    const counts = [];
    for (const peer of window.signalboxDemo.mesh.peers.values()) {
      const stats = [...(await peer.connection.getStats()).values()];
      const videos = stats.filter((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video');
      counts.push(videos.reduce((sum, { framesDecoded = 0 }) => sum + framesDecoded, 0));
    }
    return counts;
  });
}

/** Waits until `more` video frames of each member are decoded. */
export async function videoFlows(page, more = 5) {
  const before = await framesDecoded(page);
  await until('video frames', async () => {
    const now = await framesDecoded(page);
    return now.length > 0 && now.every((count, index) => count >= (before[index] ?? 0) + more);
  });
}

/**
 * Checks the video of the only other member ten times a second, on its current connection. Returns a function that
 * stops and returns the time watched and the longest time without a frame, in milliseconds.
 */
export async function watchVideo(page) {
  await page.evaluate(() => {
    const [{ connection }] = window.signalboxDemo.mesh.peers.values();
    const watch = { frames: -1, since: performance.now(), began: performance.now(), longest: 0 };
    const check = async () => {
      const stats = [...(await connection.getStats()).values()];
      const frames = stats.find((stat) => stat.type === 'inbound-rtp' && stat.kind === 'video')?.framesDecoded ?? 0;
      const now = performance.now();
      watch.longest = Math.max(watch.longest, now - watch.since);
      if (frames > watch.frames) Object.assign(watch, { frames, since: now });
    };
    const timer = setInterval(check, 100);
    window.endVideoWatch = async () => {
      clearInterval(timer);
      await check();
      const { began, longest } = watch;
      return { watchedMs: Math.round(performance.now() - began), stalledMs: Math.round(longest) };
    };
  });
  return () => page.evaluate(() => window.endVideoWatch());
}

/** Opens the chat, unless it is open. */
export async function openChat(page) {
  const isClosed = await page.evaluate(() => document.getElementById('chat').hidden);
  if (isClosed) await page.locator(at('chat-button')).click();
}

/** Sends a chat message and waits until the other pages have it. */
export async function chatReaches(from, others, text) {
  // A peer may be connected before its data channel is open.
  const isOpen = () => from.evaluate(() => window.signalboxDemo.mesh.broadcast(new ArrayBuffer(0)).length === 0);
  await until('open data channels', isOpen);
  await openChat(from);
  await from.locator(at('chat-input')).fill(text);
  await from.locator(at('chat-send')).click();
  for (const page of others) {
    const lines = () => page.$$eval(`${at('chat-log')} .text`, (lines) => lines.map((line) => line.textContent));
    await until(`the message "${text}"`, async () => (await lines()).includes(text));
  }
}
