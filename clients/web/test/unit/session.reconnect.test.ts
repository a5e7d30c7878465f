import assert from 'node:assert/strict';
import { mock } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { Action } from '../../src/gen/signalbox/v1/signal_pb.js';
import type { Outcome } from '../../src/outbox.js';
import { pass } from './clock.js';
import { data, goAway, joined, record, test } from './fixture.js';
import { accepted, resumed, serverError, welcome } from './server.js';

test('lost stream is resumed at once and pending messages are resent', async (server) => {
  const session = await joined(server, ['bob']);
  const events = record(session);
  server.stream.send(data(12, 'x'));
  server.respond = () => new Promise(() => {});
  const outcome = session.sendData({ text: 'hello' });
  await pass(0);
  server.stream.fail();
  await pass(100);
  assert.equal(session.state, 'suspended');
  assert.equal(server.abortedSends, 1, 'the Send in flight is aborted with the stream');
  const { open } = server.stream.request;
  assert.ok(open.case === 'resume');
  assert.deepEqual([open.value.sessionToken, open.value.afterSeq], ['token-of-me', 12n]);
  server.respond = accepted;
  assert.deepEqual(server.numberedSeqs, [1], 'nothing is sent while suspended');
  server.stream.send(resumed(['bob']));
  await pass(0);
  assert.equal(session.state, 'connected');
  assert.deepEqual(server.numberedSeqs, [1, 1]);
  assert.deepEqual(await outcome, { status: 'accepted' });
  assert.deepEqual(events, ['data bob x', 'suspended', 'resumed']);
});

test('silent stream is replaced', async (server) => {
  const session = await joined(server);
  const events = record(session);
  await pass(34_000);
  assert.equal(session.state, 'connected');
  await pass(1_200);
  assert.equal(session.state, 'suspended');
  assert.equal(server.streams.length, 2);
  assert.ok(server.streams[0]?.aborted);
  assert.deepEqual(events, ['suspended TIMEOUT']);
  const { open } = server.stream.request;
  assert.ok(open.case === 'resume' && open.value.afterSeq === 10n, 'resumes after the welcome');
});

test('resume attempts back off up to 7 s, and a stable stream resets the backoff', async (server) => {
  mock.method(Math, 'random', () => 0.5);
  try {
    const session = await joined(server);
    const attempts: number[] = [];
    server.onOpen = (stream) => {
      attempts.push(Date.now());
      stream.fail();
    };
    const waits = async () => {
      attempts.splice(0, attempts.length, Date.now());
      server.stream.fail();
      await pass(24_000);
      const [first, ...rest] = attempts.slice(1).map((at, index) => at - (attempts[index] ?? 0));
      // An immediate attempt happens at the next step of the clock, after 50 ms.
      return [first === 50 ? 0 : first, ...rest];
    };
    assert.deepEqual(await waits(), [0, 300, 1_200, 2_700, 4_800, 7_000, 7_000]);
    server.onOpen = (stream) => stream.send(resumed([]));
    await pass(7_000);
    assert.equal(session.state, 'connected');
    // The stream is stable after 5 s.
    await pass(6_000);
    server.onOpen = (stream) => {
      attempts.push(Date.now());
      stream.fail();
    };
    assert.deepEqual((await waits()).slice(0, 4), [0, 300, 1_200, 2_700]);
  } finally {
    mock.restoreAll();
  }
});

test('stream that fails at once does not reset the backoff', async (server) => {
  await joined(server);
  server.onOpen = (stream) => {
    stream.send(resumed([]));
    stream.fail();
  };
  server.stream.fail();
  await pass(10_000);
  assert.ok(server.streams.length <= 7, `${server.streams.length} streams in 10 s`);
});

test('SESSION_GONE leads to a rejoin, and pending messages become unknown', async (server) => {
  const session = await joined(server, ['bob']);
  const events = record(session);
  server.stream.send(data(12, 'x'));
  server.respond = () => new Promise(() => {});
  const outcome = session.sendOffer('bob', 'sdp', 1);
  await pass(0);
  server.onOpen = (stream) => {
    if (stream.request.open.case === 'resume') stream.fail(serverError(Code.NotFound, 'SESSION_GONE'));
    else stream.send(welcome('me-again', ['bob', 'zoe'], 3n));
  };
  server.stream.fail();
  await pass(100);
  assert.deepEqual(await outcome, { status: 'unknown' });
  assert.equal(session.me.memberId, 'me-again');
  assert.deepEqual([...session.members.keys()], ['bob', 'zoe']);
  assert.deepEqual(events, ['data bob x', 'suspended', 'rejoined me']);
  server.respond = accepted;
  server.sends.length = 0;
  assert.deepEqual(await session.sendData({ text: 'x' }), { status: 'accepted' });
  assert.deepEqual(server.numberedSeqs, [1], 'a new session numbers from 1');
  server.stream.send(data(4, 'y'));
  await pass(0);
  assert.equal(events.at(-1), 'data bob y', 'the new session has its own server sequence numbers');
});

