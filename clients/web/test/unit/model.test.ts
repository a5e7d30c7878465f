import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromNegotiation, toNegotiation } from '../../src/model.js';

test('negotiation numbers of the contract are safe integers', () => {
  assert.equal(toNegotiation(3n), 3);
  assert.equal(toNegotiation(2n ** 53n), 0, 'not used');
  assert.equal(fromNegotiation(3), 3n);
  for (const invalid of [-1, 1.5, 2 ** 53, Number.NaN]) assert.throws(() => fromNegotiation(invalid), RangeError);
});
