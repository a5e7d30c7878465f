import assert from 'node:assert/strict';
import { Action } from '../../src/gen/signalbox/v1/signal_pb.js';
import { pass } from './clock.js';
import { goAway, joined, record, test } from './fixture.js';
import { accepted, welcome } from './server.js';

test('leave is sent after the pending messages', async (server) => {
  const session = await joined(server);
  const events = record(session);
  const last = session.sendData({ text: 'bye' });
  const leaving = session.leave('tired');
  await pass(0);
  await leaving;
  assert.deepEqual(await last, { status: 'accepted' });
  const sent = server.sends.flatMap((send) => send.messages.map(({ body }) => body.case));
  assert.deepEqual(sent, ['data', 'leave']);
  assert.ok(server.stream.aborted);
  assert.deepEqual(events, ['ended LEFT']);
  await pass(60_000);
  assert.equal(server.streams.length, 1);
});

test('leave times out after 2 s', async (server) => {
  const session = await joined(server);
  server.respond = () => new Promise(() => {});
  const leaving = session.leave();
  await pass(1_900);
  assert.equal(session.state, 'connected');
  await pass(200);
  await leaving;
  assert.equal(session.state, 'ended');
});

test('leave is sent while suspended and times out', async (server) => {
  const session = await joined(server);
  server.stream.fail();
  await pass(100);
  server.respond = () => new Promise(() => {});
  const leaving = session.leave();
  await pass(2_100);
  await leaving;
  assert.equal(server.sends.at(-1)?.messages[0]?.body.case, 'leave');
  assert.equal(session.state, 'ended');
});

test('leave during a rejoin waits for the new session and leaves it', async (server) => {
  const session = await joined(server);
  server.stream.send(goAway('SLOW_CONSUMER', Action.REJOIN));
  await pass(100);
  assert.equal(server.stream.request.open.case, 'join');
  const leaving = session.leave();
  await pass(1_000);
  server.stream.send(welcome('me-again'));
  await leaving;
  const leave = server.sends.at(-1);
  assert.deepEqual([leave?.sessionToken, leave?.messages[0]?.body.case], ['token-of-me-again', 'leave']);
  assert.ok(server.stream.aborted);
  assert.equal(session.state, 'ended');
});

test('leave during a rejoin times out after 2 s', async (server) => {
  const session = await joined(server);
  server.stream.send(goAway('SLOW_CONSUMER', Action.REJOIN));
  await pass(100);
  const leaving = session.leave();
  await pass(2_000);
  await leaving;
  server.stream.send(welcome('me-again'));
  await pass(0);
  assert.equal(server.sends.at(-1)?.sessionToken, 'token-of-me-again', 'the late session is left too');
});

test('leave whose stream is lost is sent again', async (server) => {
  const session = await joined(server);
  server.respond = () => new Promise(() => {});
  const leaving = session.leave();
  await pass(0);
  assert.equal(server.sends.length, 1);
  server.respond = accepted;
  server.stream.fail();
  await leaving;
  assert.equal(server.sends.length, 2);
  assert.equal(server.sends[1]?.messages[0]?.body.case, 'leave');
  assert.equal(server.streams.length, 1);
});