test('session rejoins after the resume window, without a time limit', async (server) => {
  const session = await joined(server);
  server.onOpen = (stream) => stream.fail();
  server.stream.fail();
  await pass(34_000);
  assert.equal(server.stream.request.open.case, 'resume');
  await pass(20_000);
  assert.equal(server.stream.request.open.case, 'join');
  await pass(600_000);
  server.onOpen = (stream) => stream.send(welcome('me-again'));
  await pass(9_000);
  assert.equal(session.state, 'connected');
  assert.equal(session.me.memberId, 'me-again');
});

test('rejected rejoin ends the session', async (server) => {
  const session = await joined(server);
  const events = record(session);
  const errorFor = (stream: { request: { open: { case?: string | undefined } } }) =>
    stream.request.open.case === 'resume'
      ? serverError(Code.NotFound, 'SESSION_GONE')
      : serverError(Code.PermissionDenied, 'ROOM_LOCKED');
  server.onOpen = (stream) => stream.fail(errorFor(stream));
  server.stream.fail();
  await pass(60_000);
  assert.deepEqual(events, ['suspended', 'ended ROOM_LOCKED']);
  assert.equal(server.streams.length, 3);
});

test('go_away leads to a delayed resume, a rejoin or the end', async (server) => {
  const session = await joined(server);
  const events = record(session);
  server.stream.send(goAway('DRAINING', Action.RESUME, 2));
  await pass(1_900);
  assert.equal(server.streams.length, 1);
  await pass(200);
  assert.equal(server.stream.request.open.case, 'resume');
  server.stream.send(resumed([]));
  await pass(6_000);
  server.stream.fail();
  await pass(100);
  assert.equal(server.streams.length, 3, 'the earlier go_away does not affect this stream');
  server.stream.send(resumed([]));
  await pass(0);
  server.stream.send(goAway('SLOW_CONSUMER', Action.REJOIN));
  await pass(100);
  assert.equal(server.stream.request.open.case, 'join');
  server.stream.send(welcome('me-again'));
  await pass(0);
  server.stream.send(goAway('REMOVED', Action.STOP));
  await pass(60_000);
  assert.equal(session.state, 'ended');
  assert.equal(server.streams.length, 4);
  const resumes = ['suspended', 'resumed', 'suspended', 'resumed'];
  assert.deepEqual(events, [...resumes, 'suspended', 'rejoined me', 'suspended', 'ended REMOVED']);
  const outcome: Outcome = await session.sendData({ text: 'x' });
  assert.ok(outcome.status === 'undelivered' && outcome.failures[0].reason === 'ENDED');
});

test('Send that fails with SEQ_GAP leads to a resume, and everything pending is sent again', async (server) => {
  const session = await joined(server);
  const events = record(session);
  server.respond = () => {
    throw serverError(Code.FailedPrecondition, 'SEQ_GAP', { expected_seq: '1' });
  };
  const outcome = session.sendData({ text: 'x' });
  await pass(100);
  const { open } = server.stream.request;
  assert.ok(open.case === 'resume');
  server.respond = accepted;
  server.stream.send(resumed([]));
  assert.deepEqual(await outcome, { status: 'accepted' });
  assert.deepEqual(events, ['suspended SEQ_GAP', 'resumed']);
});

test('HTTP 421 ends the session', async (server) => {
  const unary = () => Promise.reject(new ConnectError('HTTP 421', Code.Unknown));
  const session = await joined(server, [], { transport: { ...server.transport, unary } });
  const events = record(session);
  void session.sendData({ text: 'x' });
  await pass(100);
  assert.deepEqual(events, ['suspended PROXY', 'ended PROXY']);
  await pass(60_000);
  assert.equal(server.streams.length, 1);
});

test('session gives up after giveUpAfterMs', async (server) => {
  const session = await joined(server, [], { reconnect: { maxDelayMs: 1_000, giveUpAfterMs: 20_000 } });
  const events = record(session);
  server.onOpen = (stream) => stream.fail(new ConnectError('no connection', Code.Unavailable));
  server.stream.fail();
  await pass(18_000);
  assert.equal(session.state, 'suspended');
  assert.ok(server.streams.length > 16, `${server.streams.length} streams`);
  await pass(3_000);
  assert.equal(session.state, 'ended');
  assert.deepEqual(events, ['suspended', 'ended NETWORK']);
});
