// A malicious page in a real browser cannot reach a server on this machine. Names are mapped to this machine to
// simulate DNS rebinding.

import assert from 'node:assert/strict';
import http from 'node:http';
import net from 'node:net';
import { test } from 'node:test';
import { missing, openPage, startServer } from './harness.mjs';

const skip = missing();
const NAMES = '--host-resolver-rules=MAP *.test 127.0.0.1';
const SEND = '/signalbox.v1.Signal/Send';

/** Serves an empty page on another port and returns the port. */
async function startPages(t) {
  const pages = http.createServer((_, response) => {
    response.setHeader('content-type', 'text/html').setHeader('connection', 'close');
    response.end('<!doctype html><title>a page</title>');
  });
  await new Promise((done) => pages.listen(0, '127.0.0.1', done));
  t.after(() => pages.close());
  return pages.address().port;
}

/** Tries to reach a server from a page in several ways and returns the result of each. */
function attack(page, url) {
  return page.evaluate(
    async ({ url, send }) => {
      const result = async (request) => {
        try {
          const response = await request();
          return response.type === 'opaque' ? 'opaque' : response.status;
        } catch (error) {
          return error.name;
        }
      };
      const frame = new Uint8Array(5);
      const grpc = { method: 'POST', headers: { 'content-type': 'application/grpc-web+proto', 'x-grpc-web': '1' } };
      const room = '/signalbox.v1.Rooms/CreateRoom';
      return {
        read: await result(() => fetch(`${url}/`)),
        call: await result(() => fetch(url + send, { ...grpc, body: frame })),
        rooms: await result(() => fetch(url + room, { ...grpc, body: frame })),
        simple: await result(() => fetch(url + room, { method: 'POST', mode: 'no-cors', body: frame })),
      };
    },
    { url, send: SEND },
  );
}

/** Submits a form from the page to a URL and returns the status of the response. */
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

/** The response of ListRooms without trailers: five zero bytes are an empty list. */
async function rooms(url) {
  const headers = { 'content-type': 'application/grpc-web+proto' };
  const list = { method: 'POST', headers, body: new Uint8Array(5) };
  const response = await fetch(`${url}/signalbox.v1.Rooms/ListRooms`, list);
  assert.equal(response.status, 200);
  return new Uint8Array(await response.arrayBuffer()).subarray(0, 5);
}

test('page of another site cannot reach the server', { skip }, async (t) => {
  const { url, port } = await startServer(t);
  const other = await startPages(t);
  for (const server of [`http://127.0.0.1:${port}`, `http://localhost:${port}`]) {
    const page = await openPage(t, { args: [NAMES] });
    await page.goto(`http://evil.test:${other}/`);
    const { simple, ...rest } = await attack(page, server);
    assert.deepEqual(rest, { read: 'TypeError', call: 'TypeError', rooms: 'TypeError' }, server);
    // Browsers send simple requests without a preflight. The server must ignore it, as checked below.
    assert.ok(['opaque', 'TypeError'].includes(simple), simple);
    assert.equal(await postForm(page, `${server}/signalbox.v1.Rooms/CreateRoom`), 415);
  }
  assert.deepEqual(await rooms(url), new Uint8Array(5), 'no room was created');
});

test('page of another local server cannot reach the server', { skip }, async (t) => {
  const { url, port } = await startServer(t);
  const other = await startPages(t);
  const page = await openPage(t);
  await page.goto(`http://localhost:${other}/`);
  const { simple: _, ...rest } = await attack(page, `http://localhost:${port}`);
  assert.deepEqual(rest, { read: 'TypeError', call: 'TypeError', rooms: 'TypeError' });
  assert.deepEqual(await rooms(url), new Uint8Array(5), 'no room was created');
});

test('rebound name cannot reach the server', { skip }, async (t) => {
  const { url, port } = await startServer(t);
  // The attacker's address first serves the page, then forwards to the server at the same port.
  let target = await startPages(t);
  const attacker = net.createServer((client) => {
    const server = net.connect(target, '127.0.0.1');
    for (const socket of [client, server]) socket.on('error', () => client.destroy() && server.destroy());
    client.pipe(server).pipe(client);
  });
  await new Promise((done) => attacker.listen(port, '127.0.0.2', done));
  t.after(() => attacker.close());
  const page = await openPage(t, { args: ['--host-resolver-rules=MAP evil.test 127.0.0.2'] });
  const rebound = `http://evil.test:${port}`;
  await page.goto(`${rebound}/`);
  assert.equal(await page.title(), 'a page');
  target = port;
  assert.deepEqual(await attack(page, rebound), { read: 421, call: 421, rooms: 421, simple: 421 });
  assert.equal(await postForm(page, `${rebound}/signalbox.v1.Rooms/CreateRoom`), 421);
  assert.deepEqual(await rooms(url), new Uint8Array(5), 'no room was created');
});

test('page of a listed origin can call', { skip }, async (t) => {
  const other = await startPages(t);
  const { port } = await startServer(t, { args: ['--cors-origin', `http://app.test:${other}`] });
  const page = await openPage(t, { args: [NAMES] });
  await page.goto(`http://app.test:${other}/`);
  const { call, rooms, read } = await attack(page, `http://127.0.0.1:${port}`);
  assert.deepEqual({ call, rooms, read }, { call: 200, rooms: 200, read: 'TypeError' });
});

test('server is reachable by its public name', { skip }, async (t) => {
  const { port } = await startServer(t, { args: ['--allow-anonymous', '--public-name', 'signal.test'] });
  const page = await openPage(t, { args: [NAMES] });
  const response = await page.goto(`http://signal.test:${port}/`);
  assert.equal(response.status(), 200);
  const { call, rooms } = await attack(page, `http://signal.test:${port}`);
  // Rooms is not served on this listener, which it reports as a gRPC status with HTTP 200.
  assert.deepEqual({ call, rooms }, { call: 200, rooms: 200 });
});
