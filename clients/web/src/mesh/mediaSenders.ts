import { type Kind, kindOf, type Publication, type PublishEncoding } from './publication.js';

/** The sender of one track of a publication. */
interface Sender {
  readonly rtc: RTCRtpSender;
  /** The track as published last. The application may have replaced it in the RTCRtpSender, which is kept. */
  published: MediaStreamTrack | null;
}

/** Sends publications over one RTCPeerConnection. */
export class MediaSenders {
  readonly #connection: RTCPeerConnection;
  readonly #senders = new Map<Publication, Map<Kind, Sender>>();
  // Transceivers of ended publications, for reuse. Otherwise each new publication would add an m-line.
  readonly #idle: RTCRtpTransceiver[] = [];

  constructor(connection: RTCPeerConnection) {
    this.#connection = connection;
  }

  /** Adds, replaces and removes tracks. Changes other than replacements fire `negotiationneeded`. */
  async sync(publications: ReadonlySet<Publication>): Promise<void> {
    for (const [publication, senders] of this.#senders) {
      if (!publications.has(publication)) this.#remove(publication, senders);
    }
    const replaced: Promise<void>[] = [];
    for (const publication of publications) {
      const senders = this.#senders.get(publication) ?? new Map<Kind, Sender>();
      this.#senders.set(publication, senders);
      for (const [kind, track] of publication.kinds) {
        const sender = senders.get(kind);
        if (!sender) {
          senders.set(kind, { rtc: this.#add(publication, kind, track), published: track });
        } else if (sender.published !== track) {
          sender.published = track;
          replaced.push(sender.rtc.replaceTrack(track));
        }
      }
    }
    await Promise.all(replaced);
  }

  /** Applies the encodings, with at most `maxBitrate` for each video. */
  async encode(maxBitrate: number): Promise<void> {
    const changes: Promise<void>[] = [];
    for (const [{ encoding }, senders] of this.#senders) {
      const sender = senders.get('video');
      if (!sender) continue;
      const bitrate = Math.min(encoding.maxBitrate ?? maxBitrate, maxBitrate);
      changes.push(setEncoding(sender.rtc, { ...encoding, maxBitrate: bitrate }));
    }
    await Promise.all(changes);
  }

  /** Whether the sender belongs to a publication. */
  manages(sender: RTCRtpSender): boolean {
    return (
      this.#idle.some((idle) => idle.sender === sender) ||
      [...this.#senders.values()].some((senders) => [...senders.values()].some(({ rtc }) => rtc === sender))
    );
  }

  /** The live track that the application set with `RTCRtpSender.replaceTrack` instead of `Publication.replace`. */
  replacement(publication: Publication, kind: Kind): MediaStreamTrack | undefined {
    const track = this.#senders.get(publication)?.get(kind)?.rtc.track;
    return track && track !== publication.kinds.get(kind) && track.readyState === 'live' ? track : undefined;
  }

  #add(publication: Publication, kind: Kind, track: MediaStreamTrack | null): RTCRtpSender {
    const { stream } = publication;
    const at = this.#idle.findIndex(({ receiver }) => kindOf(receiver.track) === kind);
    const [idle] = at < 0 ? [] : this.#idle.splice(at, 1);
    if (idle) {
      idle.direction = idle.direction === 'recvonly' ? 'sendrecv' : 'sendonly';
      idle.sender.setStreams(stream);
      void idle.sender.replaceTrack(track).catch(() => {});
      return idle.sender;
    }
    // `addTrack` reuses a transceiver from a remote offer, if there is one.
    if (track) return this.#connection.addTrack(track, stream);
    return this.#connection.addTransceiver(kind, { direction: 'sendonly', streams: [stream] }).sender;
  }

  #remove(publication: Publication, senders: Map<Kind, Sender>): void {
    this.#senders.delete(publication);
    for (const { rtc: sender } of senders.values()) {
      this.#connection.removeTrack(sender);
      const transceiver = this.#connection.getTransceivers().find((each) => each.sender === sender);
      // Firefox before version 113 has no setStreams.
      if (transceiver && 'setStreams' in sender) this.#idle.push(transceiver);
    }
  }
}

/** Sets the fields of the first encoding. Does nothing for a stopped transceiver. */
export async function setEncoding(sender: RTCRtpSender, change: PublishEncoding): Promise<void> {
  const parameters = sender.getParameters();
  const [first] = parameters.encodings ?? [];
  if (!first) return;
  for (const [name, value] of Object.entries(change)) {
    if (value !== undefined) Object.assign(first, { [name]: value });
  }
  await sender.setParameters(parameters);
}
