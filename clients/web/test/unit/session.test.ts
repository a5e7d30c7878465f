import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code } from '@connectrpc/connect';
import { SignalError } from '../../src/errors.js';
import type { SessionEvents } from '../../src/events.js';
import { Action, LeaveReason, type SendResponse, SendResponseSchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import type { JoinOptions } from '../../src/options.js';
import type { Outcome } from '../../src/outbox.js';
import { join, type Session } from '../../src/session.js';
import { pass } from './clock.js';
import { accepted, FakeServer, resumed, retryInfo, serverError, welcome } from './server.js';

/** A test with its own server and a fake clock that `pass` advances. */
function test(name: string, body: (server: FakeServer) => Promise<void>): void {
  nodeTest(name, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    try {
      await body(new FakeServer());
    } finally {
      mock.timers.reset();
    }
  });
}

/** Joins a room as `me` with the given other members. */
async function joined(server: FakeServer, others: string[] = [], options: JoinOptions = {}): Promise<Session> {
  const joining = join('room', { transport: server.transport, url: 'http://test', ...options });
  await pass(0);
  server.stream.send(welcome('me', others));
  return await joining;
}

/** Records all further events of a session. */
function record(session: Session): string[] {
  const events: string[] = [];
  const recordAs = <Name extends keyof SessionEvents>(name: Name, format: (event: SessionEvents[Name]) => string) =>
    session.on(name, (event) => events.push(`${name} ${format(event)}`.trim()));
  recordAs('suspended', ({ error }) => error?.reason ?? '');
  recordAs('resumed', () => '');
  recordAs('rejoined', ({ previousMemberId }) => previousMemberId);
  recordAs('ended', ({ reason }) => reason);
  recordAs('memberJoined', ({ memberId }) => memberId);
  recordAs('memberUpdated', ({ memberId, state }) => `${memberId} ${state}`);
  recordAs('memberLeft', ({ member, reason }) => `${member.memberId} ${reason}`);
  recordAs('data', ({ from, text }) => `${from} ${text}`);
  recordAs('offer', ({ from, sdp, negotiation }) => `${from} ${sdp} ${negotiation}`);
  return events;
}

const data = (seq: number, text: string) => {
  return { seq: BigInt(seq), from: 'bob', body: { case: 'data' as const, value: { text } } };
};
const goAway = (reason: string, action: Action, seconds = 0) => {
  const retryAfter = { seconds: BigInt(seconds), nanos: 0 };
  return { body: { case: 'goAway' as const, value: { reason, action, retryAfter } } };
};

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

test('messages sent during a Send are batched into the next one', async (server) => {
  const session = await joined(server);
  const responses: (() => void)[] = [];
  server.respond = (request) => new Promise<SendResponse>((done) => responses.push(() => done(accepted(request))));
  void session.sendOffer('bob', 'sdp', 1n);
  for (let i = 0; i < 3; i += 1) void session.sendCandidate('bob', { candidate: `c${i}` }, 1n);
  await pass(0);
  assert.equal(server.sends.length, 1, 'messages of one task share a Send');
  assert.deepEqual(server.numberedSeqs, [1, 2, 3, 4]);
  for (let i = 3; i < 6; i += 1) {
    void session.sendCandidate('bob', { candidate: `c${i}` }, 1n);
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
  const outcome = session.sendOffer('bob', 'sdp', 1n);
  void session.update({ displayName: 'New name' });
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
  const { open } = server.stream.request;
  assert.ok(open.case === 'join' && open.value.displayName === 'New name');
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
