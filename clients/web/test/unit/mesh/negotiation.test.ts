import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Negotiation } from '../../../src/mesh/negotiation.js';

test('numbers increase and are unique across both peers', () => {
  const first = new Negotiation();
  const second = new Negotiation();
  const numbers = [first.start(false), second.start(true)];
  first.ignoreOffer(numbers[1] ?? 0n);
  second.acceptOffer(numbers[0] ?? 0n);
  numbers.push(second.start(true), first.start(false), first.start(false), second.start(true));
  assert.equal(new Set(numbers).size, numbers.length);
  assert.deepEqual(numbers.slice(0, 2), [1n, 2n]);
  assert.ok((numbers[2] ?? 0n) > 2n);
});

test('accepted remote offer withdraws the local one', () => {
  const negotiation = new Negotiation();
  const withdrawn = negotiation.start(true);
  assert.ok(negotiation.isExpectedAnswer(withdrawn));
  negotiation.acceptOffer(7n);
  assert.equal(negotiation.isExpectedAnswer(withdrawn), false);
  assert.equal(negotiation.local, 7n);
  const next = negotiation.start(true);
  assert.equal(next, 8n);
  assert.equal(negotiation.isExpectedAnswer(7n), false);
  assert.ok(negotiation.isExpectedAnswer(8n));
  assert.ok(negotiation.isExpectedAnswer(0n), 'a peer that does not use numbers');
});

test('candidates are applied, queued or dropped by their negotiation number', () => {
  const negotiation = new Negotiation();
  assert.equal(negotiation.classifyCandidate(2n), 'queue');
  negotiation.acceptOffer(2n);
  assert.equal(negotiation.classifyCandidate(2n), 'apply');
  assert.equal(negotiation.classifyCandidate(0n), 'apply');
  assert.equal(negotiation.classifyCandidate(4n), 'queue');
  negotiation.acceptOffer(4n);
  assert.equal(negotiation.classifyCandidate(2n), 'drop');
  const own = negotiation.start(false);
  negotiation.ignoreOffer(6n);
  assert.equal(negotiation.classifyCandidate(6n), 'drop');
  assert.equal(negotiation.classifyCandidate(own), 'queue');
  negotiation.acceptAnswer();
  assert.equal(negotiation.classifyCandidate(own), 'apply');
  assert.equal(negotiation.classifyCandidate(4n), 'drop');
});

test('remote peer may restart with lower numbers', () => {
  const negotiation = new Negotiation();
  negotiation.acceptOffer(41n);
  negotiation.acceptOffer(1n);
  assert.equal(negotiation.classifyCandidate(1n), 'apply');
  assert.ok(negotiation.start(false) > 41n);
});
