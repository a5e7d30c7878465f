// Tokens as issued by an application's backend, used by the library and the demo page with the real server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join as path } from 'node:path';
import { test } from 'node:test';
import { allConnected, missing, openPage, SERVER, startServer, until } from './harness.mjs';
import { mint, startWithTokens } from './tokens.mjs';

const skip = missing();
const { Code, join, SignalError } = await import('../../dist/lib/index.js').catch(() => ({}));

/** PyJWT and its dependencies. */
const PYTHON_JWT = process.env.PYTHON_JWT ?? '/usr/lib/python3/dist-packages/jwt';
const ENV = { ...process.env, PYTHONPATH: PYTHON_JWT };

test('token admits a member with its identity and name', { skip }, async (t) => {
  const { url } = await startWithTokens(t);
  const hasError = (reason, code) => (error) => {
    assert.ok(error instanceof SignalError, String(error));
    assert.deepEqual([error.code, error.reason], [code, reason]);
    return true;
  };
  await assert.rejects(join('room', { url }), hasError('TOKEN_INVALID', Code.Unauthenticated));
  await assert.rejects(join('room', { url, token: 'garbage' }), hasError('TOKEN_INVALID', Code.Unauthenticated));
  const late = mint('room', 'ann', -60, { nbf: Math.floor(Date.now() / 1000) - 90 });
  await assert.rejects(join('room', { url, token: late }), hasError('TOKEN_EXPIRED', Code.Unauthenticated));
  const other = mint('other', 'ann');
  await assert.rejects(join('room', { url, token: other }), hasError('ROOM_FORBIDDEN', Code.PermissionDenied));
  const token = mint('room', 'ann', 300, { name: 'Ann' });
  const ann = await join('room', { url, token: async () => token, displayName: 'Ignored' });
  t.after(() => ann.leave());
  assert.deepEqual([ann.me.identity, ann.me.displayName], ['ann', 'Ann']);
});

test('session renews its token before it expires', { skip }, async (t) => {
  const { url } = await startWithTokens(t, ['--jwt-grace', '0s']);
  let issued = 0;
  const token = () => {
    issued += 1;
    return mint('room', 'ann', 8);
  };
  const ann = await join('room', { url, token });
  t.after(() => ann.leave());
  const events = [];
  for (const name of ['rejoined', 'suspended', 'ended']) ann.on(name, () => events.push(name));
  ann.on('memberLeft', ({ member, reason }) => events.push(`${member.identity} ${reason}`));
  // Expires after Ann's first token.
  const last = await join('room', { url, token: mint('room', 'last', 9) });
  const ended = new Promise((done) => last.on('ended', done));
  await until('the other member to leave', () => events.length > 0, 20_000);
  // Its fixed token does not allow a rejoin.
  assert.equal((await ended).reason, 'TOKEN_EXPIRED');
  assert.deepEqual(events, ['last TIMED_OUT']);
  assert.equal(issued, 2);
});

test('demo page takes the token from the link and hides it', { skip }, async (t) => {
  const { url } = await startWithTokens(t);
  const pages = await Promise.all([openPage(t), openPage(t)]);
  const names = ['Ann', 'Ben'];
  for (const [index, page] of pages.entries()) {
    const token = mint('demo', names[index].toLowerCase(), 300, { name: names[index] });
    await page.goto(`${url}/?room=demo#token=${token}`);
    assert.equal(await page.evaluate(() => location.hash), '');
    await page.getByTestId('name-input').fill('Ignored');
    await page.getByTestId('join-button').click();
    await page.getByTestId('local-tile').waitFor();
  }
  await Promise.all(pages.map((page) => allConnected(page, 1)));
  assert.equal(await pages[0].evaluate(() => window.signalboxDemo.session.me.displayName), 'Ann');
  assert.ok(!(await pages[0].evaluate(() => document.documentElement.outerHTML + location.href)).includes('eyJ'));
  // A reload of the tab keeps the token. A visitor without a token sees the reason.
  await pages[1].reload();
  await pages[1].getByTestId('join-button').click();
  await pages[1].getByTestId('local-tile').waitFor();
  await allConnected(pages[0], 1);
  const stranger = await openPage(t);
  await stranger.goto(`${url}/?room=demo`);
  await stranger.getByTestId('name-input').fill('Eve');
  await stranger.getByTestId('join-button').click();
  await stranger.getByText('requires a link with a valid token').waitFor();
  assert.deepEqual([...pages[0].errors, ...pages[1].errors, ...stranger.errors], []);
});

test('documented backend examples issue valid tokens', { skip: missing(PYTHON_JWT) }, async (t) => {
  // Inside this package, so that Node resolves its dependencies.
  const folder = mkdtempSync(path(import.meta.dirname, '../../dist/tokens-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const run = (command, args) => execFileSync(command, args, { cwd: folder, encoding: 'utf8', env: ENV }).trim();
  run(SERVER, ['keygen', 'jwt.key']);
  const { url } = await startServer(t, { args: ['--auth', 'jwt', '--jwt-key', path(folder, 'jwt.key.pub')] });
  const root = path(import.meta.dirname, '../../../..');
  const pages = readdirSync(path(root, 'docs')).filter((name) => name.endsWith('.md'));
  const files = ['README.md', ...pages.map((name) => path('docs', name))];
  const text = files.map((name) => readFileSync(path(root, name), 'utf8')).join('\n');
  const example = (language, library) =>
    [...text.matchAll(/^```(\w+)\n(.*?)^```$/gms)].find(
      ([, name, code]) => name === language && code.includes(library),
    )[2];
  writeFileSync(path(folder, 'mint.mjs'), example('js', 'jose'));
  writeFileSync(path(folder, 'mint.py'), example('python', 'import jwt'));
  for (const [command, file] of [
    [process.execPath, 'mint.mjs'],
    ['python3', 'mint.py'],
  ]) {
    const ada = await join('demo', { url, token: run(command, [file]) });
    assert.deepEqual([ada.me.identity, ada.me.displayName], ['ada', 'Ada']);
    await ada.leave();
  }
});
