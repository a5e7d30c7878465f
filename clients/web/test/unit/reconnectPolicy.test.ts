import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create } from '@bufbuild/protobuf';
import { Code, ConnectError } from '@connectrpc/connect';
import { SignalError } from '../../src/errors.js';
import { Action, GoAwaySchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import { nextStep } from '../../src/reconnectPolicy.js';
import { serverError } from './server.js';

const error = (code: Code, reason: string) => SignalError.from(serverError(code, reason));

test('action of go_away overrides reason and error', () => {
  const goAway = (action: Action) =>
    create(GoAwaySchema, { reason: 'NEW_REASON', action, retryAfter: { seconds: 2n, nanos: 0 } });
  const other = error(Code.NotFound, 'SESSION_GONE');
  assert.deepEqual(nextStep(other, goAway(Action.STOP), true), { to: 'end', reason: 'NEW_REASON' });
  assert.deepEqual(nextStep(other, goAway(Action.REJOIN), true), { to: 'rejoin', waitMs: 2_000 });
  assert.deepEqual(nextStep(other, goAway(Action.RESUME), true), { to: 'resume', waitMs: 2_000 });
});

test('reason decides without a go_away', () => {
  const to = (code: Code, reason: string) => nextStep(error(code, reason), undefined, true).to;
  for (const reason of ['REPLACED', 'REMOVED', 'ROOM_CLOSED', 'FENCED']) assert.equal(to(Code.Aborted, reason), 'end');
  assert.equal(to(Code.NotFound, 'SESSION_GONE'), 'rejoin');
  assert.equal(to(Code.ResourceExhausted, 'SLOW_CONSUMER'), 'rejoin');
  assert.equal(to(Code.FailedPrecondition, 'SEQ_GAP'), 'rejoin');
  assert.equal(to(Code.Unavailable, 'HEARTBEAT_TIMEOUT'), 'resume');
  assert.equal(to(Code.Unavailable, 'DRAINING'), 'resume');
  assert.equal(to(Code.ResourceExhausted, 'RATE_LIMITED'), 'resume');
  assert.equal(to(Code.ResourceExhausted, 'SERVER_FULL'), 'resume');
  assert.equal(to(Code.ResourceExhausted, 'ROOM_FULL'), 'end');
  assert.equal(to(Code.InvalidArgument, 'INVALID_MESSAGE'), 'rejoin');
  assert.equal(nextStep(error(Code.InvalidArgument, 'INVALID_MESSAGE'), undefined, false).to, 'end');
});

test('errors that do not come from the server lead to a resume', () => {
  const causes = [
    undefined,
    new TypeError('Failed to fetch'),
    'missing trailer',
    new ConnectError('HTTP 404', Code.Unimplemented),
    new ConnectError('HTTP 403', Code.PermissionDenied),
  ];
  for (const cause of causes) {
    const step = nextStep(cause === undefined ? undefined : SignalError.from(cause), undefined, true);
    assert.deepEqual(step, { to: 'resume', waitMs: undefined });
  }
});
