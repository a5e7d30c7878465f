import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { type SendRequest, type SendResponse, SendResponseSchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import type { Session } from '../../src/session.js';
import { pass } from './clock.js';
import { joined, record, test } from './fixture.js';
import { accepted, type FakeServer, serverError, welcome } from './server.js';

/** Rejects the numbered messages with these numbers and accepts all others. */
function refusing(...numbers: number[]): (request: SendRequest) => SendResponse {
  return (request) => {
    const { ack } = accepted(request);
    const undelivered = numbers.map((number) => ({ clientSeq: BigInt(number), reason: 'TOO_LARGE' }));
    return create(SendResponseSchema, { ack, undelivered });
  };
}

/** Loses the session. Returns the join that follows. */
async function rejoin(server: FakeServer) {
  server.onOpen = (stream) => {
    if (stream.request.open.case === 'resume') stream.fail(serverError(Code.NotFound, 'SESSION_GONE'));
    else stream.send(welcome('me-again'));
  };
  server.stream.fail();
  await pass(100);
  const { open } = server.stream.request;
  assert.ok(open.case === 'join');
  return open.value;
}

const profile = ({ me }: Session) => [me.displayName, me.attributes];

/** The updates that the server received. */
const updates = (server: FakeServer) =>
  server.sends.flatMap(({ messages }) =>
    messages.flatMap(({ body }) => (body.case === 'update' ? [body.value.displayName] : [])),
  );

test('accepted update changes the member and what a rejoin sends', async (server) => {
  const session = await joined(server, [], { attributes: { a: '1' } });
  const updating = session.update({ displayName: 'New name', attributes: { b: '2' } });
  assert.deepEqual(profile(session), ['me', {}], 'as the other members see it');
  assert.deepEqual(await updating, { status: 'accepted' });
  assert.deepEqual(profile(session), ['New name', { b: '2' }]);
  const join = await rejoin(server);
  assert.deepEqual([join.displayName, join.attributes], ['New name', { b: '2' }]);
});

test('undelivered update changes nothing', async (server) => {
  const session = await joined(server, [], { attributes: { a: '1' } });
  server.respond = refusing(1);
  assert.equal((await session.update({ attributes: { a: 'x'.repeat(5_000) } })).status, 'undelivered');
  assert.equal((await session.update({ displayName: 'x'.repeat(200_000) })).status, 'undelivered');
  assert.deepEqual(profile(session), ['me', {}]);
  const join = await rejoin(server);
  assert.deepEqual([join.displayName, join.attributes], ['', { a: '1' }]);
});

test('update that the server rejects as a whole changes nothing', async (server) => {
  const session = await joined(server);
  server.respond = (request) => {
    if (request.messages.some(({ body }) => body.case === 'update')) {
      throw serverError(Code.InvalidArgument, 'INVALID_MESSAGE');
    }
    return accepted(request);
  };
  assert.equal((await session.update({ displayName: 'x' })).status, 'undelivered');
  assert.equal(session.me.displayName, 'me');
});

test('last accepted one of several updates wins', async (server) => {
  const session = await joined(server);
  server.respond = refusing(3, 4);
  const outcomes = await Promise.all([
    session.update({ displayName: 'first', attributes: { a: '1' } }),
    session.update({ displayName: 'second' }),
    session.update({ displayName: 'third', attributes: { b: '1' } }),
    session.update({ attributes: { c: '1' } }),
  ]);
  assert.deepEqual(
    outcomes.map(({ status }) => status),
    ['accepted', 'accepted', 'undelivered', 'undelivered'],
  );
  assert.deepEqual(profile(session), ['second', { a: '1' }]);
});

test('function receives the result of earlier updates', async (server) => {
  const session = await joined(server, [], { attributes: { audio: 'on', video: 'on' } });
  const set = (name: string) => session.update(({ attributes }) => ({ attributes: { ...attributes, [name]: 'off' } }));
  await Promise.all([set('audio'), set('video')]);
  assert.deepEqual(session.me.attributes, { audio: 'off', video: 'off' });
});

test('open update is sent again in the next session', async (server) => {
  const session = await joined(server);
  server.respond = () => new Promise(() => {});
  const updating = [session.update({ displayName: 'first' }), session.update({ displayName: 'second' })];
  await pass(0);
  server.respond = refusing(2);
  server.sends.length = 0;
  const join = await rejoin(server);
  assert.equal(join.displayName, '', 'the server accepted neither');
  assert.deepEqual(
    (await Promise.all(updating)).map(({ status }) => status),
    ['accepted', 'undelivered'],
  );
  assert.deepEqual(updates(server), ['first', 'second']);
  assert.equal(session.me.displayName, 'first');
});

test('update without a session waits for the next one', async (server) => {
  const session = await joined(server);
  record(session);
  server.onOpen = (stream) => stream.fail(serverError(Code.NotFound, 'SESSION_GONE'));
  server.stream.fail();
  await pass(50);
  server.onOpen = undefined;
  await pass(500);
  assert.equal(server.stream.request.open.case, 'join');
  const updating = session.update({ displayName: 'New name' });
  await pass(0);
  assert.deepEqual(updates(server), []);
  server.stream.send(welcome('me-again'));
  assert.deepEqual(await updating, { status: 'accepted' });
  assert.equal(session.me.displayName, 'New name');
});

test('open update is unknown when the session ends', async (server) => {
  const session = await joined(server);
  server.respond = () => new Promise(() => {});
  const updating = session.update({ displayName: 'New name' });
  const leaving = session.leave();
  await pass(2_000);
  await leaving;
  assert.deepEqual(await updating, { status: 'unknown' });
  assert.equal((await session.update({ displayName: 'x' })).status, 'undelivered');
});
