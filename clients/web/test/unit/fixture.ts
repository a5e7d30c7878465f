// What the tests of a session share: a server and a fake clock per test, a joined session, a recorder of its events.

import { mock, test as nodeTest } from 'node:test';
import type { SessionEvents } from '../../src/events.js';
import type { Action } from '../../src/gen/signalbox/v1/signal_pb.js';
import type { JoinOptions } from '../../src/options.js';
import { join, type Session } from '../../src/session.js';
import { pass } from './clock.js';
import { FakeServer, welcome } from './server.js';

/** A test with its own server and a fake clock that `pass` advances. */
export function test(name: string, body: (server: FakeServer) => Promise<void>): void {
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
export async function joined(server: FakeServer, others: string[] = [], options: JoinOptions = {}): Promise<Session> {
  const joining = join('room', { transport: server.transport, url: 'http://test', ...options });
  await pass(0);
  server.stream.send(welcome('me', others));
  return await joining;
}

/** Records all further events of a session. */
export function record(session: Session): string[] {
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

/** Data from bob. */
export const data = (seq: number, text: string) => {
  return { seq: BigInt(seq), from: 'bob', body: { case: 'data' as const, value: { text } } };
};
/** A go_away. */
export const goAway = (reason: string, action: Action, seconds = 0) => {
  const retryAfter = { seconds: BigInt(seconds), nanos: 0 };
  return { body: { case: 'goAway' as const, value: { reason, action, retryAfter } } };
};
