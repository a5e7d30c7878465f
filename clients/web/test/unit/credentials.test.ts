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

function jwt(claims: object): string {
  const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${part({ alg: 'none' })}.${part(claims)}.signature`;
}

/** Tokens that are good for so many seconds, numbered. */
function tokens(seconds: number): { get: () => string; given: string[] } {
  const given: string[] = [];
  const get = () => {
    const now = Math.floor(Date.now() / 1000);
    const token = jwt({ jti: given.length + 1, nbf: now, exp: now + seconds });
    given.push(token);
    return token;
  };
  return { get, given };
}

const enter = (server: FakeServer, token: TokenSource) =>
  join('room', { transport: server.transport, url: 'http://test', token });

nodeTest('the time left is that of the claims, unless the clock is wrong', () => {
  const left = (claims: object) => remainingLifetimeMs(jwt(claims), 1_000_000);
  assert.equal(left({ exp: 1300, nbf: 1000 }), 300_000);
  assert.equal(left({ exp: 1100, nbf: 800 }), 100_000);
  assert.equal(left({ exp: 1300 }), 300_000);
  assert.equal(left({ exp: 9300, iat: 9000 }), 300_000);
  assert.equal(left({ exp: 300, iat: 0 }), 300_000);
  assert.equal(left({ exp: 1300, nbf: 1000, name: 'Åsa 🙂?>' }), 300_000);
  for (const odd of [{}, { exp: 'soon' }]) assert.equal(left(odd), undefined);
  for (const odd of ['', 'a.b.c', 'garbage']) assert.equal(remainingLifetimeMs(odd), undefined);
});

test('a fixed token goes along with every call', async (server) => {
  const joining = enter(server, 'fixed');
  await pass(0);
  server.stream.say(welcome('me'));
  const session = await joining;
  await pass(15_000);
  await session.leave();
  assert.ok(server.authorizations.length >= 3, String(server.authorizations.length));
  assert.deepEqual([...new Set(server.authorizations)], ['Bearer fixed']);
});

test('without a token there is no header', async (server) => {
  const joining = join('room', { transport: server.transport, url: 'http://test' });
  await pass(0);
  server.stream.say(welcome('me'));
  await joining;
  assert.deepEqual(server.authorizations, [null]);
});

test('a newer token is shown by a heartbeat, a minute before the old one expires', async (server) => {
  const { get, given } = tokens(600);
  const joining = enter(server, async () => get());
  await pass(0);
  server.stream.say(welcome('me'));
  const session = await joining;
  for (let minute = 0; minute < 9; minute += 1) {
    server.stream.say({ body: { case: 'heartbeat', value: {} } });
    for (let i = 0; i < 4; i += 1) {
      await pass(15_000);
      server.stream.say({ body: { case: 'heartbeat', value: {} } });
    }
  }
  await pass(100);
  assert.equal(given.length, 2);
  assert.equal(server.authorizations.at(-1), `Bearer ${given[1]}`);
  assert.equal(server.sends.at(-1)?.messages[0]?.body.case, 'heartbeat');
  assert.equal(session.state, 'connected');
});

test('a session that ended with its token is opened anew with another', async (server) => {
  const { get, given } = tokens(600);
  const joining = enter(server, get);
  await pass(0);
  server.stream.say(welcome('me'));
  const session = await joining;
  let previous = '';
  session.on('rejoined', ({ previousMemberId }) => {
    previous = previousMemberId;
  });
  server.stream.say({ body: { case: 'goAway', value: { reason: 'TOKEN_EXPIRED', action: Action.REJOIN } } });
  await pass(500);
  assert.equal(server.streams.length, 2);
  server.stream.say(welcome('me-again'));
  await pass(0);
  assert.equal(previous, 'me');
  assert.deepEqual(server.authorizations.slice(-1), [`Bearer ${given[1]}`]);
});

test('a fresh token that is refused is not followed by others', async (server) => {
  const { get, given } = tokens(600);
  server.opening = (stream) => stream.fail(serverError(Code.Unauthenticated, 'TOKEN_INVALID'));
  const refused = enter(server, get).catch((error: unknown) => error);
  await pass(1_000);
  const error = await refused;
  assert.ok(error instanceof SignalError);
  assert.equal(error.reason, 'TOKEN_INVALID');
  assert.equal(given.length, 1);
});

test('a function that fails is asked again, and then joining fails', async (server) => {
  let asked = 0;
  const failed = enter(server, () => {
    asked += 1;
    return Promise.reject(new Error('the back end is away'));
  }).catch((error: unknown) => error);
  await pass(40_000);
  const error = await failed;
  assert.ok(error instanceof SignalError);
  assert.equal(error.reason, 'NO_TOKEN');
  assert.match(error.message, /the back end is away/);
  assert.ok(asked > 2, String(asked));
  assert.equal(server.streams.length, 0);
});
