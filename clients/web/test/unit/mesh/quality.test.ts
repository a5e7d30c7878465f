import assert from 'node:assert/strict';
import { test } from 'node:test';
import { QualityMeter } from '../../../src/mesh/quality.js';

function report(timestamp: number, bytes: number, received: number, lost: number, remote: object = {}, rtt = 0.05) {
  const pair = { type: 'candidate-pair', nominated: true, state: 'succeeded', currentRoundTripTime: rtt };
  return new Map<string, unknown>([
    ['pair', { ...pair, id: 'pair', timestamp, bytesReceived: bytes }],
    ['in', { type: 'inbound-rtp', id: 'in', timestamp, packetsReceived: received, packetsLost: lost }],
    ['remote', { type: 'remote-inbound-rtp', id: 'remote', timestamp, ...remote }],
  ]);
}

test('quality is measured between two reports', () => {
  const meter = new QualityMeter();
  meter.read(report(1_000, 1_000, 100, 0));
  const good = meter.read(report(3_000, 251_000, 300, 2));
  assert.deepEqual(good, { level: 'good', rttMs: 50, lossIn: 2 / 202, lossOut: 0, bitrate: 1_000_000, side: 'none' });
  const fair = meter.read(report(5_000, 251_000, 395, 7));
  assert.deepEqual([fair.level, fair.lossIn, fair.bitrate, fair.side], ['fair', 0.05, 0, 'in']);
  const poor = meter.read(report(7_000, 251_000, 495, 7, { fractionLost: 0.2 }));
  assert.deepEqual([poor.level, poor.lossOut, poor.side], ['poor', 0.2, 'out']);
  const both = meter.read(report(9_000, 251_000, 545, 57, { fractionLost: 0.2 }));
  assert.deepEqual([both.level, both.side], ['poor', 'both']);
  assert.equal(meter.read(report(11_000, 251_000, 645, 57, {}, 0.4)).level, 'fair');
});

test('counters that start again are no loss', () => {
  const meter = new QualityMeter();
  meter.read(report(1_000, 1_000_000, 1_000, 50));
  const { lossIn, bitrate } = meter.read(report(3_000, 5_000, 10, 0));
  assert.deepEqual([lossIn, bitrate], [0, 0]);
});

test('round-trip time comes from the remote end where the pair has none', () => {
  const meter = new QualityMeter();
  const stats = report(1_000, 0, 0, 0, { roundTripTime: 0.12 });
  stats.set('pair', { type: 'candidate-pair', id: 'pair', timestamp: 1_000, nominated: true, state: 'succeeded' });
  assert.equal(meter.read(stats).rttMs, 120);
  assert.equal(meter.read(new Map()).rttMs, undefined);
});
