// Who gets a link to pass on, where the server requires tokens.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { missing, openPage, until } from './harness.mjs';
import { mint, startWithTokens } from './tokens.mjs';

const skip = missing();

async function enter(t, url, room, token) {
  const page = await openPage(t);
  await page.goto(`${url}/?room=${room}#token=${token}`);
  await page.getByTestId('name-input').fill('Ann');
  await page.getByTestId('join-button').click();
  await page.getByTestId('local-tile').waitFor();
  return page;
}

/** Allows an identity to have several members, through Rooms on loopback with a token that may. */
async function allowDuplicates(page, url, room) {
  const bytes = (text) => [...new TextEncoder().encode(text)];
  const field = (number, content) => [(number << 3) | 2, content.length, ...content];
  // CreateRoomRequest { room { name, duplicate_identity: ALLOW } }; the field numbers are those of rooms.proto.
  const message = field(1, [...field(1, bytes(room)), (11 << 3) | 0, 3]);
  const status = await page.evaluate(
    async ([url, message, token]) => {
      const body = new Uint8Array([0, 0, 0, 0, message.length, ...message]);
      const headers = { 'content-type': 'application/grpc-web+proto', authorization: `Bearer ${token}` };
      const answer = await fetch(`${url}/signalbox.v1.Rooms/CreateRoom`, { method: 'POST', headers, body });
      const text = new TextDecoder().decode(await answer.arrayBuffer());
      return answer.headers.get('grpc-status') ?? /grpc-status:\s*(\d+)/.exec(text)?.[1];
    },
    [url, message, mint(room, 'admin', 300, { can_admin: true })],
  );
  assert.equal(status, '0');
}

test('a personal token is not passed on, and the page says how to invite others', { skip }, async (t) => {
  const { url } = await startWithTokens(t);
  const page = await enter(t, url, 'personal', mint('personal', 'ann'));
  await page.getByTestId('invitation').getByText('Ask the person who sent you your link').waitFor();
  assert.ok(await page.getByTestId('copy-link').isHidden());
  assert.ok(await page.getByTestId('invite-button').isHidden());
  assert.ok(await page.getByTestId('link-field').isHidden());
  assert.equal(await page.getByTestId('link-field').inputValue(), '');
});

test('a visitor of a share copies a link that admits others', { skip }, async (t) => {
  const { url } = await startWithTokens(t);
  const admin = await openPage(t);
  await admin.goto(url);
  await allowDuplicates(admin, url, 'shared');
  const page = await enter(t, url, 'shared', mint('shared', 'guest'));
  const link = await page.getByTestId('link-field').inputValue();
  const other = await openPage(t);
  await other.goto(link);
  await other.getByTestId('join-button').click();
  await until('the other member', () => page.evaluate(() => window.signalboxDemo.session.members.size === 1));
  // The host's token is personal.
  const host = await enter(t, url, 'shared', mint('shared', 'host'));
  assert.ok(await host.getByTestId('copy-link').isHidden());
});
