import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { ServerReason } from '../../src/reasons.js';

/** The compiler checks that these are the reasons of the type. */
const KNOWN: Record<ServerReason, true> = {
  ALREADY_JOINED: true,
  DRAINING: true,
  FENCED: true,
  HEARTBEAT_TIMEOUT: true,
  IDENTITY_TAKEN: true,
  INVALID_MESSAGE: true,
  INVALID_ROOM_NAME: true,
  JOIN_TIMEOUT: true,
  PASSCODE_WRONG: true,
  RATE_LIMITED: true,
  REMOVED: true,
  REPLACED: true,
  ROOM_CLOSED: true,
  ROOM_FORBIDDEN: true,
  ROOM_FULL: true,
  ROOM_LOCKED: true,
  ROOM_NOT_FOUND: true,
  SEQ_GAP: true,
  SERVER_FULL: true,
  SESSION_GONE: true,
  SLOW_CONSUMER: true,
  STORE_UNAVAILABLE: true,
  TOKEN_EXPIRED: true,
  TOKEN_INVALID: true,
  TOO_MANY_STREAMS: true,
};

test('reasons are those of the table in signal.proto', () => {
  // Tests run in clients/web.
  const proto = readFileSync('../../proto/signalbox/v1/signal.proto', 'utf8');
  const inTable = [...proto.matchAll(/^\/\/ {3}([A-Z_]+) +(?:resume|rejoin|stop)\b/gm)].map(([, reason]) => reason);
  assert.deepEqual(inTable.sort(), Object.keys(KNOWN).sort());
});
