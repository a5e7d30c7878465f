import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Code, ConnectError } from '@connectrpc/connect';
import { SignalError } from '../../src/errors.js';
import { bytesField, message, serverError } from './server.js';

test('server error provides reason, metadata, retry delay and field violations', () => {
  const error = serverError(Code.InvalidArgument, 'INVALID_MESSAGE', { expected_seq: '7' });
  const violation = message(bytesField(1, 'join.room'), bytesField(2, 'too long'));
  const retry = message(bytesField(1, new Uint8Array([0x08, 0x02, 0x10, 0x80, 0xca, 0xb5, 0xee, 0x01])));
  error.details.push({ type: 'google.rpc.BadRequest', value: message(bytesField(1, violation)) });
  error.details.push({ type: 'google.rpc.RetryInfo', value: retry });
  const read = SignalError.from(error);
  assert.equal(read.code, Code.InvalidArgument);
  assert.equal(read.reason, 'INVALID_MESSAGE');
  assert.deepEqual(read.metadata, { expected_seq: '7' });
  assert.equal(read.retryAfterMs, 2_500);
  assert.deepEqual(read.fieldViolations, [{ field: 'join.room', description: 'too long' }]);
  assert.equal(read.retryable, false);
});

test('details of another domain and malformed details are ignored', () => {
  const error = serverError(Code.Internal, 'X', {}, 'example.org');
  error.details.push({ type: 'google.rpc.RetryInfo', value: new Uint8Array([0x0a, 0xff]) });
  assert.equal(SignalError.from(error).reason, '');
});

test('network errors, timeouts, aborts and proxy responses have distinct reasons', () => {
  const network = SignalError.from(new TypeError('Failed to fetch'));
  assert.deepEqual([network.reason, network.code, network.retryable], ['NETWORK', Code.Unavailable, true]);
  const timeout = SignalError.from(new ConnectError('the operation timed out', Code.DeadlineExceeded));
  assert.deepEqual([timeout.reason, timeout.retryable], ['TIMEOUT', true]);
  const aborted = SignalError.from(new DOMException('aborted', 'AbortError'));
  assert.deepEqual([aborted.reason, aborted.retryable], ['ABORTED', false]);
});

test('HTTP status of a proxy decides whether a retry may help', () => {
  const http = (status: number, code: Code) => SignalError.from(new ConnectError(`HTTP ${status}`, code));
  const facts = ({ reason, httpStatus, retryable }: SignalError) => [reason, httpStatus, retryable];
  assert.deepEqual(facts(http(404, Code.Unimplemented)), ['PROXY', 404, true]);
  assert.deepEqual(facts(http(503, Code.Unavailable)), ['PROXY', 503, true]);
  assert.deepEqual(facts(http(403, Code.PermissionDenied)), ['PROXY', 403, false]);
  assert.deepEqual(facts(http(421, Code.Unknown)), ['PROXY', 421, false]);
});
