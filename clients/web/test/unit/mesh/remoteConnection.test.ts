import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RemoteConnection } from '../../../src/mesh/remoteConnection.js';

interface Parts {
  id?: string;
  version?: string;
  fingerprints?: string[];
  ufrag?: string;
  lines?: number;
  cname?: string;
}

function sdp({
  id = '4611731400430051336',
  version = '2',
  fingerprints,
  ufrag = 'abcd',
  lines = 2,
  cname,
}: Parts = {}): string {
  const media = Array.from({ length: lines }, (_, mid) => [
    `m=audio 9 UDP/TLS/RTP/SAVPF 111`,
    `a=ice-ufrag:${ufrag}`,
    `a=ice-pwd:password-of-${ufrag}`,
    ...(fingerprints ?? ['sha-256 AA:BB']).map((fingerprint) => `a=fingerprint:${fingerprint}`),
    `a=mid:${mid}`,
    ...(cname ? [`a=ssrc:${mid + 1} cname:${cname}`] : []),
  ]);
  return ['v=0', `o=- ${id} ${version} IN IP4 127.0.0.1`, 's=-', ...media.flat(), ''].join('\r\n');
}

function continues(before: Parts[], next: Parts, hasEnded = false): boolean {
  const remote = new RemoteConnection();
  for (const parts of before) remote.accept(sdp(parts));
  return remote.continuesWith(sdp(next), hasEnded);
}

test('renegotiation continues the connection, however its fingerprints are written', () => {
  assert.ok(continues([], {}), 'the first description');
  assert.ok(continues([{}], { version: '3', lines: 3 }));
  assert.ok(continues([{}], { fingerprints: ['SHA-256 aa:bb'], ufrag: 'new' }), 'case');
  const three = ['sha-256 AA:BB', 'sha-384 CC', 'sha-512 DD'];
  assert.ok(continues([{ fingerprints: ['sha-512 DD'] }], { fingerprints: three, ufrag: 'new' }), 'one of several');
  assert.ok(continues([{ fingerprints: ['sha-512 DD'] }], { fingerprints: ['sha-256 AA:BB'] }), 'another algorithm');
});

test('ICE restart continues the connection', () => {
  assert.ok(continues([{}], { version: '3', ufrag: 'new' }));
  // Stacks that write a timestamp as session id, which RFC 8866 suggests.
  assert.ok(continues([{ id: '3900', version: '3900' }], { id: '3907', version: '3907', ufrag: 'new' }));
  // Stacks that were seen to change it within a connection.
  assert.ok(continues([{ id: '1'.repeat(18) }, { id: '2'.repeat(18) }], { id: '3'.repeat(18), ufrag: 'new' }));
});

test('another certificate is another connection', () => {
  assert.ok(!continues([{}], { fingerprints: ['sha-256 EE'], ufrag: 'new' }));
  assert.ok(
    !continues([{ fingerprints: ['sha-256 AA', 'sha-384 BB'] }], { fingerprints: ['sha-384 CC'], ufrag: 'new' }),
  );
});

test('same certificate can be another connection', () => {
  assert.ok(!continues([{}], { id: '77', ufrag: 'new' }), 'another session id');
  const random = (id: string, ufrag: string, cname: string) => ({ id, version: '0', ufrag, cname });
  assert.ok(!continues([random('44705787', 'old', 'a')], random('64088974', 'new', 'b')), 'another CNAME');
  assert.ok(continues([random('44705787', 'old', 'a')], random('64088974', 'new', 'a')), 'the same CNAME');
  assert.ok(!continues([{ lines: 3 }], { ufrag: 'new', lines: 2 }), 'fewer m-lines');
  const timestamps = { id: '3907', version: '3907', ufrag: 'new' };
  assert.ok(!continues([{ id: '3900', version: '3900' }], timestamps, true), 'the previous one has ended');
});
