import assert from 'node:assert/strict';
import { create } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { type SendResponse, SendResponseSchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import { pass } from './clock.js';
import { data, joined, record, test } from './fixture.js';
import { accepted, resumed, serverError, welcome } from './server.js';

test('messages sent during a Send are batched into the next one', async (server) => {
  const session = await joined(server);
  const responses: (() => void)[] = [];
  server.respond = (request) => new Promise<SendResponse>((done) => responses.push(() => done(accepted(request))));
  void session.sendOffer('bob', 'sdp', 1);
  for (let i = 0; i < 3; i += 1) void session.sendCandidate('bob', { candidate: `c${i}` }, 1);
  await pass(0);
  assert.equal(server.sends.length, 1, 'messages of one task share a Send');
  assert.deepEqual(server.numberedSeqs, [1, 2, 3, 4]);
  for (let i = 3; i < 6; i += 1) {
    void session.sendCandidate('bob', { candidate: `c${i}` }, 1);
    await pass(0);
  }
  assert.equal(server.sends.length, 1, 'the first Send is in flight');
  responses[0]?.();
  await pass(0);
  assert.equal(server.sends.length, 2);
  assert.deepEqual(server.numberedSeqs, [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(server.sends[1]?.sessionToken, 'token-of-me');
});

test('failed Send is retried with the same numbers', async (server) => {
  const session = await joined(server);
  let failures = 2;
  server.respond = (request) => {
    failures -= 1;
    if (failures >= 0) throw serverError(Code.Unavailable, 'DRAINING');
    return accepted(request);
  };
  const outcome = session.sendData({ text: 'x' });
  await pass(5_000);
  assert.deepEqual(await outcome, { status: 'accepted' });
  assert.deepEqual(server.numberedSeqs, [1, 1, 1]);
});

test('idle session sends heartbeats with its ack', async (server) => {
  const session = await joined(server);
  record(session);
  server.stream.send(data(12, 'x'));
  await pass(14_000);
  // Keeps the stream from timing out.
  server.stream.send({ body: { case: 'heartbeat', value: {} } });
  await pass(2_000);
  const [beat, ...more] = server.sends.flatMap((send) => send.messages);
  assert.equal(more.length, 0);
  assert.deepEqual([beat?.body.case, beat?.seq, beat?.ack], ['heartbeat', 0n, 12n]);
});

test('next Send acknowledges received messages', async (server) => {
  const session = await joined(server);
  record(session);
  server.stream.send(data(12, 'x'));
  await pass(0);
  void session.sendData({ text: 'y' });
  void session.sendData({ text: 'z' });
  await pass(0);
  void session.sendData({ text: 'without ack' });
  await pass(0);
  const sent = server.sends.map(({ messages }) => messages.map(({ seq, ack }) => [Number(seq), Number(ack)]));
  assert.deepEqual(sent, [
    [
      [0, 12],
      [1, 0],
      [2, 0],
    ],
    [[3, 0]],
  ]);
});

test('session that only receives acknowledges every 128 messages', async (server) => {
  record(await joined(server));
  for (let seq = 11; seq < 11 + 127; seq += 1) server.stream.send(data(seq, 'x'));
  await pass(0);
  await pass(0);
  assert.equal(server.sends.length, 0);
  server.stream.send(data(138, 'x'));
  await pass(0);
  assert.deepEqual(
    server.sends.map(({ messages }) => messages[0]?.ack),
    [138n],
  );
});

test('ack of resumed settles no message', async (server) => {
  const session = await joined(server);
  server.respond = () => new Promise(() => {});
  const outcome = session.sendData({ text: 'hello' });
  await pass(0);
  server.stream.fail();
  await pass(100);
  server.respond = () =>
    create(SendResponseSchema, { ack: 1n, undelivered: [{ clientSeq: 1n, reason: 'NO_SUCH_MEMBER' }] });
  server.stream.send(resumed([]));
  await pass(0);
  assert.equal((await outcome).status, 'undelivered');
});

test('Send that fails with SESSION_GONE leads to a rejoin', async (server) => {
  const session = await joined(server);
  const events = record(session);
  server.respond = () => {
    throw serverError(Code.NotFound, 'SESSION_GONE');
  };
  const outcome = session.sendData({ text: 'x' });
  await pass(100);
  assert.deepEqual(await outcome, { status: 'unknown' });
  server.stream.send(welcome('me-again'));
  await pass(0);
  assert.deepEqual(events, ['suspended SESSION_GONE', 'rejoined me']);
});
