// The call page: layout, names, chat, details and keyboard.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allConnected, chatReaches, joinRoom, missing, openPage, startServer, until } from './harness.mjs';

const skip = missing();

async function callOf(t, names, options = []) {
  const server = await startServer(t);
  const pages = await Promise.all(names.map((_, index) => openPage(t, options[index])));
  for (const [index, page] of pages.entries()) await joinRoom(page, server.url, 'page', names[index]);
  await Promise.all(pages.map((page) => allConnected(page, names.length - 1)));
  return { server, pages };
}

const box = (page, id) => page.getByTestId(id).first().boundingBox();
const layout = (page) => page.getByTestId('stage').getAttribute('data-layout');
const area = ({ width, height }) => width * height;

/** The names and states of all buttons, as a screen reader gets them. */
async function buttons(page) {
  const devTools = await page.context().newCDPSession(page);
  const { nodes } = await devTools.send('Accessibility.getFullAXTree');
  await devTools.detach();
  return nodes
    .filter(({ role }) => role?.value === 'button' || role?.value === 'toggleButton')
    .map(({ name, properties = [] }) => ({
      name: name?.value,
      pressed: properties.find((property) => property.name === 'pressed')?.value.value,
    }));
}

/** Which button a click at the centre of a button would hit. */
const hit = (page, id) =>
  page.getByTestId(id).evaluate((button) => {
    const { x, y, width, height } = button.getBoundingClientRect();
    return document.elementFromPoint(x + width / 2, y + height / 2)?.closest('button')?.id;
  });

test('a member who is alone sees the invitation with the link', { skip }, async (t) => {
  const { server, pages } = await callOf(t, ['Ann']);
  const [ann] = pages;
  await ann.getByTestId('invitation').getByText('Waiting for others to join').waitFor();
  assert.equal(await ann.getByTestId('link-field').inputValue(), `${server.url}/?room=page`);
  assert.ok(area(await box(ann, 'invitation')) > area(await box(ann, 'local-tile')));
  await ann.context().grantPermissions(['clipboard-read', 'clipboard-write', 'camera', 'microphone']);
  await ann.getByTestId('invite-button').click();
  await ann.getByTestId('invite-button').getByText('Copied').waitFor();
  assert.equal(await ann.evaluate(() => navigator.clipboard.readText()), `${server.url}/?room=page`);
  const ben = await openPage(t);
  await joinRoom(ben, server.url, 'page', 'Ben');
  await ann.getByTestId('invitation').waitFor({ state: 'hidden' });
});

test('the other is large in a call of two, tiles are equal from three on, and a pinned one is large', {
  skip,
}, async (t) => {
  const { server, pages } = await callOf(t, ['Ann', 'Ben']);
  const [ann] = pages;
  assert.equal(await layout(ann), 'pair');
  assert.ok(area(await box(ann, 'member-tile')) > 10 * area(await box(ann, 'local-tile')));
  const cid = await openPage(t);
  await joinRoom(cid, server.url, 'page', 'Cid');
  await allConnected(ann, 2);
  await until('the grid', async () => (await layout(ann)) === 'grid');
  assert.ok(Math.abs(area(await box(ann, 'member-tile')) - area(await box(ann, 'local-tile'))) < 10);
  const pin = ann.getByRole('button', { name: 'Pin Cid' });
  await pin.focus();
  await ann.keyboard.press('Enter');
  await until('the pinned tile', async () => (await layout(ann)) === 'focus');
  const tile = ann.locator('[data-testid="member-tile"]', { hasText: 'Cid' });
  assert.ok(area(await tile.boundingBox()) > 5 * area(await box(ann, 'local-tile')));
  assert.equal(await pin.getAttribute('aria-pressed'), 'true');
  await ann.keyboard.press('Enter');
  await until('the grid', async () => (await layout(ann)) === 'grid');
});

test('controls have one clear name each, and the focus is in the call', { skip }, async (t) => {
  const { pages } = await callOf(t, ['Ann', 'Ben']);
  const [ann, ben] = pages;
  assert.equal(await ann.evaluate(() => document.activeElement.id), 'room-name');
  const named = async (name) => (await buttons(ann)).filter((button) => button.name === name);
  assert.deepEqual(await named('Mute microphone'), [{ name: 'Mute microphone', pressed: undefined }]);
  await ann.getByTestId('mic-button').click();
  await ann.getByTestId('camera-button').click();
  assert.deepEqual(await named('Unmute microphone'), [{ name: 'Unmute microphone', pressed: undefined }]);
  await until('the camera', async () => (await named('Turn camera on')).length === 1);
  assert.deepEqual(await named('Turn camera on'), [{ name: 'Turn camera on', pressed: undefined }]);
  // Ann's tile tells Ben in words.
  const description = () => ben.getByTestId('member-tile').getAttribute('aria-label');
  await until('the description', async () => /^Ann, .*microphone off, camera off$/.test(await description()));
  await until('the quality', async () => /good connection/.test(await description()), 20_000);
  const label = await ben.getByTestId('member-tile').locator('.label').textContent();
  assert.match(label.replace(/\s+/g, ' ').trim(), /^Ann Good$/);

  await chatReaches(ben, [ann], 'one');
  await chatReaches(ben, [ann], 'two');
  assert.equal((await named('Chat, 2 unread messages')).length, 1);
  await ann.getByTestId('chat-button').click();
  assert.equal((await named('Chat')).length, 1);
  assert.deepEqual([...ann.errors, ...ben.errors], []);
});

