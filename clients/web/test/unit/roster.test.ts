import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Member } from '../../src/model.js';
import { Roster } from '../../src/roster.js';

function member(memberId: string, change: Partial<Member> = {}): Member {
  const base = { identity: '', displayName: memberId, attributes: {}, joinOrder: 1, state: 'connected' as const };
  return { memberId, joinedAt: undefined, ...base, ...change };
}

test('operations are idempotent', () => {
  const roster = new Roster();
  assert.equal(roster.put(member('a')), 'joined');
  assert.equal(roster.put(member('a')), 'unchanged');
  assert.equal(roster.put(member('a', { state: 'suspended' })), 'updated');
  assert.equal(roster.put(member('a', { state: 'suspended' })), 'unchanged');
  assert.equal(roster.put(member('a', { attributes: { x: '1' } })), 'updated');
  assert.equal(roster.put(member('a', { attributes: { x: '1' } })), 'unchanged');
  assert.equal(roster.put(member('a', { attributes: { y: '1' } })), 'updated');
  assert.equal(roster.put(member('a', { displayName: 'A' })), 'updated');
  assert.equal(roster.remove('a')?.memberId, 'a');
  assert.equal(roster.remove('a'), undefined);
  assert.equal(roster.members.size, 0);
});

test('member missing from a snapshot stays until the replay removes it or ends', () => {
  const roster = new Roster();
  roster.reset([member('a'), member('b'), member('c')]);
  roster.markStale([member('b')]);
  assert.deepEqual([...roster.members.keys()], ['a', 'b', 'c']);
  roster.remove('a');
  assert.deepEqual(
    roster.sweep().map(({ memberId }) => memberId),
    ['c'],
  );
  assert.deepEqual([...roster.members.keys()], ['b']);
  assert.deepEqual(roster.sweep(), []);
});

test('reset clears members and marks', () => {
  const roster = new Roster();
  roster.reset([member('a')]);
  roster.markStale([]);
  roster.reset([member('a'), member('b')]);
  assert.deepEqual(roster.sweep(), []);
  assert.deepEqual([...roster.members.keys()], ['a', 'b']);
});

test('snapshot is immutable and changes its identity only with the roster', () => {
  const roster = new Roster();
  roster.reset([member('a')]);
  const first = roster.members;
  assert.equal(roster.put(member('a')), 'unchanged');
  assert.equal(roster.remove('b'), undefined);
  roster.markStale([member('a')]);
  roster.sweep();
  assert.equal(roster.members, first);
  const change = (action: () => void) => {
    const before = roster.members;
    const keys = [...before];
    action();
    assert.notEqual(roster.members, before);
    assert.deepEqual([...before], keys);
  };
  change(() => roster.put(member('b')));
  change(() => roster.put(member('b', { state: 'suspended' })));
  change(() => roster.remove('b'));
  change(() => roster.reset([]));
});
