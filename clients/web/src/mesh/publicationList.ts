import type { Member } from '../model.js';
import type { Publication } from './publication.js';

/**
 * Attribute that describes a member's publications to the others, by the id of the MediaStream (`msid` in SDP). SDP
 * itself cannot label a track.
 */
export const PUBLICATIONS_ATTRIBUTE = 'publications';

/** Label and muted kinds of one publication. */
interface PublicationDescription {
  readonly label?: string;
  readonly muted?: readonly string[];
}

/** Returns the attribute; undefined if every publication is unmuted and has the default label. */
export function writePublications(publications: Iterable<Publication>): string | undefined {
  const list: Record<string, PublicationDescription> = {};
  for (const { label, mutedKinds, stream } of publications) {
    if (label === 'media' && mutedKinds.length === 0) continue;
    list[stream.id] = { label, ...(mutedKinds.length > 0 ? { muted: mutedKinds } : {}) };
  }
  return Object.keys(list).length > 0 ? JSON.stringify(list) : undefined;
}

/** Returns the publications of another member. Ignores malformed content, because the attribute is untrusted. */
export function readPublications(member: Member): Map<string, PublicationDescription> {
  const publications = new Map<string, PublicationDescription>();
  let list: unknown;
  try {
    list = JSON.parse(member.attributes[PUBLICATIONS_ATTRIBUTE] ?? '{}');
  } catch {
    return publications;
  }
  for (const [id, value] of Object.entries(list ?? {})) {
    const { label, muted } = (value ?? {}) as Record<string, unknown>;
    publications.set(id, {
      ...(typeof label === 'string' ? { label } : {}),
      ...(Array.isArray(muted) ? { muted: muted.map(String) } : {}),
    });
  }
  return publications;
}