test('own initials are those of the name', { skip }, async (t) => {
  const { pages } = await callOf(t, ['Grace Hopper', '🦊']);
  for (const [index, initials] of ['GH', '🦊'].entries()) {
    await pages[index].getByTestId('camera-button').click();
    const avatar = pages[index].getByTestId('local-tile').locator('.avatar');
    await avatar.waitFor();
    assert.equal(await avatar.textContent(), initials);
  }
});

for (const [width, height] of [
  [390, 844],
  [320, 568],
  [844, 390],
]) {
  test(`open panels leave the controls usable at ${width}x${height}`, { skip }, async (t) => {
    const { pages } = await callOf(t, ['Ann', 'Ben'], [{ viewport: { width, height } }]);
    const [ann] = pages;
    assert.ok(await ann.getByTestId('chat-input').isHidden());
    for (const panel of ['chat-button', 'details-button']) {
      await ann.getByTestId(panel).click();
      for (const id of ['mic-button', 'camera-button', 'chat-button', 'details-button', 'leave-button']) {
        assert.equal(await hit(ann, id), id);
        const { width: w, height: h, x, y } = await box(ann, id);
        assert.ok(w >= 44 && h >= 44 && x >= 0 && x + w <= width && y + h <= height, `${id} is cut off or too small`);
      }
      const picture = await box(ann, 'member-tile');
      assert.ok(picture.height > 60, `the picture is ${picture.height} px high`);
    }
    const overflows = await ann.evaluate(() => document.documentElement.scrollWidth > window.innerWidth);
    assert.equal(overflows, false);
  });
}

test('chat makes links of addresses and nothing else', { skip }, async (t) => {
  const { pages } = await callOf(t, ['Ann', 'Ben']);
  const [ann, ben] = pages;
  const text = 'see https://example.org/a?b=1. <b>not</b> javascript:alert(1)';
  await chatReaches(ben, [ann], text);
  await ann.getByTestId('chat-button').click();
  const links = ann.getByTestId('chat-log').locator('a');
  assert.equal(await links.count(), 1);
  assert.equal(await links.getAttribute('href'), 'https://example.org/a?b=1');
  assert.equal(await links.getAttribute('rel'), 'noopener noreferrer');
  assert.equal(await ann.getByTestId('chat-log').locator('b').count(), 0);
});

test('details show the path and the last signals', { skip }, async (t) => {
  const { pages } = await callOf(t, ['Ann', 'Ben']);
  const [ann] = pages;
  await ann.getByTestId('details-button').click();
  const connections = ann.getByTestId('connections');
  await connections.getByText('direct', { exact: true }).waitFor();
  assert.match(await connections.textContent(), /Ben.*Path(host|prflx) to (host|prflx)Transport(udp|tcp)/);
  const signals = await ann.getByTestId('signals').textContent();
  assert.match(signals, /answer from Ben/);
  // Addresses are personal data and of no use here.
  assert.doesNotMatch(signals, /\d+\.\d+\.\d+\.\d+/);
});

test('keyboard shortcuts act, except while typing or when they are off', { skip }, async (t) => {
  const { pages } = await callOf(t, ['Ann']);
  const [ann] = pages;
  const microphone = () => ann.getByTestId('mic-button').getAttribute('aria-label');
  await ann.keyboard.press('m');
  await until('the mute', async () => (await microphone()) === 'Unmute microphone');
  await ann.keyboard.press('c');
  await ann.getByTestId('chat-input').waitFor();
  assert.equal(await ann.evaluate(() => document.activeElement.id), 'chat-input');
  await ann.keyboard.press('m');
  assert.equal(await ann.getByTestId('chat-input').inputValue(), 'm');
  assert.equal(await microphone(), 'Unmute microphone');
  await ann.keyboard.press('Escape');
  await ann.getByTestId('chat-input').waitFor({ state: 'hidden' });
  assert.equal(await ann.evaluate(() => document.activeElement.id), 'chat-button');
  await ann.keyboard.press('d');
  await ann.getByTestId('details').getByText('M microphone').waitFor();
  await ann.getByLabel('Use these shortcuts').uncheck();
  await ann.keyboard.press('m');
  await ann.keyboard.press('Escape');
  await ann.getByTestId('details').waitFor({ state: 'hidden' });
  assert.equal(await microphone(), 'Unmute microphone');
});
