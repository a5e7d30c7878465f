import assert from 'node:assert/strict';
import { test } from 'node:test';
import { create, type MessageInitShape } from '@bufbuild/protobuf';
import { MemberState, ResumedSchema, ServerMessageSchema } from '../../src/gen/signalbox/v1/signal_pb.js';
import { Inbox } from '../../src/inbox.js';

/** An inbox after `welcome` at sequence number 10, and the events that it emits. */
function welcomed(memberIds: string[]): { inbox: Inbox; events: string[] } {
  const events: string[] = [];
  const inbox = new Inbox((name, event) => {
    const fields = event as { memberId?: string; member?: { memberId: string }; text?: string };
    events.push(`${name} ${fields.memberId ?? fields.member?.memberId ?? fields.text}`);
  });
  inbox.welcome(10n, snapshot(memberIds.map((memberId) => ({ memberId }))).members);
  return { inbox, events };
}

function snapshot(members: { memberId: string; state?: MemberState }[], replayed = 0) {
  return create(ResumedSchema, { members, replayed: BigInt(replayed) });
}

function data(seq: number, text: string) {
  const message: MessageInitShape<typeof ServerMessageSchema> = {
    seq: BigInt(seq),
    from: 'bob',
    body: { case: 'data', value: { text } },
  };
  return create(ServerMessageSchema, message);
}

test('snapshot of a resume is held and delivered before the replay', () => {
  const { inbox, events } = welcomed(['bob', 'eve']);
  inbox.receive(data(11, 'a'));
  inbox.resumed(snapshot([{ memberId: 'bob', state: MemberState.SUSPENDED }, { memberId: 'zoe' }], 2));
  inbox.receive(data(11, 'a'));
  inbox.receive(data(12, 'b'));
  assert.deepEqual(events, []);
  assert.deepEqual([...inbox.members.keys()], ['bob', 'eve'], 'the roster changes along with the events');
  inbox.release();
  assert.deepEqual(events, ['memberUpdated bob', 'memberJoined zoe', 'data a', 'data b', 'memberLeft eve']);
  assert.deepEqual([...inbox.members.keys()], ['bob', 'zoe']);
});

test('member missing from the snapshot leaves only after release', () => {
  const { inbox, events } = welcomed(['bob', 'eve']);
  inbox.resumed(snapshot([{ memberId: 'bob' }]));
  assert.deepEqual(events, []);
  inbox.release();
  assert.deepEqual(events, ['memberLeft eve']);
});

test('second resume replaces the held snapshot of the first', () => {
  const { inbox, events } = welcomed([]);
  inbox.resumed(snapshot([{ memberId: 'bob' }, { memberId: 'eve' }], 1));
  inbox.receive(data(11, 'a'));
  inbox.resumed(snapshot([{ memberId: 'eve' }], 1));
  inbox.receive(data(11, 'a'));
  inbox.release();
  assert.deepEqual(events, ['memberJoined eve', 'data a']);
});

test('replay ends after as many entries as announced, including those delivered before', () => {
  const { inbox, events } = welcomed(['bob', 'eve']);
  inbox.receive(data(11, 'a'));
  // The client has requested a replay after 10 by now.
  inbox.release();
  inbox.resumed(snapshot([{ memberId: 'bob' }], 1));
  inbox.receive(data(11, 'a'));
  assert.deepEqual(events, ['data a', 'memberLeft eve']);
});
