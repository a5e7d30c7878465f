import assert from 'node:assert/strict';
import { Code } from '@connectrpc/connect';
import { SignalError } from '../../src/errors.js';
import { join } from '../../src/session.js';
import { pass } from './clock.js';
import { joined, test } from './fixture.js';
import { retryInfo, serverError } from './server.js';

test('join sends the options and resolves with the state of welcome', async (server) => {
  const session = await joined(server, ['bob'], { displayName: 'Me', attributes: { a: '1' }, passcode: 'p' });
  const { open } = server.stream.request;
  assert.ok(open.case === 'join');
  assert.deepEqual([open.value.room, open.value.displayName, open.value.passcode], ['room', 'Me', 'p']);
  assert.deepEqual(open.value.attributes, { a: '1' });
  assert.equal(session.state, 'connected');
  assert.equal(session.me.memberId, 'me');
  assert.deepEqual([...session.members.keys()], ['bob']);
  assert.equal(session.room.name, 'room');
});

test('join throws the error of the server', async (server) => {
  server.onOpen = (stream) => stream.fail(serverError(Code.ResourceExhausted, 'ROOM_FULL'));
  const joining = join('room', { transport: server.transport });
  joining.catch(() => {});
  await pass(0);
  await assert.rejects(joining, (error) => error instanceof SignalError && error.reason === 'ROOM_FULL');
  await pass(60_000);
  assert.equal(server.streams.length, 1);
});

test('join retries while the server asks to wait, up to joinTimeoutMs', async (server) => {
  server.onOpen = (stream) => {
    const error = serverError(Code.Unavailable, 'STORE_UNAVAILABLE');
    error.details.push(retryInfo(4));
    stream.fail(error);
  };
  const joining = join('room', { transport: server.transport, joinTimeoutMs: 10_000 });
  joining.catch(() => {});
  await pass(3_900);
  assert.equal(server.streams.length, 1);
  await pass(200);
  assert.equal(server.streams.length, 2);
  await pass(60_000);
  assert.equal(server.streams.length, 3);
  await assert.rejects(joining, (error) => error instanceof SignalError && error.reason === 'STORE_UNAVAILABLE');
});

test('AbortSignal cancels joining', async (server) => {
  const controller = new AbortController();
  const joining = join('room', { transport: server.transport, signal: controller.signal });
  joining.catch(() => {});
  await pass(0);
  controller.abort();
  await pass(0);
  await assert.rejects(joining, (error) => error instanceof SignalError && error.reason === 'ABORTED');
  assert.ok(server.stream.aborted);
});
