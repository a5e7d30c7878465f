import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { SignalError } from '../../src/errors.js';
import { Action, GoAwaySchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import { nextStep, type Phase } from '../../src/reconnectPolicy.js';
import { serverError } from './server.js';

/** A row of a table under "Reason and action" in docs/protocol.md. */
interface Row {
  readonly reasons: string[];
  readonly codes: Code[];
  readonly action: string;
}

const ALL_CODES = Object.values(Code).filter((code): code is Code => typeof code === 'number');
const TRANSIENT: Code[] = [Code.Unavailable, Code.DeadlineExceeded];
const codeOf = (name: string) =>
  ALL_CODES.find((code) => Code[code]?.toUpperCase() === name.replaceAll('_', '')) ?? assert.fail(name);
const quoted = (cell: string) => [...cell.matchAll(/`(\w+)`/g)].map(([, name]) => name ?? '');

/** The rows of the table after the line that starts with `heading`. */
function table(heading: string): Row[] {
  // Tests run in clients/web.
  const page = readFileSync('../../docs/protocol.md', 'utf8');
  const [, after = ''] = page.split(`\n${heading}`);
  const lines = after.split('\n');
  const start = lines.findIndex((line) => line.startsWith('|')) + 2;
  const rows = lines.slice(start, lines.indexOf('', start));
  return rows.map((line) => {
    const [reasons = '', codes = '', ...rest] = line.slice(1, -1).split('|');
    const names = reasons.includes('none') || reasons.includes('any other') ? [reasons.trim()] : quoted(reasons);
    return { reasons: names, codes: quoted(codes.replace('`leave`', '')).map(codeOf), action: rest.join(' ').trim() };
  });
}

/** The errors that a row describes. */
function errorsOf({ reasons, codes }: Row): SignalError[] {
  const statuses = [403, 415, 421];
  return reasons.flatMap((reason) => {
    if (reason.startsWith('none, with HTTP')) {
      return statuses.map((status) => SignalError.from(new ConnectError(`HTTP ${status}`, Code.Unknown)));
    }
    if (reason === 'none') {
      const other = [404, 500].map((status) => new ConnectError(`HTTP ${status}`, Code.Unknown));
      const causes = [new TypeError('Failed to fetch'), 'missing trailer', ...other];
      const bare = ALL_CODES.filter((code) => code !== Code.Canceled).map((code) => serverError(code, '', {}, 'other'));
      return [...causes, ...bare].map((cause) => SignalError.from(cause));
    }
    const isOther = reason === 'any other';
    // A bug of the server: docs/protocol.md counts it as a lost connection.
    const others = ALL_CODES.filter((code) => ![Code.Canceled, Code.Internal, ...TRANSIENT].includes(code));
    const codesOfRow = codes.length > 0 ? codes : others;
    return codesOfRow.map((code) => SignalError.from(serverError(code, isOther ? 'NEW_REASON' : reason)));
  });
}

function step(phase: Phase, error: SignalError, hasNewToken = false): string {
  return nextStep({ phase, error, goAway: undefined, hasNewToken }).to;
}

/** The actions of a row without and with a new token. */
function actionsOf({ reasons, action }: Row): [string, string] {
  // Permitted to a client that never shares its session token.
  if (reasons.includes('FENCED')) return ['resume', 'resume'];
  const act = action.startsWith('rejoin') ? 'rejoin' : /^(resume|join again)/.test(action) ? 'resume' : 'stop';
  if (action.startsWith('get another token')) return ['stop', 'resume'];
  return action.includes('with a new token') ? ['stop', act] : [act, act];
}

const TABLES: readonly [Phase, string][] = [
  ['stream', 'A stream of an open session ended'],
  ['send', 'A stream of an open session ended'],
  ['resume', 'A `resume` was refused'],
  ['join', 'A `join` was refused'],
];

for (const [phase, heading] of TABLES) {
  test(`action after a failed ${phase} is that of docs/protocol.md`, () => {
    const rows = table(heading);
    assert.ok(rows.length >= 9, `${rows.length} rows`);
    for (const row of rows) {
      const [withoutToken, withToken] = actionsOf(row);
      const errors = errorsOf(row);
      assert.ok(errors.length > 0);
      for (const error of errors) {
        const what = `${phase} ${error.reason} ${Code[error.code]} ${error.message}`;
        assert.equal(step(phase, error), withoutToken, what);
        if (withToken === withoutToken) continue;
        // The token of a Send is that of the call; the session may still be alive.
        assert.equal(step(phase, error, true), phase === 'send' ? 'resume' : withToken, `${what} with a new token`);
      }
    }
  });
}

test('action of go_away overrides reason and error', () => {
  const error = SignalError.from(serverError(Code.NotFound, 'SESSION_GONE'));
  const after = (action: Action) => {
    const goAway = create(GoAwaySchema, { reason: 'NEW_REASON', action, retryAfter: { seconds: 2n, nanos: 0 } });
    return nextStep({ phase: 'stream', error, goAway, hasNewToken: false });
  };
  assert.deepEqual(after(Action.STOP), { to: 'stop', reason: 'NEW_REASON' });
  assert.deepEqual(after(Action.REJOIN), { to: 'rejoin', waitMs: 2_000 });
  assert.deepEqual(after(Action.RESUME), { to: 'resume', waitMs: 2_000 });
});

test('FENCED is the late arrival of an abandoned resume', () => {
  const goAway = create(GoAwaySchema, { reason: 'FENCED', action: Action.STOP });
  const end = { phase: 'stream', error: undefined, goAway, hasNewToken: false } as const;
  assert.equal(nextStep(end).to, 'resume');
});

test('stream that ended without an error is resumed', () => {
  const end = { phase: 'stream', error: undefined, goAway: undefined, hasNewToken: false } as const;
  assert.deepEqual(nextStep(end), { to: 'resume', waitMs: undefined });
});

test('error that no retry resolves stops in every phase', () => {
  for (const phase of ['join', 'resume', 'stream', 'send'] as const) {
    assert.equal(step(phase, SignalError.unsupported('no streams')), 'stop');
    assert.equal(step(phase, SignalError.streamBlocked(undefined)), 'stop');
  }
});
