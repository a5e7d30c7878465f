import assert from 'node:assert/strict';
import { test } from 'node:test';
import { MediaSenders } from '../../../src/mesh/mediaSenders.js';
import type { Publication } from '../../../src/mesh/publication.js';

type Track = MediaStreamTrack | null;

const track = (id: string) => ({ id, kind: 'video', readyState: 'live' }) as MediaStreamTrack;

function fixture() {
  const senders: { track: Track; replaceTrack(track: Track): Promise<void> }[] = [];
  const connection = {
    addTrack(track: Track) {
      const sender = {
        track,
        async replaceTrack(next: Track) {
          sender.track = next;
        },
      };
      senders.push(sender);
      return sender;
    },
  };
  return { senders, media: new MediaSenders(connection as unknown as RTCPeerConnection) };
}

test('track that the application set in a sender stays until the publication has another one', async () => {
  const { senders, media } = fixture();
  const kinds = new Map<string, Track>([['video', track('camera')]]);
  const publication = { kinds, stream: {}, encoding: {} } as unknown as Publication;
  await media.sync(new Set([publication]));
  const own = track('own');
  await senders[0]?.replaceTrack(own);
  assert.equal(media.replacement(publication, 'video'), own);
  await media.sync(new Set([publication]));
  assert.equal(senders[0]?.track, own);
  kinds.set('video', track('other'));
  await media.sync(new Set([publication]));
  assert.equal(senders[0]?.track?.id, 'other');
  assert.equal(media.replacement(publication, 'video'), undefined);
});
