// A member whose token has `can_admin`.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { allConnected, missing, openPage } from './harness.mjs';
import { mint, startWithTokens } from './tokens.mjs';

const skip = missing();

async function enter(t, url, name, claims = {}) {
  const page = await openPage(t);
  await page.goto(`${url}/?room=hosted#token=${mint('hosted', name, 300, { name, ...claims })}`);
  await page.getByTestId('join-button').click();
  return page;
}

test('host removes a member and locks the room', { skip }, async (t) => {
  const { url } = await startWithTokens(t);
  const host = await enter(t, url, 'Ann', { can_admin: true });
  await host.getByTestId('local-tile').waitFor();
  const [ben, cid] = [await enter(t, url, 'Ben'), await enter(t, url, 'Cid')];
  await Promise.all([host, ben, cid].map((page) => allConnected(page, 2)));
  // The controls are for the host only.
  await ben.getByTestId('details-button').click();
  assert.ok(await ben.getByTestId('host-controls').isHidden());
  assert.equal(await ben.getByRole('button', { name: 'Remove Cid' }).count(), 0);

  host.on('dialog', (dialog) => dialog.accept());
  const remove = host.getByRole('button', { name: 'Remove Ben' });
  await remove.focus();
  await host.keyboard.press('Enter');
  await ben.getByTestId('join-error').getByText('You were removed from the room.').waitFor();
  await Promise.all([host, cid].map((page) => allConnected(page, 1)));

  await host.getByTestId('details-button').click();
  const setLock = async (locked) => {
    const response = host.waitForResponse(/Rooms\/UpdateRoom$/);
    await host.getByTestId('lock-room').setChecked(locked);
    await (await response).finished();
  };
  await setLock(true);
  const dev = await enter(t, url, 'Dev');
  await dev.getByTestId('join-error').getByText('This room is locked').waitFor();
  await setLock(false);
  await dev.getByTestId('join-button').click();
  await dev.getByTestId('local-tile').waitFor();
  assert.deepEqual([...host.errors, ...cid.errors], []);
});
