import type { AddressChange } from './addressChange.js';
import { element } from './dom.js';

/**
 * A reload would fail even if the session followed the server, because the page has the old address. If the session
 * could not follow, the call works without the server for now, so the user decides when to open the new link.
 */
export function addressNotice({ link, followed }: AddressChange): (string | HTMLElement)[] {
  if (followed && new URL(link).origin === location.origin) return [];
  const anchor = element('a', '', followed ? 'this link' : 'Open the new link');
  anchor.setAttribute('href', link);
  return followed
    ? [
        'The server has a new address, and this call continues there. Do not reload this page; return with ',
        anchor,
        '.',
      ]
    : ['The server has a new address that this page cannot reach. Connections to other members continue. ', anchor];
}
