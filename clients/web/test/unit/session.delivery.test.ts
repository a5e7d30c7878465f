import assert from 'node:assert/strict';
import { Code } from '@connectrpc/connect';
import { Action, LeaveReason } from '../../src/gen/signalbox/v1/signal_pb.js';
import { pass } from './clock.js';
import { data, goAway, joined, record, test } from './fixture.js';
import { resumed, serverError, welcome } from './server.js';

test('events are held until the application registers a handler', async (server) => {
  const session = await joined(server);
  server.stream.send(data(11, 'early'));
  await pass(0);
  const events = record(session);
  server.stream.send(data(12, 'late'));
  await pass(0);
  assert.deepEqual(events, ['data bob early', 'data bob late']);
});

test('events of a resume are held too', async (server) => {
  const session = await joined(server, ['bob']);
  server.stream.send(data(11, 'early'));
  server.stream.fail();
  await pass(100);
  server.stream.send(resumed(['bob', 'zoe'], 2));
  server.stream.send(data(11, 'early'));
  server.stream.send({ ...data(12, 'hi'), from: 'zoe' });
  await pass(0);
  const events = record(session);
  await pass(0);
  assert.deepEqual(events, ['suspended', 'resumed', 'memberJoined zoe', 'data bob early', 'data zoe hi']);
});

test('rejoined is held, and events of the previous session are dropped', async (server) => {
  const session = await joined(server, ['bob']);
  server.stream.send(data(11, 'dropped'));
  server.onOpen = (stream) => {
    if (stream.request.open.case === 'resume') stream.fail(serverError(Code.NotFound, 'SESSION_GONE'));
    else stream.send(welcome('me-again', ['zoe'], 3n));
  };
  server.stream.fail();
  await pass(100);
  server.stream.send({ ...data(4, 'hi'), from: 'zoe' });
  await pass(0);
  const events = record(session);
  await pass(0);
  assert.deepEqual(events, ['suspended', 'rejoined me', 'data zoe hi']);
});

test('ended is held and follows the events before it', async (server) => {
  const session = await joined(server, ['bob']);
  server.stream.send(data(11, 'last'));
  server.stream.send(goAway('REMOVED', Action.STOP));
  await pass(100);
  assert.equal(session.state, 'ended');
  const events = record(session);
  await pass(0);
  assert.deepEqual(events, ['data bob last', 'suspended', 'ended REMOVED']);
});

test('repeated messages are delivered once', async (server) => {
  const session = await joined(server);
  const events = record(session);
  for (const message of [data(11, 'a'), data(11, 'a'), data(9, 'old'), data(15, 'b'), data(11, 'a')]) {
    server.stream.send(message);
  }
  server.stream.send({ ...data(0, 'unnumbered'), seq: 0n });
  await pass(0);
  assert.deepEqual(events, ['data bob a', 'data bob b', 'data bob unnumbered']);
});

test('replay delivers missed events in order and the roster matches the snapshot', async (server) => {
  const session = await joined(server, ['bob', 'eve']);
  const events = record(session);
  server.stream.fail();
  await pass(100);
  server.stream.send(resumed(['bob', 'zoe'], 4));
  server.stream.send({ ...data(11, 'before leaving'), from: 'eve' });
  const left = { memberId: 'eve', reason: LeaveReason.TIMED_OUT };
  server.stream.send({ seq: 12n, body: { case: 'memberLeft', value: left } });
  const zoe = { memberId: 'zoe', displayName: 'zoe' };
  server.stream.send({ seq: 13n, body: { case: 'memberJoined', value: { member: zoe } } });
  server.stream.send({ ...data(14, 'hi'), from: 'zoe' });
  await pass(0);
  assert.deepEqual(
    events.slice(2).filter((line) => !line.startsWith('memberUpdated')),
    ['memberJoined zoe', 'data eve before leaving', 'memberLeft eve TIMED_OUT', 'data zoe hi'],
  );
  assert.deepEqual([...session.members.keys()], ['bob', 'zoe']);
});
