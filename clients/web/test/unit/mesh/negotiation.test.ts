import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Negotiation } from '../../../src/mesh/negotiation.js';

test('numbers increase and are unique across both peers', () => {
  const first = new Negotiation();
  const second = new Negotiation();
  const numbers = [first.start(false), second.start(true)];
  first.ignoreOffer(numbers[1] ?? 0);
  second.acceptOffer(numbers[0] ?? 0);
  numbers.push(second.start(true), first.start(false), first.start(false), second.start(true));
  assert.equal(new Set(numbers).size, numbers.length);
  assert.deepEqual(numbers.slice(0, 2), [1, 2]);
  assert.ok((numbers[2] ?? 0) > 2);
});

test('accepted remote offer withdraws the local one', () => {
  const negotiation = new Negotiation();
  const withdrawn = negotiation.start(true);
  assert.ok(negotiation.isExpectedAnswer(withdrawn));
  negotiation.acceptOffer(7);
  assert.equal(negotiation.isExpectedAnswer(withdrawn), false);
  assert.equal(negotiation.local, 7);
  const next = negotiation.start(true);
  assert.equal(next, 8);
  assert.equal(negotiation.isExpectedAnswer(7), false);
  assert.ok(negotiation.isExpectedAnswer(8));
  assert.ok(negotiation.isExpectedAnswer(0), 'a peer that does not use numbers');
});

test('candidates are applied, queued or dropped by their negotiation number', () => {
  const negotiation = new Negotiation();
  assert.equal(negotiation.classifyCandidate(2), 'queue');
  negotiation.acceptOffer(2);
  assert.equal(negotiation.classifyCandidate(2), 'apply');
  assert.equal(negotiation.classifyCandidate(0), 'apply');
  assert.equal(negotiation.classifyCandidate(4), 'queue');
  negotiation.acceptOffer(4);
  assert.equal(negotiation.classifyCandidate(2), 'drop');
  const own = negotiation.start(false);
  negotiation.ignoreOffer(6);
  assert.equal(negotiation.classifyCandidate(6), 'drop');
  assert.equal(negotiation.classifyCandidate(own), 'queue');
  negotiation.acceptAnswer();
  assert.equal(negotiation.classifyCandidate(own), 'apply');
  assert.equal(negotiation.classifyCandidate(4), 'drop');
});

test('remote peer may restart with lower numbers', () => {
  const negotiation = new Negotiation();
  negotiation.acceptOffer(41);
  negotiation.acceptOffer(1);
  assert.equal(negotiation.classifyCandidate(1), 'apply');
  assert.ok(negotiation.start(false) > 41);
});
