import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { SignalError } from '../../src/errors.js';
import type { SendResponse } from '../../src/gen/signalbox/v1/signal_pb.js';
import { join, type Session } from '../../src/session.js';
import { pass } from './clock.js';
import { accept, FakeServer, resumed, serverError, welcome } from './server.js';

const HERE = 'https://share.test:20100';
const THERE = 'https://share.test:20101';

/** Two ways to a server, and what the session told. */
interface Scene {
  readonly session: Session;
  readonly here: FakeServer;
  readonly there: FakeServer;
  readonly told: string[];
  /** What a browser's `fetch` to the other address comes to, in place of a server in memory. */
  readonly over: { fetch: typeof fetch | undefined };
}

/** A test with a session in a room, and a clock that only `pass` moves. */
function test(name: string, body: (scene: Scene) => Promise<void>): void {
  nodeTest(name, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    try {
      const [here, there] = [new FakeServer(), new FakeServer()];
      const over: Scene['over'] = { fetch: undefined };
      const transport = (baseUrl: string) => {
        assert.ok(baseUrl === HERE || baseUrl === THERE, baseUrl);
        if (baseUrl === HERE) return here.transport;
        return over.fetch ? createGrpcWebTransport({ baseUrl, fetch: over.fetch }) : there.transport;
      };
      const joining = join('room', { url: `${HERE}/`, transport });
      await pass();
      here.stream.say(welcome('me', ['bob']));
      const session = await joining;
      const told: string[] = [];
      session.on('suspended', () => told.push('suspended'));
      session.on('resumed', () => told.push('resumed'));
      session.on('rejoined', ({ previousMemberId }) => told.push(`rejoined ${previousMemberId}`));
      session.on('ended', ({ reason }) => told.push(`ended ${reason}`));
      session.on('data', ({ text }) => told.push(`data ${text}`));
      await pass();
      await body({ session, here, there, told, over });
    } finally {
      mock.timers.reset();
    }
  });
}

const data = (seq: number, text: string) => ({
  seq: BigInt(seq),
  from: 'bob',
  body: { case: 'data' as const, value: { text } },
});
const noConnection = () => new ConnectError('connection lost', Code.Unavailable);
const reasonOf = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (error) => error,
  );
  return error instanceof SignalError ? error.reason : error;
};

test('goes on there, once it is known that the server answers there', async ({ session, here, there, told }) => {
  here.stream.say(data(12, 'a'));
  await pass();
  const answers: (() => void)[] = [];
  there.answer = (request) => new Promise<SendResponse>((done) => answers.push(() => done(accept(request))));
  const moving = session.moveTo(`${THERE}/`);
  await pass();
  const [probe] = there.sends;
  assert.deepEqual(
    [probe?.sessionToken, probe?.messages.map((m) => [m.body.case, m.seq])],
    ['token-of-me', [['heartbeat', 0n]]],
  );
  assert.deepEqual([session.url, session.state, there.streams.length], [HERE, 'connected', 0], 'not yet');
  here.stream.say(data(13, 'b'));
  await pass();
  there.answer = accept;
  answers[0]?.();
  await moving;
  await pass(50);
  assert.equal(session.url, THERE);
  assert.ok(here.stream.aborted);
  const { open } = there.stream.request;
  assert.ok(open.case === 'resume');
  assert.deepEqual([open.value.sessionToken, open.value.afterSeq], ['token-of-me', 13n]);
  there.stream.say(resumed(['bob'], 2));
  // The first is one that this side has, the other one that was said meanwhile.
  there.stream.say(data(13, 'b'));
  there.stream.say(data(14, 'c'));
  await pass();
  assert.equal(session.state, 'connected');
  assert.deepEqual(told, ['data a', 'data b', 'suspended', 'resumed', 'data c']);
  assert.equal(here.streams.length, 1);
});

test('what was not settled is said again there, with its number, and nothing more goes to the old address', async ({
  session,
  here,
  there,
}) => {
  here.answer = () => new Promise(() => {});
  const first = session.sendData({ text: 'under way' });
  await pass();
  const second = session.sendData({ text: 'waiting' });
  await session.moveTo(THERE);
  await pass(50);
  const third = session.sendData({ text: 'said meanwhile' });
  await pass();
  assert.equal(here.abortedSends, 1);
  assert.deepEqual(there.numbered, [], 'not before the session has resumed');
  there.stream.say(resumed(['bob']));
  await pass();
  assert.deepEqual(await Promise.all([first, second, third]), Array(3).fill({ status: 'accepted' }));
  assert.deepEqual(there.numbered, [1, 2, 3]);
  assert.deepEqual(here.numbered, [1]);
});

test('a session that is suspended resumes there at once, whatever its schedule says', async ({
  session,
  here,
  there,
  told,
}) => {
  here.opening = (stream) => stream.fail();
  here.stream.fail();
  await pass(5_000);
  const before = here.streams.length;
  await session.moveTo(THERE);
  await pass();
  assert.equal(there.stream.request.open.case, 'resume');
  there.stream.say(resumed(['bob']));
  await pass(60_000 - 50);
  assert.deepEqual([session.me.memberId, here.streams.length], ['me', before]);
  assert.deepEqual(told.slice(0, 2), ['suspended', 'resumed']);
});

