import assert from 'node:assert/strict';
import { test } from 'node:test';
import { normalizeCandidate } from '../../../src/mesh/candidate.js';
import { parseDescription } from '../../../src/mesh/description.js';

const bundled = parseDescription(
  'v=0\r\na=group:BUNDLE a b\r\nm=audio 9 x 0\r\na=mid:a\r\nm=video 9 x 0\r\na=mid:b\r\nm=video 0 x 0\r\na=mid:c\r\n',
);
const separate = parseDescription('v=0\r\nm=audio 9 x 0\r\na=mid:a\r\nm=video 9 x 0\r\na=mid:b\r\n');
const TEXT = '1 1 udp 2113937151 192.0.2.1 50000 typ host';
const plain = `candidate:${TEXT}`;

test('prefixes and line ends are normalized', () => {
  for (const text of [plain, TEXT, `a=${plain}\r\n`, `a=${TEXT}`, ` ${plain} `]) {
    const normalized = normalizeCandidate({ candidate: text, sdpMid: 'a' }, bundled);
    assert.deepEqual(normalized, { candidate: plain, sdpMid: 'a' }, text);
  }
  const mdns = `candidate:842163049 1 udp 1677729535 0a1b.local 46154 typ host generation 0`;
  assert.equal(normalizeCandidate({ candidate: mdns, sdpMid: 'a' }, bundled).candidate, mdns);
});

test('place of a candidate', () => {
  const place = (init: RTCIceCandidateInit) => {
    const { candidate: _, ...rest } = normalizeCandidate({ candidate: plain, ...init }, bundled);
    return rest;
  };
  assert.deepEqual(place({ sdpMid: 'b', sdpMLineIndex: 0 }), { sdpMid: 'b' });
  assert.deepEqual(place({ sdpMLineIndex: 1 }), { sdpMLineIndex: 1 });
  assert.deepEqual(place({ sdpMid: '', sdpMLineIndex: 1 }), { sdpMLineIndex: 1 });
  assert.deepEqual(place({ sdpMid: '' }), { sdpMLineIndex: 0 });
  assert.deepEqual(place({ sdpMid: null, sdpMLineIndex: null }), { sdpMLineIndex: 0 });
  assert.deepEqual(place({ sdpMid: 'unknown', sdpMLineIndex: 0 }), { sdpMLineIndex: 0 });
  assert.deepEqual(place({ sdpMid: 'a', usernameFragment: 'abcd' }), { sdpMid: 'a', usernameFragment: 'abcd' });
});

test('candidate without a place is rejected if there are several transports', () => {
  assert.throws(() => normalizeCandidate({ candidate: plain }, separate), /without a known mid/);
  assert.deepEqual(normalizeCandidate({ candidate: plain, sdpMid: 'b' }, separate), { candidate: plain, sdpMid: 'b' });
});

test('end of candidates needs no place', () => {
  assert.deepEqual(normalizeCandidate({ candidate: '' }, separate), { candidate: '' });
  assert.deepEqual(normalizeCandidate({ candidate: '', sdpMid: '' }, separate), { candidate: '' });
  assert.deepEqual(normalizeCandidate({ candidate: '', sdpMid: 'a' }, separate), { candidate: '', sdpMid: 'a' });
});
