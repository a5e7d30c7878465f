// Tokens, made here as an application's back end makes them, with the library and the demo page on the real server.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHmac, randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join as path } from 'node:path';
import { test } from 'node:test';
import { allConnected, missing, openPage, SERVER, startServer, until } from './harness.mjs';

const skip = missing();
const { Code, join, SignalError } = await import('../../dist/lib/index.js').catch(() => ({}));

/** PyJWT and what it needs. */
const PYTHON_JWT = process.env.PYTHON_JWT ?? '/usr/lib/python3/dist-packages/jwt';
const ENV = { ...process.env, PYTHONPATH: PYTHON_JWT };
const SECRET = randomBytes(32).toString('hex');

/** A token (RFC 7519, HS256) that is good for so many seconds. */
function mint(room, sub, seconds = 300, claims = {}) {
  const now = Math.floor(Date.now() / 1000);
  const part = (value) => Buffer.from(JSON.stringify(value)).toString('base64url');
  const all = { sub, room, aud: 'signalbox', nbf: now, exp: now + seconds, ...claims };
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part(all)}`;
  return `${signed}.${createHmac('sha256', SECRET).update(signed).digest('base64url')}`;
}

const startGuarded = (t, args = []) => startServer(t, { args: ['--auth', 'jwt', '--jwt-secret', SECRET, ...args] });

test('a token lets in, under its own identity and name', { skip }, async (t) => {
  const { url } = await startGuarded(t);
  const refused = (reason, code) => (error) => {
    assert.ok(error instanceof SignalError, String(error));
    assert.deepEqual([error.code, error.reason], [code, reason]);
    return true;
  };
  await assert.rejects(join('room', { url }), refused('TOKEN_INVALID', Code.Unauthenticated));
  await assert.rejects(join('room', { url, token: 'garbage' }), refused('TOKEN_INVALID', Code.Unauthenticated));
  const late = mint('room', 'ann', -60, { nbf: Math.floor(Date.now() / 1000) - 90 });
  await assert.rejects(join('room', { url, token: late }), refused('TOKEN_EXPIRED', Code.Unauthenticated));
  const other = mint('other', 'ann');
  await assert.rejects(join('room', { url, token: other }), refused('ROOM_FORBIDDEN', Code.PermissionDenied));
  const token = mint('room', 'ann', 300, { name: 'Ann' });
  const ann = await join('room', { url, token: async () => token, displayName: 'Somebody' });
  t.after(() => ann.leave());
  assert.deepEqual([ann.me.identity, ann.me.displayName], ['ann', 'Ann']);
});

test('a session is renewed before its token expires', { skip }, async (t) => {
  const { url } = await startGuarded(t, ['--jwt-grace', '0s']);
  let given = 0;
  const token = () => {
    given += 1;
    return mint('room', 'ann', 8);
  };
  const ann = await join('room', { url, token });
  t.after(() => ann.leave());
  const events = [];
  for (const name of ['gone', 'suspended', 'ended']) ann.on(name, () => events.push(name));
  ann.on('memberLeft', ({ member, reason }) => events.push(`${member.identity} ${reason}`));
  // When this one's token runs out, so would ann's first.
  const last = await join('room', { url, token: mint('room', 'last', 9) });
  const ended = new Promise((done) => last.on('ended', done));
  await until('the other to be gone', () => events.length > 0, 20_000);
  // It is not let in again with what it has.
  assert.equal((await ended).reason, 'TOKEN_EXPIRED');
  assert.deepEqual(events, ['last TIMED_OUT']);
  assert.equal(given, 2);
});

test('the demo page takes the token from the link and does not show it', { skip }, async (t) => {
  const { url } = await startGuarded(t);
  const pages = await Promise.all([openPage(t), openPage(t)]);
  const names = ['Ann', 'Ben'];
  for (const [index, page] of pages.entries()) {
    const token = mint('demo', names[index].toLowerCase(), 300, { name: names[index] });
    await page.goto(`${url}/?room=demo#token=${token}`);
    assert.equal(await page.evaluate(() => location.hash), '');
    await page.getByTestId('name-input').fill('Somebody else');
    await page.getByTestId('join-button').click();
    await page.getByTestId('local-tile').waitFor();
  }
  await Promise.all(pages.map((page) => allConnected(page, 1)));
  assert.equal(await pages[0].evaluate(() => window.signalboxDemo.session.me.displayName), 'Ann');
  assert.ok(!(await pages[0].evaluate(() => document.documentElement.outerHTML + location.href)).includes('eyJ'));
  // A reload of the tab is still let in; a new visitor is told why not.
  await pages[1].reload();
  await pages[1].getByTestId('local-tile').waitFor();
  await allConnected(pages[0], 1);
  const stranger = await openPage(t);
  await stranger.goto(`${url}/?room=demo`);
  await stranger.getByTestId('name-input').fill('Eve');
  await stranger.getByTestId('join-button').click();
  await stranger.getByText('has a token').waitFor();
  assert.deepEqual([...pages[0].errors, ...pages[1].errors, ...stranger.errors], []);
});

test('tokens made as documented for application servers are accepted', { skip: missing(PYTHON_JWT) }, async (t) => {
  // Below this package, so that Node finds its libraries.
  const folder = mkdtempSync(path(import.meta.dirname, '../../dist/tokens-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const run = (command, args) => execFileSync(command, args, { cwd: folder, encoding: 'utf8', env: ENV }).trim();
  run(SERVER, ['keygen', 'jwt.key']);
  const { url } = await startServer(t, { args: ['--auth', 'jwt', '--jwt-key', path(folder, 'jwt.key.pub')] });
  const page = readFileSync(path(import.meta.dirname, '../../../../docs/authentication.md'), 'utf8');
  const shown = (language, library) =>
    [...page.matchAll(/^```(\w+)\n(.*?)^```$/gms)].find(
      ([, name, text]) => name === language && text.includes(library),
    )[2];
  writeFileSync(path(folder, 'mint.mjs'), shown('js', 'jose'));
  writeFileSync(path(folder, 'mint.py'), shown('python', 'import jwt'));
  for (const [command, file] of [
    [process.execPath, 'mint.mjs'],
    ['python3', 'mint.py'],
  ]) {
    const ada = await join('demo', { url, token: run(command, [file]) });
    assert.deepEqual([ada.me.identity, ada.me.displayName], ['ada', 'Ada']);
    await ada.leave();
  }
});
