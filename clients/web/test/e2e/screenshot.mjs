// Takes the pictures of the documentation: docs/demo.png, the demo page in a call of two, and docs/share.png, a terminal
// after scripts/share.sh. Run with: npm run screenshot
//
// With a folder as argument, it takes every view of the page instead, to look at.

import { mkdirSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { drawCamera, PEOPLE } from './drawnCamera.mjs';
import {
  allConnected,
  chatReaches,
  joinRoom,
  missing,
  openChat,
  openPage,
  startServer,
  videoFlows,
} from './harness.mjs';
import { takeShare } from './shareScreenshot.mjs';

const DOCS = resolve(import.meta.dirname, '../../../../docs');
const ROOM = 'amber-harbor-k7q2m9xd4w';
const DESKTOP = { width: 1280, height: 800 };
const PHONE = { width: 390, height: 844 };

const cleanups = [];
const t = { after: (cleanup) => cleanups.unshift(cleanup) };

async function openPerson(index, options = {}) {
  const page = await openPage(t, { viewport: { width: 640, height: 480 }, ...options });
  await page.addInitScript(drawCamera, PEOPLE[index]);
  return page;
}

/** Lets members join, and waits until all see each other. */
async function call(server, room, people, options = {}) {
  const pages = [];
  for (const index of people) {
    const page = await openPerson(index, index === people[0] ? options : {});
    await joinRoom(page, server.url, room, PEOPLE[index].name);
    pages.push(page);
  }
  await Promise.all(pages.map((page) => allConnected(page, people.length - 1)));
  await videoFlows(pages[0], 20);
  return pages;
}

async function talk(ann, ben) {
  await openChat(ann);
  await chatReaches(ben, [ann], 'Morning! Can you see me?');
  await chatReaches(ann, [ben], 'Loud and clear. No server in between, by the way.');
  await chatReaches(ben, [ann], 'So this chat is peer to peer, too?');
  await chatReaches(ann, [ben], 'All of it. The server only introduced us.');
}

/** Waits for the measured quality, so that all pictures show the same words. */
async function shoot(page, path) {
  const tiles = page.locator('[data-testid="member-tile"]');
  if ((await tiles.count()) > 0) await page.locator('[data-testid="member-tile"][data-level]').first().waitFor();
  await page.mouse.move(5, 5);
  await page.screenshot({ path });
  console.log(path);
}

/** Leaves the room before the browser closes, which the server would notice later. */
async function close(pages) {
  for (const page of pages) {
    await page.goto('about:blank');
    await page.context().browser().close();
  }
}

async function takeDemo(path) {
  const server = await startServer(t);
  const pages = await call(server, ROOM, [0, 1], { viewport: DESKTOP, colorScheme: 'light' });
  await talk(...pages);
  await shoot(pages[0], path);
  await close(pages);
}

/** Every view, on a desktop and a phone, light and dark. */
async function takeAll(folder) {
  const server = await startServer(t);
  for (const [name, options] of [
    ['light', { viewport: DESKTOP, colorScheme: 'light' }],
    ['dark', { viewport: DESKTOP, colorScheme: 'dark' }],
    ['phone', { viewport: PHONE, colorScheme: 'light' }],
  ]) {
    const at = (view) => join(folder, `${name}-${view}.png`);
    const before = await openPerson(0, options);
    await before.addInitScript(() => {
      navigator.permissions.query = async () => ({ state: 'prompt' });
    });
    await before.goto(`${server.url}/?room=${ROOM}`);
    await shoot(before, at('lobby-before'));
    await close([before]);
    const lobby = await openPerson(0, options);
    await lobby.goto(`${server.url}/?room=${ROOM}`);
    await lobby.getByTestId('name-input').fill('Ann');
    await lobby.waitForFunction(() => document.getElementById('preview-video').videoWidth > 0);
    await shoot(lobby, at('lobby'));
    await lobby.getByTestId('join-button').click();
    await lobby.getByTestId('local-tile').waitFor();
    await shoot(lobby, at('alone'));
    await close([lobby]);

    const two = await call(server, ROOM, [0, 1], options);
    await shoot(two[0], at('two'));
    await talk(...two);
    await shoot(two[0], at('chat'));
    await two[0].getByTestId('details-button').click();
    await shoot(two[0], at('details'));
    await two[0].getByTestId('details-button').click();
    await two[0].getByTestId('camera-button').click();
    await two[0].getByTestId('mic-button').click();
    await two[1].getByTestId('camera-button').click();
    await two[0].locator('[data-testid="member-tile"].no-video').waitFor();
    await shoot(two[0], at('cameras-off'));
    await close(two);

    const four = await call(server, ROOM, [0, 1, 2, 3], options);
    await shoot(four[0], at('four'));
    await four[0].getByRole('button', { name: `Pin ${PEOPLE[2].name}` }).click();
    await shoot(four[0], at('pinned'));
    await close(four);
  }
  const failed = await openPerson(0, { viewport: DESKTOP, colorScheme: 'light' });
  await failed.goto(`${server.url}/?room=${ROOM}`);
  await failed.getByTestId('name-input').fill('Ann');
  await server.stop();
  await failed.getByTestId('join-button').click();
  await failed.getByTestId('join-status').getByText('does not respond').waitFor();
  await shoot(failed, join(folder, 'light-joining.png'));
  await failed.getByTestId('join-error').waitFor();
  await shoot(failed, join(folder, 'light-failure.png'));
}

const reason = missing();
if (reason) {
  console.log(`skipped: ${reason}`);
  process.exit(0);
}
const [folder] = process.argv.slice(2);
try {
  mkdirSync(folder ?? DOCS, { recursive: true });
  if (folder) await takeAll(folder);
  else {
    await takeDemo(join(DOCS, 'demo.png'));
    await takeShare(t, join(DOCS, 'share.png'));
  }
} finally {
  for (const cleanup of cleanups) await cleanup();
}
process.exit(0);