test('a server that does not know the session any more: joins anew there', async ({ session, here, there, told }) => {
  const gone = () => serverError(Code.NotFound, 'SESSION_GONE');
  here.answer = () => new Promise(() => {});
  there.answer = () => {
    throw gone();
  };
  there.opening = (stream) => {
    if (stream.request.open.case === 'resume') stream.fail(gone());
    else stream.say(welcome('me-again', ['bob'], 3n));
  };
  const lost = session.sendData({ text: 'x' });
  await pass();
  await session.moveTo(THERE);
  await pass(100);
  assert.deepEqual(told, ['suspended', 'rejoined me']);
  assert.deepEqual(await lost, { status: 'unknown' });
  there.answer = accept;
  assert.deepEqual(await session.sendData({ text: 'y' }), { status: 'accepted' });
});

test('after the resume window, too', async ({ session, here, there, told }) => {
  here.opening = (stream) => stream.fail();
  here.stream.fail();
  await pass(60_000);
  assert.equal(here.stream.request.open.case, 'join');
  there.answer = () => {
    throw serverError(Code.NotFound, 'SESSION_GONE');
  };
  there.opening = (stream) => stream.say(welcome('me-again', ['bob'], 3n));
  await session.moveTo(THERE);
  await pass(50);
  assert.equal(there.stream.request.open.case, 'join');
  assert.deepEqual(told, ['suspended', 'rejoined me']);
});

test('where it cannot be reached the session stays as it is', async ({ session, here, there, told, over }) => {
  const ways: [() => Promise<Response>, string, number][] = [
    [() => Promise.reject(new TypeError('Failed to fetch')), 'NETWORK', 3],
    [async () => new Response('Bad Gateway', { status: 502 }), 'PROXY', 3],
    [async () => new Response('pages of this origin may not call', { status: 403 }), 'PROXY', 1],
  ];
  for (const [answer, reason, calls] of ways) {
    let count = 0;
    over.fetch = () => {
      count += 1;
      return answer();
    };
    const moving = reasonOf(session.moveTo(THERE));
    await pass(3_000);
    assert.deepEqual([await moving, count], [reason, calls]);
  }
  over.fetch = undefined;
  there.answer = () => {
    throw serverError(Code.Unauthenticated, 'TOKEN_INVALID');
  };
  assert.equal(await reasonOf(session.moveTo(THERE)), 'TOKEN_INVALID');
  assert.deepEqual([session.url, session.state, here.streams.length, there.streams.length], [HERE, 'connected', 1, 0]);
  here.stream.say(data(12, 'still here'));
  assert.deepEqual(await session.sendData({ text: 'x' }), { status: 'accepted' });
  assert.deepEqual([told, here.numbered], [['data still here'], [1]]);
});

test('nor where nobody answers in time', async ({ session, there }) => {
  there.answer = () => new Promise(() => {});
  const moving = reasonOf(session.moveTo(THERE));
  await pass(15_000);
  assert.equal(await moving, 'TIMEOUT');
  assert.equal(session.url, HERE);
});

test('one lost attempt does not count', async ({ session, there }) => {
  let attempts = 0;
  there.answer = (request) => {
    attempts += 1;
    if (attempts === 1) throw noConnection();
    return accept(request);
  };
  const moving = session.moveTo(THERE);
  await pass(500);
  await moving;
  assert.equal(session.url, THERE);
});

test('to where it is, nothing happens; and the newest goal holds', async ({ session, here, there }) => {
  await session.moveTo(`${HERE}/`);
  await pass(50);
  assert.deepEqual([here.streams.length, here.sends.length, there.sends.length], [1, 0, 0]);
  const answers: (() => void)[] = [];
  there.answer = (request) => new Promise<SendResponse>((done) => answers.push(() => done(accept(request))));
  const moving = reasonOf(session.moveTo(THERE));
  await pass();
  await session.moveTo(HERE);
  answers[0]?.();
  assert.equal(await moving, 'ABORTED');
  assert.deepEqual([session.url, there.streams.length], [HERE, 0]);
});

test('asked twice it moves once', async ({ session, there, told }) => {
  await Promise.all([session.moveTo(THERE), session.moveTo(THERE)]);
  await pass(50);
  assert.deepEqual([session.url, there.streams.length], [THERE, 1]);
  assert.deepEqual(told, ['suspended']);
});

test('a session that has ended does not move', async ({ session, there }) => {
  let answer = () => {};
  there.answer = (request) => new Promise<SendResponse>((done) => (answer = () => done(accept(request))));
  const moving = reasonOf(session.moveTo(THERE));
  await pass();
  await session.leave();
  answer();
  assert.equal(await moving, 'ENDED');
  assert.equal(await reasonOf(session.moveTo(THERE)), 'ENDED');
  assert.deepEqual([session.url, there.sends.length, there.streams.length], [HERE, 1, 0]);
});
