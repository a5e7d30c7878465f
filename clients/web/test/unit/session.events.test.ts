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
