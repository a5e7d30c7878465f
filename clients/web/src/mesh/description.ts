/** The parts of a session description (RFC 8866) that identify a connection or an m-line. */
export interface Description {
  /** `sess-id` and `sess-version` of the o= line. */
  readonly sessionId: string;
  readonly sessionVersion: string;
  /** Every a=fingerprint, as `algorithm HEX`. Both parts are case-insensitive on the wire (RFC 8122, section 5). */
  readonly fingerprints: ReadonlySet<string>;
  /** Every RTCP CNAME. An RTCPeerConnection uses only one (RFC 8834, section 4.9). Empty without media. */
  readonly cnames: ReadonlySet<string>;
  /** ICE username fragment and password of the first m-line. */
  readonly iceCredentials: string;
  /** Every m-line, in order. */
  readonly media: readonly MediaDescription[];
  /** Whether one transport carries every m-line, because there is a single m-line or a BUNDLE group of all of them. */
  readonly isBundled: boolean;
}

/** One m-line. */
export interface MediaDescription {
  /** a=mid, if there is one. */
  readonly mid: string | undefined;
  /** Whether the m-line is rejected (port 0). */
  readonly isRejected: boolean;
}

/** Parses a description. Never throws: absent parts are empty. */
export function parseDescription(sdp: string): Description {
  const [, sessionId = '', sessionVersion = ''] = /^o=\S+ (\S+) (\S+)/m.exec(sdp) ?? [];
  const fingerprints = new Set<string>();
  for (const [, algorithm = '', hex = ''] of sdp.matchAll(/^a=fingerprint:(\S+)[ \t]+(\S+)/gm)) {
    fingerprints.add(`${algorithm.toLowerCase()} ${hex.toUpperCase()}`);
  }
  const media = sdp
    .split(/^(?=m=)/m)
    .slice(1)
    .map(parseMedia);
  const bundle = /^a=group:BUNDLE(.*)/m.exec(sdp)?.[1]?.trim().split(/\s+/) ?? [];
  const active = media.filter(({ isRejected }) => !isRejected);
  return {
    sessionId,
    sessionVersion,
    fingerprints,
    cnames: new Set([...sdp.matchAll(/^a=ssrc:\d+ cname:(\S+)/gm)].map(([, cname = '']) => cname)),
    iceCredentials: `${iceUfrag(sdp) ?? ''} ${attribute(sdp, 'ice-pwd') ?? ''}`.trim(),
    media,
    isBundled: active.length === 1 || active.every(({ mid }) => mid !== undefined && bundle.includes(mid)),
  };
}

/** The DTLS role in a description: `active`, `passive` or `actpass`. */
export function dtlsSetup(sdp: string): string | undefined {
  return attribute(sdp, 'setup');
}

/** The ICE username fragment of the first m-line. */
export function iceUfrag(sdp: string): string | undefined {
  return attribute(sdp, 'ice-ufrag');
}

function parseMedia(section: string): MediaDescription {
  return { mid: attribute(section, 'mid'), isRejected: /^m=\S+ 0[ /]/.test(section) };
}

function attribute(sdp: string, name: string): string | undefined {
  return new RegExp(`^a=${name}:(\\S+)`, 'm').exec(sdp)?.[1];
}
