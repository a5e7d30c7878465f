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
import { accept, FakeServer, resumed, retryInfo, serverError, welcome } from './server.js';

/** A test with its own server and a clock that only `pass` moves. */
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

/** Lets time pass, and everything happen that is due meanwhile. */
async function joined(server: FakeServer, others: string[] = [], options: JoinOptions = {}): Promise<Session> {
  const joining = join('room', { transport: server.transport, url: 'http://test', ...options });
  await pass(0);
  server.stream.say(welcome('me', others));
  return await joining;
}

/** Everything a session tells from now on. */
function record(session: Session): string[] {
  const told: string[] = [];
  const tell = <Name extends keyof SessionEvents>(name: Name, what: (event: SessionEvents[Name]) => string) =>
    session.on(name, (event) => told.push(`${name} ${what(event)}`.trim()));
  tell('suspended', ({ error }) => error?.reason ?? '');
  tell('resumed', () => '');
  tell('rejoined', ({ previousMemberId }) => previousMemberId);
  tell('ended', ({ reason }) => reason);
  tell('memberJoined', ({ memberId }) => memberId);
  tell('memberUpdated', ({ memberId, state }) => `${memberId} ${state}`);
  tell('memberLeft', ({ member, reason }) => `${member.memberId} ${reason}`);
  tell('data', ({ from, text }) => `${from} ${text}`);
  tell('offer', ({ from, sdp, negotiation }) => `${from} ${sdp} ${negotiation}`);
  return told;
}

