// What a page of a stranger can do to a server on this machine, in a real browser: nothing. Names are mapped to this
// machine, which is what DNS rebinding comes to.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { missing, openPage, startServer } from './harness.mjs';

const skip = missing();
const NAMES = '--host-resolver-rules=MAP *.test 127.0.0.1';
const SEND = '/signalbox.v1.Signal/Send';

/** Serves an empty page on a port of its own; returns the port. */
async function startPages(t) {
  const pages = http.createServer((_, response) => {
    response.setHeader('content-type', 'text/html').setHeader('connection', 'close');
    response.end('<!doctype html><title>a page</title>');
  });
  await new Promise((done) => pages.listen(0, '127.0.0.1', done));
  t.after(() => pages.close());
  return pages.address().port;
}

/** Tries to reach a server from a page, and says what came of each way. */
function attack(page, url) {
  return page.evaluate(
    async ({ url, send }) => {
      const outcome = async (what) => {
        try {
          const response = await what();
          return response.type === 'opaque' ? 'opaque' : response.status;
        } catch (error) {
          return error.name;
        }
      };
      const frame = new Uint8Array(5);
      const grpc = { method: 'POST', headers: { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' } };
      const room = '/signalbox.v1.Rooms/CreateRoom';
      return {
        read: await outcome(() => fetch(`${url}/`)),
        call: await outcome(() => fetch(url + send, { ...grpc, body: frame })),
        rooms: await outcome(() => fetch(url + room, { ...grpc, body: frame })),
        simple: await outcome(() => fetch(url + room, { method: 'POST', mode: 'no-cors', body: frame })),
      };
    },
    { url, send: SEND },
  );
}

/** Has the page post a form to a path, and returns the status of the answer. */
async function postForm(page, url) {
  const [response] = await Promise.all([
    page.waitForResponse((response) => response.url() === url && response.request().method() === 'POST'),
    page.evaluate((action) => {
      const form = Object.assign(document.createElement('form'), { method: 'POST', action, enctype: 'text/plain' });
      document.body.append(form);
      form.submit();
    }, url),
  ]);
  return response.status();
}

/** What Rooms lists, up to the trailers: five zeros are an empty list. */
async function rooms(url) {
  const headers = { 'content-type': 'application/grpc-web+proto' };
  const list = { method: 'POST', headers, body: new Uint8Array(5) };
  const response = await fetch(`${url}/signalbox.v1.Rooms/ListRooms`, list);
  assert.equal(response.status, 200);
  return new Uint8Array(await response.arrayBuffer()).subarray(0, 5);
}

test('a page of another site reaches nothing', { skip }, async (t) => {
  const { url, port } = await startServer(t);
  const other = await startPages(t);
  for (const server of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
    const page = await openPage(t, { args: [NAMES] });
    await page.goto(`http://evil.test:${other}/`);
    const { simple, ...rest } = await attack(page, server);
    assert.deepEqual(rest, { read: 'TypeError', call: 'TypeError', rooms: 'TypeError' }, server);
    // It is sent, since such a request needs no leave, and does nothing, as is seen below.
    assert.ok(['opaque', 'TypeError'].includes(simple), simple);
    assert.equal(await postForm(page, `${server}/signalbox.v1.Rooms/CreateRoom`), 415);
  }
  assert.deepEqual(await rooms(url), new Uint8Array(5), 'no room was made');
});

test('a page of another server of this machine reaches nothing', { skip }, async (t) => {
  const { url, port } = await startServer(t);
  const other = await startPages(t);
  const page = await openPage(t);
  await page.goto(`http://localhost:${other}/`);
  const { simple: _, ...rest } = await attack(page, `http://localhost:${port}`);
  assert.deepEqual(rest, { read: 'TypeError', call: 'TypeError', rooms: 'TypeError' });
  assert.deepEqual(await rooms(url), new Uint8Array(5), 'no room was made');
});

test('a name that is made to point at this machine reaches nothing', { skip }, async (t) => {
  const { url, port } = await startServer(t);
  // The stranger's machine has the same port at another address, and is this one from when the page is there.
  let target = await startPages(t);
  const machine = net.createServer((client) => {
    const server = net.connect(target, '127.0.0.1');
    for (const socket of [client, server]) socket.on('error', () => client.destroy() && server.destroy());
    client.pipe(server).pipe(client);
  });
  await new Promise((done) => machine.listen(port, '127.0.0.2', done));
  t.after(() => machine.close());
  const page = await openPage(t, { args: ['--host-resolver-rules=MAP evil.test 127.0.0.2'] });
  const rebound = `http://evil.test:${port}`;
  await page.goto(`${rebound}/`);
  assert.equal(await page.title(), 'a page');
  target = port;
  assert.deepEqual(await attack(page, rebound), { read: 421, call: 421, rooms: 421, simple: 421 });
  assert.equal(await postForm(page, `${rebound}/signalbox.v1.Rooms/CreateRoom`), 421);
  assert.deepEqual(await rooms(url), new Uint8Array(5), 'no room was made');
});

test('a page of a listed origin may call', { skip }, async (t) => {
  const other = await startPages(t);
  const { port } = await startServer(t, { args: ['--cors-origin', `http://app.test:${other}`] });
  const page = await openPage(t, { args: [NAMES] });
  await page.goto(`http://app.test:${other}/`);
  const { call, rooms, read } = await attack(page, `http://127.0.0.1:${port}`);
  assert.deepEqual({ call, rooms, read }, { call: 200, rooms: 200, read: 'TypeError' });
});

test('a server is reached by its public name', { skip }, async (t) => {
  const { port } = await startServer(t, { args: ['--allow-anonymous', '--public-name', 'signal.test'] });
  const page = await openPage(t, { args: [NAMES] });
  const response = await page.goto(`http://signal.test:${port}/`);
  assert.equal(response.status(), 200);
  const { call, rooms } = await attack(page, `http://signal.test:${port}`);
  // Rooms has another port, which it says in its way.
  assert.deepEqual({ call, rooms }, { call: 200, rooms: 200 });
});
