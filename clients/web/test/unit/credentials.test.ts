import assert from 'node:assert/strict';
import { mock, test as nodeTest } from 'node:test';
import { Code } from '@connectrpc/connect';
import { remainingLifetimeMs } from '../../src/credentials.js';
import { SignalError } from '../../src/errors.js';
import { Action } from '../../src/gen/signalbox/v1/signal_pb.js';
import type { TokenSource } from '../../src/index.js';
import { join } from '../../src/session.js';
import { pass } from './clock.js';
import { FakeServer, serverError, welcome } from './server.js';

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

function jwt(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.signature`;
}

/** Issues numbered tokens that are valid for `seconds`. */
function tokens(seconds: number): { get: () => string; issued: string[] } {
  const issued: string[] = [];
  const get = () => {
    const now = Math.floor(Date.now() / 1000);
    const token = jwt({ jti: issued.length + 1, nbf: now, exp: now + seconds });
    issued.push(token);
    return token;
  };
  return { get, issued };
}

const joinWith = (server: FakeServer, token: TokenSource) =>
  join('room', { transport: server.transport, url: 'http://test', token });

nodeTest('remaining lifetime follows the claims unless the clock contradicts them', () => {
  const remaining = (claims: object) => remainingLifetimeMs(jwt(claims), 1_000_000);
  assert.equal(remaining({ exp: 1300, nbf: 1000 }), 300_000);
  assert.equal(remaining({ exp: 1100, nbf: 800 }), 100_000);
  assert.equal(remaining({ exp: 1300 }), 300_000);
  assert.equal(remaining({ exp: 9300, iat: 9000 }), 300_000);
  assert.equal(remaining({ exp: 300, iat: 0 }), 300_000);
  assert.equal(remaining({ exp: 1300, nbf: 1000, name: 'Åsa 🙂?>' }), 300_000);
  for (const invalid of [{}, { exp: 'soon' }]) assert.equal(remaining(invalid), undefined);
  for (const invalid of ['', 'a.b.c', 'garbage']) assert.equal(remainingLifetimeMs(invalid), undefined);
});

test('fixed token is sent with every call', async (server) => {
  const joining = joinWith(server, 'fixed');
  await pass(0);
  server.stream.send(welcome('me'));
  const session = await joining;
  await pass(15_000);
  await session.leave();
  assert.ok(server.authorizations.length >= 3, String(server.authorizations.length));
  assert.deepEqual([...new Set(server.authorizations)], ['Bearer fixed']);
});

test('calls without a token have no authorization header', async (server) => {
  const joining = join('room', { transport: server.transport, url: 'http://test' });
  await pass(0);
  server.stream.send(welcome('me'));
  await joining;
  assert.deepEqual(server.authorizations, [null]);
});

test('renewed token is sent with a heartbeat a minute before the old one expires', async (server) => {
  const { get, issued } = tokens(600);
  const joining = joinWith(server, async () => get());
  await pass(0);
  server.stream.send(welcome('me'));
  const session = await joining;
  for (let minute = 0; minute < 9; minute += 1) {
    server.stream.send({ body: { case: 'heartbeat', value: {} } });
    for (let i = 0; i < 4; i += 1) {
      await pass(15_000);
      server.stream.send({ body: { case: 'heartbeat', value: {} } });
    }
  }
  await pass(100);
  assert.equal(issued.length, 2);
  assert.equal(server.authorizations.at(-1), `Bearer ${issued[1]}`);
  assert.equal(server.sends.at(-1)?.messages[0]?.body.case, 'heartbeat');
  assert.equal(session.state, 'connected');
});

test('session that ended with its token rejoins with a new one', async (server) => {
  const { get, issued } = tokens(600);
  const joining = joinWith(server, get);
  await pass(0);
  server.stream.send(welcome('me'));
  const session = await joining;
  let previous = '';
  session.on('rejoined', ({ previousMemberId }) => {
    previous = previousMemberId;
  });
  server.stream.send({ body: { case: 'goAway', value: { reason: 'TOKEN_EXPIRED', action: Action.REJOIN } } });
  await pass(500);
  assert.equal(server.streams.length, 2);
  server.stream.send(welcome('me-again'));
  await pass(0);
  assert.equal(previous, 'me');
  assert.deepEqual(server.authorizations.slice(-1), [`Bearer ${issued[1]}`]);
});

test('rejection of a new token is final', async (server) => {
  const { get, issued } = tokens(600);
  server.onOpen = (stream) => stream.fail(serverError(Code.Unauthenticated, 'TOKEN_INVALID'));
  const rejected = joinWith(server, get).catch((error: unknown) => error);
  await pass(1_000);
  const error = await rejected;
  assert.ok(error instanceof SignalError);
  assert.equal(error.reason, 'TOKEN_INVALID');
  assert.equal(issued.length, 1);
});

test('failing token function is retried until the join times out', async (server) => {
  let calls = 0;
  const failed = joinWith(server, () => {
    calls += 1;
    return Promise.reject(new Error('backend unavailable'));
  }).catch((error: unknown) => error);
  await pass(40_000);
  const error = await failed;
  assert.ok(error instanceof SignalError);
  assert.equal(error.reason, 'NO_TOKEN');
  assert.match(error.message, /backend unavailable/);
  assert.ok(calls > 2, String(calls));
  assert.equal(server.streams.length, 0);
});