const data = (seq: number, text: string) => {
  return { seq: BigInt(seq), from: 'bob', body: { case: 'data' as const, value: { text } } };
};
const goAway = (reason: string, action: Action, seconds = 0) => {
  const retryAfter = { seconds: BigInt(seconds), nanos: 0 };
  return { body: { case: 'goAway' as const, value: { reason, action, retryAfter } } };
};
test('join tells the server who this is, and gives what it welcomes with', async (server) => {
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

test('join throws what the server refuses it with', async (server) => {
  server.opening = (stream) => stream.fail(serverError(Code.ResourceExhausted, 'ROOM_FULL'));
  const joining = join('room', { transport: server.transport });
  joining.catch(() => {});
  await pass(0);
  await assert.rejects(joining, (error) => error instanceof SignalError && error.reason === 'ROOM_FULL');
  await pass(60_000);
  assert.equal(server.streams.length, 1);
});

test('join tries again while the server asks to wait, no longer than joinTimeoutMs', async (server) => {
  server.opening = (stream) => {
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

test('an AbortSignal gives up joining', async (server) => {
  const controller = new AbortController();
  const joining = join('room', { transport: server.transport, signal: controller.signal });
  joining.catch(() => {});
  await pass(0);
  controller.abort();
  await pass(0);
  await assert.rejects(joining, (error) => error instanceof SignalError && error.reason === 'ABORTED');
  assert.ok(server.stream.aborted);
});

test('nothing is told before somebody listens, and nothing is missed', async (server) => {
  const session = await joined(server);
  server.stream.say(data(11, 'early'));
  await pass(0);
  const told = record(session);
  server.stream.say(data(12, 'late'));
  await pass(0);
  assert.deepEqual(told, ['data bob early', 'data bob late']);
});

test('events of a resume are held until the application registers a handler', async (server) => {
  const session = await joined(server, ['bob']);
  server.stream.say(data(11, 'early'));
  server.stream.fail();
  await pass(100);
  server.stream.say(resumed(['bob', 'zoe'], 2));
  server.stream.say(data(11, 'early'));
  server.stream.say({ ...data(12, 'hi'), from: 'zoe' });
  await pass(0);
  const told = record(session);
  await pass(0);
  assert.deepEqual(told, ['suspended', 'resumed', 'memberJoined zoe', 'data bob early', 'data zoe hi']);
});

test('rejoined is held, and events of the previous session are dropped', async (server) => {
  const session = await joined(server, ['bob']);
  server.stream.say(data(11, 'void'));
  server.opening = (stream) => {
    if (stream.request.open.case === 'resume') stream.fail(serverError(Code.NotFound, 'SESSION_GONE'));
    else stream.say(welcome('me-again', ['zoe'], 3n));
  };
  server.stream.fail();
  await pass(100);
  server.stream.say({ ...data(4, 'hi'), from: 'zoe' });
  await pass(0);
  const told = record(session);
  await pass(0);
  assert.deepEqual(told, ['suspended', 'rejoined me', 'data zoe hi']);
});

test('ended is held and follows the events before it', async (server) => {
  const session = await joined(server, ['bob']);
  server.stream.say(data(11, 'last'));
  server.stream.say(goAway('REMOVED', Action.STOP));
  await pass(100);
  assert.equal(session.state, 'ended');
  const told = record(session);
  await pass(0);
  assert.deepEqual(told, ['data bob last', 'suspended', 'ended REMOVED']);
});

test('what comes again is not told again', async (server) => {
  const session = await joined(server);
  const told = record(session);
  for (const message of [data(11, 'a'), data(11, 'a'), data(9, 'old'), data(15, 'b'), data(11, 'a')]) {
    server.stream.say(message);
  }
  server.stream.say({ ...data(0, 'unnumbered'), seq: 0n });
  await pass(0);
  assert.deepEqual(told, ['data bob a', 'data bob b', 'data bob unnumbered']);
});

test('one Send at a time; what is said meanwhile goes together in the next', async (server) => {
  const session = await joined(server);
  const answers: (() => void)[] = [];
  server.answer = (request) => new Promise<SendResponse>((done) => answers.push(() => done(accept(request))));
  void session.sendOffer('bob', 'sdp', 1n);
  for (let i = 0; i < 3; i += 1) void session.sendCandidate('bob', { candidate: `c${i}` }, 1n);
  await pass(0);
  assert.equal(server.sends.length, 1, 'said in one breath');
  assert.deepEqual(server.numbered, [1, 2, 3, 4]);
  for (let i = 3; i < 6; i += 1) {
    void session.sendCandidate('bob', { candidate: `c${i}` }, 1n);
    await pass(0);
  }
  assert.equal(server.sends.length, 1, 'still in flight');
  answers[0]?.();
  await pass(0);
  assert.equal(server.sends.length, 2);
  assert.deepEqual(server.numbered, [1, 2, 3, 4, 5, 6, 7]);
  assert.equal(server.sends[1]?.sessionToken, 'token-of-me');
});

test('a Send that fails is repeated with the same numbers', async (server) => {
  const session = await joined(server);
  let failures = 2;
  server.answer = (request) => {
    failures -= 1;
    if (failures >= 0) throw serverError(Code.Unavailable, 'DRAINING');
    return accept(request);
  };
  const outcome = session.sendData({ text: 'x' });
  await pass(5_000);
  assert.deepEqual(await outcome, { status: 'accepted' });
  assert.deepEqual(server.numbered, [1, 1, 1]);
});

test('heartbeats when there is nothing to say, with what was received', async (server) => {
  const session = await joined(server);
  record(session);
  server.stream.say(data(12, 'x'));
  await pass(14_000);
  // A word from the server in time, so that it is not given up.
  server.stream.say({ body: { case: 'heartbeat', value: {} } });
  await pass(2_000);
  const [beat, ...more] = server.sends.flatMap((send) => send.messages);
  assert.equal(more.length, 0);
  assert.deepEqual([beat?.body.case, beat?.seq, beat?.ack], ['heartbeat', 0n, 12n]);
});

test('what was received is acknowledged along with what is said', async (server) => {
  const session = await joined(server);
  record(session);
  server.stream.say(data(12, 'x'));
  await pass(0);
  void session.sendData({ text: 'y' });
  void session.sendData({ text: 'z' });
  await pass(0);
  void session.sendData({ text: 'nothing new to acknowledge' });
  await pass(0);
  const said = server.sends.map(({ messages }) => messages.map(({ seq, ack }) => [Number(seq), Number(ack)]));
  assert.deepEqual(said, [
    [
      [0, 12],
      [1, 0],
      [2, 0],
    ],
    [[3, 0]],
  ]);
});

test('a listener that has nothing to say acknowledges all the same', async (server) => {
  record(await joined(server));
  for (let seq = 11; seq < 11 + 127; seq += 1) server.stream.say(data(seq, 'x'));
  await pass(0);
  await pass(0);
  assert.equal(server.sends.length, 0);
  server.stream.say(data(138, 'x'));
  await pass(0);
  assert.deepEqual(
    server.sends.map(({ messages }) => messages[0]?.ack),
    [138n],
  );
});

test('a lost stream is resumed at once, and what was not settled is said again', async (server) => {
  const session = await joined(server, ['bob']);
  const told = record(session);
  server.stream.say(data(12, 'x'));
  server.answer = () => new Promise(() => {});
  const outcome = session.sendData({ text: 'hello' });
  await pass(0);
  server.stream.fail();
  await pass(100);
  assert.equal(session.state, 'suspended');
  assert.equal(server.abortedSends, 1, 'the Send in flight is on the same dead network');
  const { open } = server.stream.request;
  assert.ok(open.case === 'resume');
  assert.deepEqual([open.value.sessionToken, open.value.afterSeq], ['token-of-me', 12n]);
  server.answer = accept;
  assert.deepEqual(server.numbered, [1], 'nothing goes out while suspended');
  server.stream.say(resumed(['bob']));
  await pass(0);
  assert.equal(session.state, 'connected');
  assert.deepEqual(server.numbered, [1, 1]);
  assert.deepEqual(await outcome, { status: 'accepted' });
  assert.deepEqual(told, ['data bob x', 'suspended', 'resumed']);
});

test('the ack of resumed settles nothing', async (server) => {
  const session = await joined(server);
  server.answer = () => new Promise(() => {});
  const outcome = session.sendData({ text: 'hello' });
  await pass(0);
  server.stream.fail();
  await pass(100);
  server.answer = () =>
    create(SendResponseSchema, { ack: 1n, undelivered: [{ clientSeq: 1n, reason: 'NO_SUCH_MEMBER' }] });
  server.stream.say(resumed([]));
  await pass(0);
  assert.equal((await outcome).status, 'undelivered');
});

test('the replay tells what was missed, in order, and the roster agrees afterwards', async (server) => {
  const session = await joined(server, ['bob', 'eve']);
  const told = record(session);
  server.stream.fail();
  await pass(100);
  server.stream.say(resumed(['bob', 'zoe'], 4));
  server.stream.say({ ...data(11, 'before leaving'), from: 'eve' });
  const left = { memberId: 'eve', reason: LeaveReason.TIMED_OUT };
  server.stream.say({ seq: 12n, body: { case: 'memberLeft', value: left } });
  const zoe = { memberId: 'zoe', displayName: 'zoe' };
  server.stream.say({ seq: 13n, body: { case: 'memberJoined', value: { member: zoe } } });
  server.stream.say({ ...data(14, 'hi'), from: 'zoe' });
  await pass(0);
  assert.deepEqual(
    told.slice(2).filter((line) => !line.startsWith('memberUpdated')),
    ['memberJoined zoe', 'data eve before leaving', 'memberLeft eve TIMED_OUT', 'data zoe hi'],
  );
  assert.deepEqual([...session.members.keys()], ['bob', 'zoe']);
});

test('silence means lost', async (server) => {
  const session = await joined(server);
  const told = record(session);
  await pass(34_000);
  assert.equal(session.state, 'connected');
  await pass(1_200);
  assert.equal(session.state, 'suspended');
  assert.equal(server.streams.length, 2);
  assert.ok(server.streams[0]?.aborted);
  assert.deepEqual(told, ['suspended TIMEOUT']);
  const { open } = server.stream.request;
  assert.ok(open.case === 'resume' && open.value.afterSeq === 10n, 'where the welcome stood');
});

test('resumes after 0, 0.3, 1.2, 2.7, 4.8 and 7 s, counted from one attempt to the next, and a new loss starts over', async (server) => {
  mock.method(Math, 'random', () => 0.5);
  try {
    const session = await joined(server);
    const attempts: number[] = [];
    server.opening = (stream) => {
      attempts.push(Date.now());
      stream.fail();
    };
    const waits = async () => {
      attempts.splice(0, attempts.length, Date.now());
      server.stream.fail();
      await pass(24_000);
      const [first, ...rest] = attempts.slice(1).map((at, index) => at - (attempts[index] ?? 0));
      // "At once" is the next time that the clock moves, by 50 ms.
      return [first === 50 ? 0 : first, ...rest];
    };
    assert.deepEqual(await waits(), [0, 300, 1_200, 2_700, 4_800, 7_000, 7_000]);
    server.opening = (stream) => stream.say(resumed([]));
    await pass(7_000);
    assert.equal(session.state, 'connected');
    // Once a connection has held for some time.
    await pass(6_000);
    server.opening = (stream) => {
      attempts.push(Date.now());
      stream.fail();
    };
    assert.deepEqual((await waits()).slice(0, 4), [0, 300, 1_200, 2_700]);
  } finally {
    mock.restoreAll();
  }
});

test('a stream that breaks at once is not hammered', async (server) => {
  await joined(server);
  server.opening = (stream) => {
    stream.say(resumed([]));
    stream.fail();
  };
  server.stream.fail();
  await pass(10_000);
  assert.ok(server.streams.length <= 7, `${server.streams.length} streams in 10 s`);
});

test('SESSION_GONE: joins anew, tells rejoined, and what was unsettled is unknown', async (server) => {
  const session = await joined(server, ['bob']);
  const told = record(session);
  server.stream.say(data(12, 'x'));
  server.answer = () => new Promise(() => {});
  const outcome = session.sendOffer('bob', 'sdp', 1n);
  void session.update({ displayName: 'New name' });
  await pass(0);
  server.opening = (stream) => {
    if (stream.request.open.case === 'resume') stream.fail(serverError(Code.NotFound, 'SESSION_GONE'));
    else stream.say(welcome('me-again', ['bob', 'zoe'], 3n));
  };
  server.stream.fail();
  await pass(100);
  assert.deepEqual(await outcome, { status: 'unknown' });
  assert.equal(session.me.memberId, 'me-again');
  assert.deepEqual([...session.members.keys()], ['bob', 'zoe']);
  assert.deepEqual(told, ['data bob x', 'suspended', 'rejoined me']);
  const { open } = server.stream.request;
  assert.ok(open.case === 'join' && open.value.displayName === 'New name');
  server.answer = accept;
  server.sends.length = 0;
  assert.deepEqual(await session.sendData({ text: 'x' }), { status: 'accepted' });
  assert.deepEqual(server.numbered, [1], 'a new session counts from 1');
  server.stream.say(data(4, 'y'));
  await pass(0);
  assert.equal(told.at(-1), 'data bob y', 'the new log has numbers of its own');
});

test('the window over, it joins instead of resuming, for as long as it takes', async (server) => {
  const session = await joined(server);
  server.opening = (stream) => stream.fail();
  server.stream.fail();
  await pass(34_000);
  assert.equal(server.stream.request.open.case, 'resume');
  await pass(20_000);
  assert.equal(server.stream.request.open.case, 'join');
  await pass(600_000);
  server.opening = (stream) => stream.say(welcome('me-again'));
  await pass(9_000);
  assert.equal(session.state, 'connected');
  assert.equal(session.me.memberId, 'me-again');
});

test('a room that does not take this member back ends the session', async (server) => {
  const session = await joined(server);
  const told = record(session);
  const reason = (stream: { request: { open: { case?: string | undefined } } }) =>
    stream.request.open.case === 'resume'
      ? serverError(Code.NotFound, 'SESSION_GONE')
      : serverError(Code.PermissionDenied, 'ROOM_LOCKED');
  server.opening = (stream) => stream.fail(reason(stream));
  server.stream.fail();
  await pass(60_000);
  assert.deepEqual(told, ['suspended', 'ended ROOM_LOCKED']);
  assert.equal(server.streams.length, 3);
});

test('go_away: resume after the time it names, rejoin, stop', async (server) => {
  const session = await joined(server);
  const told = record(session);
  server.stream.say(goAway('DRAINING', Action.RESUME, 2));
  await pass(1_900);
  assert.equal(server.streams.length, 1);
  await pass(200);
  assert.equal(server.stream.request.open.case, 'resume');
  server.stream.say(resumed([]));
  await pass(6_000);
  server.stream.fail();
  await pass(100);
  assert.equal(server.streams.length, 3, 'the go_away of before says nothing about this stream');
  server.stream.say(resumed([]));
  await pass(0);
  server.stream.say(goAway('SLOW_CONSUMER', Action.REJOIN));
  await pass(100);
  assert.equal(server.stream.request.open.case, 'join');
  server.stream.say(welcome('me-again'));
  await pass(0);
  server.stream.say(goAway('REMOVED', Action.STOP));
  await pass(60_000);
  assert.equal(session.state, 'ended');
  assert.equal(server.streams.length, 4);
  const resumes = ['suspended', 'resumed', 'suspended', 'resumed'];
  assert.deepEqual(told, [...resumes, 'suspended', 'rejoined me', 'suspended', 'ended REMOVED']);
  const outcome: Outcome = await session.sendData({ text: 'x' });
  assert.ok(outcome.status === 'undelivered' && outcome.failures[0].reason === 'ENDED');
});

test('a Send that finds the session gone joins anew', async (server) => {
  const session = await joined(server);
  const told = record(session);
  server.answer = () => {
    throw serverError(Code.NotFound, 'SESSION_GONE');
  };
  const outcome = session.sendData({ text: 'x' });
  await pass(100);
  assert.deepEqual(await outcome, { status: 'unknown' });
  server.stream.say(welcome('me-again'));
  await pass(0);
  assert.deepEqual(told, ['suspended SESSION_GONE', 'rejoined me']);
});

test('leave says what is pending first, then goodbye', async (server) => {
  const session = await joined(server);
  const told = record(session);
  const last = session.sendData({ text: 'bye' });
  const leaving = session.leave('tired');
  await pass(0);
  await leaving;
  assert.deepEqual(await last, { status: 'accepted' });
  const said = server.sends.flatMap((send) => send.messages.map(({ body }) => body.case));
  assert.deepEqual(said, ['data', 'leave']);
  assert.ok(server.stream.aborted);
  assert.deepEqual(told, ['ended LEFT']);
  await pass(60_000);
  assert.equal(server.streams.length, 1);
});

test('leave does not wait for ever', async (server) => {
  const session = await joined(server);
  server.answer = () => new Promise(() => {});
  const leaving = session.leave();
  await pass(1_900);
  assert.equal(session.state, 'connected');
  await pass(200);
  await leaving;
  assert.equal(session.state, 'ended');
});

test('leave while suspended tells the server too, and does not wait for ever', async (server) => {
  const session = await joined(server);
  server.stream.fail();
  await pass(100);
  server.answer = () => new Promise(() => {});
  const leaving = session.leave();
  await pass(2_100);
  await leaving;
  assert.equal(server.sends.at(-1)?.messages[0]?.body.case, 'leave');
  assert.equal(session.state, 'ended');
});
