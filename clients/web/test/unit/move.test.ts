import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { createGrpcWebTransport } from '@connectrpc/connect-web';
import { SignalError } from '../../src/errors.js';
import type { SendResponse } from '../../src/gen/signalbox/v1/signal_pb.js';
import { join, type Session } from '../../src/session.js';
import { pass } from './clock.js';
import { accepted, FakeServer, resumed, serverError, welcome } from './server.js';

const OLD_URL = 'https://share.test:20100';
const NEW_URL = 'https://share.test:20101';

/** A session, the servers at its two URLs and its events. */
interface Fixture {
  readonly session: Session;
  readonly oldServer: FakeServer;
  readonly newServer: FakeServer;
  readonly events: string[];
  /** Replaces the in-memory server at the other URL by gRPC-Web over this `fetch`, if set. */
  readonly override: { fetch: typeof fetch | undefined };
}

/** A test with a joined session and a fake clock that `pass` advances. */
function test(name: string, body: (fixture: Fixture) => Promise<void>): void {
  nodeTest(name, async () => {
    mock.timers.enable({ apis: ['setTimeout', 'Date'] });
    try {
      const [oldServer, newServer] = [new FakeServer(), new FakeServer()];
      const override: Fixture['override'] = { fetch: undefined };
      const transport = (baseUrl: string) => {
        assert.ok(baseUrl === OLD_URL || baseUrl === NEW_URL, baseUrl);
        if (baseUrl === OLD_URL) return oldServer.transport;
        return override.fetch ? createGrpcWebTransport({ baseUrl, fetch: override.fetch }) : newServer.transport;
      };
      const joining = join('room', { url: `${OLD_URL}/`, transport });
      await pass();
      oldServer.stream.send(welcome('me', ['bob']));
      const session = await joining;
      const events: string[] = [];
      session.on('suspended', () => events.push('suspended'));
      session.on('resumed', () => events.push('resumed'));
      session.on('rejoined', ({ previousMemberId }) => events.push(`rejoined ${previousMemberId}`));
      session.on('ended', ({ reason }) => events.push(`ended ${reason}`));
      session.on('data', ({ text }) => events.push(`data ${text}`));
      await pass();
      await body({ session, oldServer, newServer, events, override });
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

test('session moves after the probe has succeeded', async ({ session, oldServer, newServer, events }) => {
  oldServer.stream.send(data(12, 'a'));
  await pass();
  const responses: (() => void)[] = [];
  newServer.respond = (request) => new Promise<SendResponse>((done) => responses.push(() => done(accepted(request))));
  const moving = session.moveTo(`${NEW_URL}/`);
  await pass();
  const [probe] = newServer.sends;
  assert.deepEqual(
    [probe?.sessionToken, probe?.messages.map((m) => [m.body.case, m.seq])],
    ['token-of-me', [['heartbeat', 0n]]],
  );
  assert.deepEqual(
    [session.url, session.state, newServer.streams.length],
    [OLD_URL, 'connected', 0],
    'before the probe succeeds',
  );
  oldServer.stream.send(data(13, 'b'));
  await pass();
  newServer.respond = accepted;
  responses[0]?.();
  await moving;
  await pass(50);
  assert.equal(session.url, NEW_URL);
  assert.ok(oldServer.stream.aborted);
  const { open } = newServer.stream.request;
  assert.ok(open.case === 'resume');
  assert.deepEqual([open.value.sessionToken, open.value.afterSeq], ['token-of-me', 13n]);
  newServer.stream.send(resumed(['bob'], 2));
  // The client has the first message already, while the second was sent during the move.
  newServer.stream.send(data(13, 'b'));
  newServer.stream.send(data(14, 'c'));
  await pass();
  assert.equal(session.state, 'connected');
  assert.deepEqual(events, ['data a', 'data b', 'suspended', 'resumed', 'data c']);
  assert.equal(oldServer.streams.length, 1);
});

test('pending messages are resent to the new URL with their numbers, and nothing to the old one', async ({
  session,
  oldServer,
  newServer,
}) => {
  oldServer.respond = () => new Promise(() => {});
  const first = session.sendData({ text: 'in flight' });
  await pass();
  const second = session.sendData({ text: 'pending' });
  await session.moveTo(NEW_URL);
  await pass(50);
  const third = session.sendData({ text: 'sent during the move' });
  await pass();
  assert.equal(oldServer.abortedSends, 1);
  assert.deepEqual(newServer.numberedSeqs, [], 'nothing is sent before the session has resumed');
  newServer.stream.send(resumed(['bob']));
  await pass();
  assert.deepEqual(await Promise.all([first, second, third]), Array(3).fill({ status: 'accepted' }));
  assert.deepEqual(newServer.numberedSeqs, [1, 2, 3]);
  assert.deepEqual(oldServer.numberedSeqs, [1]);
});

test('suspended session resumes at the new URL without backoff', async ({ session, oldServer, newServer, events }) => {
  oldServer.onOpen = (stream) => stream.fail();
  oldServer.stream.fail();
  await pass(5_000);
  const before = oldServer.streams.length;
  await session.moveTo(NEW_URL);
  await pass();
  assert.equal(newServer.stream.request.open.case, 'resume');
  newServer.stream.send(resumed(['bob']));
  await pass(60_000 - 50);
  assert.deepEqual([session.me.memberId, oldServer.streams.length], ['me', before]);
  assert.deepEqual(events.slice(0, 2), ['suspended', 'resumed']);
});

test('session rejoins at the new URL when the server does not know it', async ({
  session,
  oldServer,
  newServer,
  events,
}) => {
  const sessionGone = () => serverError(Code.NotFound, 'SESSION_GONE');
  oldServer.respond = () => new Promise(() => {});
  newServer.respond = () => {
    throw sessionGone();
  };
  newServer.onOpen = (stream) => {
    if (stream.request.open.case === 'resume') stream.fail(sessionGone());
    else stream.send(welcome('me-again', ['bob'], 3n));
  };
  const lost = session.sendData({ text: 'x' });
  await pass();
  await session.moveTo(NEW_URL);
  await pass(100);
  assert.deepEqual(events, ['suspended', 'rejoined me']);
  assert.deepEqual(await lost, { status: 'unknown' });
  newServer.respond = accepted;
  assert.deepEqual(await session.sendData({ text: 'y' }), { status: 'accepted' });
});

test('session rejoins at the new URL after the resume window', async ({ session, oldServer, newServer, events }) => {
  oldServer.onOpen = (stream) => stream.fail();
  oldServer.stream.fail();
  await pass(60_000);
  assert.equal(oldServer.stream.request.open.case, 'join');
  newServer.respond = () => {
    throw serverError(Code.NotFound, 'SESSION_GONE');
  };
  newServer.onOpen = (stream) => stream.send(welcome('me-again', ['bob'], 3n));
  await session.moveTo(NEW_URL);
  await pass(50);
  assert.equal(newServer.stream.request.open.case, 'join');
  assert.deepEqual(events, ['suspended', 'rejoined me']);
});

test('failed probe leaves the session unchanged', async ({ session, oldServer, newServer, events, override }) => {
  const failures: [() => Promise<Response>, string, number][] = [
    [() => Promise.reject(new TypeError('Failed to fetch')), 'NETWORK', 3],
    [async () => new Response('Bad Gateway', { status: 502 }), 'PROXY', 3],
    [async () => new Response('origin not allowed', { status: 403 }), 'PROXY', 1],
  ];
  for (const [respond, reason, calls] of failures) {
    let count = 0;
    override.fetch = () => {
      count += 1;
      return respond();
    };
    const moving = reasonOf(session.moveTo(NEW_URL));
    await pass(3_000);
    assert.deepEqual([await moving, count], [reason, calls]);
  }
  override.fetch = undefined;
  newServer.respond = () => {
    throw serverError(Code.Unauthenticated, 'TOKEN_INVALID');
  };
  assert.equal(await reasonOf(session.moveTo(NEW_URL)), 'TOKEN_INVALID');
  assert.deepEqual(
    [session.url, session.state, oldServer.streams.length, newServer.streams.length],
    [OLD_URL, 'connected', 1, 0],
  );
  oldServer.stream.send(data(12, 'still here'));
  assert.deepEqual(await session.sendData({ text: 'x' }), { status: 'accepted' });
  assert.deepEqual([events, oldServer.numberedSeqs], [['data still here'], [1]]);
});

test('probe without a response times out', async ({ session, newServer }) => {
  newServer.respond = () => new Promise(() => {});
  const moving = reasonOf(session.moveTo(NEW_URL));
  await pass(15_000);
  assert.equal(await moving, 'TIMEOUT');
  assert.equal(session.url, OLD_URL);
});

test('probe retries after a lost attempt', async ({ session, newServer }) => {
  let attempts = 0;
  newServer.respond = (request) => {
    attempts += 1;
    if (attempts === 1) throw noConnection();
    return accepted(request);
  };
  const moving = session.moveTo(NEW_URL);
  await pass(500);
  await moving;
  assert.equal(session.url, NEW_URL);
});

test('move to the current URL does nothing, and a later move cancels an earlier one', async ({
  session,
  oldServer,
  newServer,
}) => {
  await session.moveTo(`${OLD_URL}/`);
  await pass(50);
  assert.deepEqual([oldServer.streams.length, oldServer.sends.length, newServer.sends.length], [1, 0, 0]);
  const responses: (() => void)[] = [];
  newServer.respond = (request) => new Promise<SendResponse>((done) => responses.push(() => done(accepted(request))));
  const moving = reasonOf(session.moveTo(NEW_URL));
  await pass();
  await session.moveTo(OLD_URL);
  responses[0]?.();
  assert.equal(await moving, 'ABORTED');
  assert.deepEqual([session.url, newServer.streams.length], [OLD_URL, 0]);
});

test('two moves to the same URL move the session once', async ({ session, newServer, events }) => {
  await Promise.all([session.moveTo(NEW_URL), session.moveTo(NEW_URL)]);
  await pass(50);
  assert.deepEqual([session.url, newServer.streams.length], [NEW_URL, 1]);
  assert.deepEqual(events, ['suspended']);
});

test('ended session does not move', async ({ session, newServer }) => {
  let respond = () => {};
  newServer.respond = (request) => new Promise<SendResponse>((done) => (respond = () => done(accepted(request))));
  const moving = reasonOf(session.moveTo(NEW_URL));
  await pass();
  await session.leave();
  respond();
  assert.equal(await moving, 'ENDED');
  assert.equal(await reasonOf(session.moveTo(NEW_URL)), 'ENDED');
  assert.deepEqual([session.url, newServer.sends.length, newServer.streams.length], [OLD_URL, 1, 0]);
});
