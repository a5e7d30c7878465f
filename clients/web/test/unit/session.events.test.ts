import assert from 'node:assert/strict';
import { Action, LeaveReason } from '../../src/gen/signalbox/v1/signal_pb.js';
import { pass } from './clock.js';
import { data, goAway, joined, record, test } from './fixture.js';
import { resumed } from './server.js';

/** A logger that records the level and the message of each line. */
function recorder() {
  const lines: [string, string][] = [];
  const at = (level: string) => (message: string) => void lines.push([level, message]);
  return { lines, debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') };
}

test('handler that throws does not disturb the session', async (server) => {
  const logger = recorder();
  const session = await joined(server, ['bob'], { logger });
  for (const name of ['data', 'memberLeft', 'suspended', 'resumed'] as const) {
    session.on(name, () => {
      throw new Error('a bug of the application');
    });
  }
  const events = record(session);
  server.stream.send(data(11, 'a'));
  server.stream.send({ seq: 12n, body: { case: 'memberLeft', value: { memberId: 'bob', reason: LeaveReason.LEFT } } });
  await pass(0);
  server.stream.fail();
  await pass(100);
  server.stream.send(resumed([]));
  server.stream.send(data(13, 'b'));
  await pass(0);
  assert.equal(session.state, 'connected');
  assert.deepEqual(events, ['data bob a', 'memberLeft bob LEFT', 'suspended', 'resumed', 'data bob b']);
  assert.deepEqual(await session.sendData({ text: 'x' }), { status: 'accepted' });
  assert.equal(logger.lines.filter(([level]) => level === 'error').length, 5);
});

test('logger receives the life of a session and may throw', async (server) => {
  const logger = recorder();
  const throwing = () => {
    throw new Error('no disk space');
  };
  const session = await joined(server, [], { logger: { ...logger, debug: throwing } });
  server.stream.send(goAway('REMOVED', Action.STOP));
  await pass(0);
  assert.equal(session.state, 'ended');
  assert.deepEqual(logger.lines, [
    ['info', 'signalbox: joined'],
    ['info', 'signalbox: session ended: REMOVED'],
  ]);
});

test('loops and once work on a session', async (server) => {
  const session = await joined(server, ['bob']);
  const texts: string[] = [];
  const looping = (async () => {
    for await (const { text } of session.events('data')) texts.push(text);
  })();
  const ended = session.once('ended');
  const neverJoined = session.once('memberJoined').catch((error) => error.reason);
  server.stream.send(data(11, 'a'));
  server.stream.send(data(12, 'b'));
  server.stream.send(goAway('REMOVED', Action.STOP));
  await pass(0);
  assert.equal((await ended).reason, 'REMOVED');
  await looping;
  assert.deepEqual(texts, ['a', 'b']);
  assert.equal(await neverJoined, 'ENDED');
});

test('subscribe reports each change of a property, and only those', async (server) => {
  const session = await joined(server, ['bob']);
  const { members } = session;
  let changes = 0;
  const unsubscribe = session.subscribe(() => {
    changes += 1;
  });
  /** What the listener is called for. */
  const during = async (action: () => unknown) => {
    changes = 0;
    await action();
    await pass(100);
    return changes > 0;
  };
  assert.equal(await during(() => server.stream.send(data(11, 'a'))), false);
  assert.equal(session.members, members);
  const zoe = { memberId: 'zoe', displayName: 'zoe' };
  const zoeJoined = { seq: 12n, body: { case: 'memberJoined' as const, value: { member: zoe } } };
  assert.equal(await during(() => server.stream.send(zoeJoined)), true);
  assert.deepEqual([[...members.keys()], [...session.members.keys()]], [['bob'], ['bob', 'zoe']]);
  const { me } = session;
  assert.equal(await during(() => session.update({ displayName: 'New name' })), true);
  assert.notEqual(session.me, me);
  assert.equal(await during(() => server.stream.fail()), true);
  assert.equal(await during(() => server.stream.send(resumed(['bob', 'zoe']))), true);
  assert.deepEqual([...session.members.keys()], ['bob', 'zoe']);
  assert.equal(await during(() => session.leave()), true);
  assert.equal(session.state, 'ended');
  unsubscribe();
});

test('subscribe releases the events that were held', async (server) => {
  const session = await joined(server);
  const zoe = { memberId: 'zoe', displayName: 'zoe' };
  server.stream.send({ seq: 12n, body: { case: 'memberJoined', value: { member: zoe } } });
  await pass(0);
  assert.equal(session.members.size, 0);
  session.subscribe(() => {});
  await pass(0);
  assert.equal(session.members.size, 1);
});
