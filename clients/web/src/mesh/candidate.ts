import type { Description } from './description.js';

/**
 * Normalizes a remote candidate to the form that browsers accept:
 *
 * - `a=` and a line end are removed, and a missing `candidate:` is added.
 * - An empty or unknown mid counts as absent.
 * - Without mid and index, the candidate is assigned to the only transport.
 *
 * @throws Error if there are several transports and the candidate names none.
 */
export function normalizeCandidate(init: RTCIceCandidateInit, remote: Description): RTCIceCandidateInit {
  const candidate = normalizeText(init.candidate ?? '');
  const ufrag = init.usernameFragment ? { usernameFragment: init.usernameFragment } : {};
  const mid = init.sdpMid || undefined;
  const index = init.sdpMLineIndex ?? undefined;
  if (mid !== undefined && remote.media.some((media) => media.mid === mid)) {
    return { candidate, sdpMid: mid, ...ufrag };
  }
  if (mid === undefined && index !== undefined && index < remote.media.length) {
    return { candidate, sdpMLineIndex: index, ...ufrag };
  }
  // Without mid and index, an empty candidate ends the candidates of every m-line.
  if (candidate === '') return { candidate, ...ufrag };
  if (!remote.isBundled) throw new Error(`candidate without a known mid or m-line index: "${candidate}"`);
  const first = remote.media.findIndex(({ isRejected }) => !isRejected);
  return { candidate, sdpMLineIndex: Math.max(first, 0), ...ufrag };
}

/** Returns a candidate-attribute as in RFC 8839, section 5.1: without `a=`, with `candidate:`. */
function normalizeText(text: string): string {
  const line = text.trim().replace(/^a=/, '');
  return /^\S+ \d+ \S+ \d+ \S+ \d+ typ /.test(line) && !line.startsWith('candidate:') ? `candidate:${line}` : line;
}
