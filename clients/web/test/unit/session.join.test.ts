import assert from 'node:assert/strict';
import { Code, ConnectError } from '@connectrpc/connect';
import { SignalError } from '../../src/errors.js';
import { join } from '../../src/session.js';
import { pass } from './clock.js';
import { joined, test } from './fixture.js';
import { type FakeServer, retryInfo, serverError, welcome } from './server.js';

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

/** Aborts a join, and returns its rejection. */
async function aborted(server: FakeServer, afterOpen: boolean): Promise<unknown> {
  const controller = new AbortController();
  const joining = join('room', { transport: server.transport, signal: controller.signal });
  if (afterOpen) await pass(0);
  controller.abort();
  return await joining.catch((error) => error);
}

const reasonOf = (error: unknown) => (error instanceof SignalError ? error.reason : error);

/** The tokens of the sessions that left. */
const left = (server: FakeServer) =>
  server.sends.filter(({ messages }) => messages[0]?.body.case === 'leave').map(({ sessionToken }) => sessionToken);

test('AbortSignal before the request cancels it', async (server) => {
  assert.equal(reasonOf(await aborted(server, false)), 'ABORTED');
  const signal = AbortSignal.abort();
  const rejected = await join('room', { transport: server.transport, signal }).catch((error) => error);
  assert.equal(reasonOf(rejected), 'ABORTED');
  await pass(60_000);
  assert.equal(server.streams.length, 0);
});

test('aborted join leaves as soon as the server has opened the session', async (server) => {
  assert.equal(reasonOf(await aborted(server, true)), 'ABORTED', 'at once');
  assert.equal(server.stream.aborted, false);
  server.stream.send(welcome('me'));
  await pass(0);
  assert.deepEqual(left(server), ['token-of-me']);
  assert.ok(server.stream.aborted);
  await pass(60_000);
  assert.equal(server.streams.length, 1);
});

test('aborted join without a welcome is given 10 s', async (server) => {
  await aborted(server, true);
  await pass(9_900);
  assert.equal(server.stream.aborted, false);
  await pass(200);
  assert.ok(server.stream.aborted);
  await pass(60_000);
  assert.deepEqual([server.streams.length, left(server)], [1, []]);
});

test('join under way at the end of joinTimeoutMs rejects at once and leaves later', async (server) => {
  const joining = join('room', { transport: server.transport, joinTimeoutMs: 2_000 }).catch((error) => error);
  await pass(2_000);
  assert.equal(reasonOf(await joining), 'TIMEOUT');
  server.stream.send(welcome('me'));
  await pass(0);
  assert.deepEqual(left(server), ['token-of-me']);
  assert.ok(server.stream.aborted);
});

test('end of joinTimeoutMs reports the error of the attempt before', async (server) => {
  server.onOpen = (stream) => {
    if (server.streams.length === 1) stream.fail(serverError(Code.Unavailable, 'STORE_UNAVAILABLE'));
  };
  const joining = join('room', { transport: server.transport, joinTimeoutMs: 2_000 }).catch((error) => error);
  await pass(2_000);
  assert.equal(reasonOf(await joining), 'STORE_UNAVAILABLE');
});

test('join whose stream does not arrive although calls work is not repeated', async (server) => {
  const joining = join('room', { transport: server.transport, joinTimeoutMs: 60_000 }).catch((error) => error);
  await pass(10_000);
  const error = await joining;
  assert.ok(error instanceof SignalError);
  assert.deepEqual([error.reason, error.retryable], ['STREAM_BLOCKED', false]);
  assert.match(error.message, /buffering/);
  await pass(60_000);
  assert.equal(server.streams.length, 1);
});

test('join is repeated while neither streams nor calls work', async (server) => {
  server.respond = () => {
    throw new ConnectError('connection lost', Code.Unavailable);
  };
  const joining = join('room', { transport: server.transport, joinTimeoutMs: 60_000 });
  await pass(11_000);
  assert.equal(server.streams.length, 2);
  server.stream.send(welcome('me'));
  assert.equal((await joining).state, 'connected');
});
