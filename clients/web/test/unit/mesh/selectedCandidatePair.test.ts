import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSelectedCandidatePair } from '../../../src/mesh/selectedCandidatePair.js';

const local = { id: 'L', type: 'local-candidate', candidateType: 'relay', protocol: 'udp', relayProtocol: 'tls' };
const host = { id: 'H', type: 'local-candidate', candidateType: 'host', protocol: 'tcp' };
const remote = { id: 'R', type: 'remote-candidate', candidateType: 'srflx', protocol: 'udp' };
const pair = (id: string, localCandidateId: string, more = {}) => {
  return { id, type: 'candidate-pair', localCandidateId, remoteCandidateId: 'R', ...more };
};
const report = (...stats: { id: string }[]) => new Map<string, unknown>(stats.map((stat) => [stat.id, stat]));

test('transport stats name the pair (Chromium)', () => {
  const transport = { id: 'T', type: 'transport', selectedCandidatePairId: 'P2' };
  const stats = report(local, host, remote, pair('P1', 'H', { nominated: true, state: 'succeeded' }), pair('P2', 'L'));
  stats.set('T', transport);
  assert.deepEqual(readSelectedCandidatePair(stats), { local: 'relay', remote: 'srflx', protocol: 'tls' });
});

test('pair stats mark the pair as selected (Firefox) or nominated', () => {
  const selected = report(local, host, remote, pair('P1', 'L'), pair('P2', 'H', { selected: true }));
  assert.deepEqual(readSelectedCandidatePair(selected), { local: 'host', remote: 'srflx', protocol: 'tcp' });
  const nominated = pair('P2', 'H', { nominated: true, state: 'succeeded' });
  assert.equal(readSelectedCandidatePair(report(local, host, remote, pair('P1', 'L'), nominated))?.local, 'host');
});

test('result is undefined without a selected pair', () => {
  assert.equal(readSelectedCandidatePair(report(local, remote, pair('P1', 'L'))), undefined);
});
