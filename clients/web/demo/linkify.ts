const LINK = /https?:\/\/[^\s<>"']+/g;
/** Punctuation that ends a sentence rather than a link. */
const TRAILING = /[.,;:!?)\]}]+$/;

/** Splits a text into strings and links to http and https addresses, which open in a new tab. */
export function linkify(text: string): (string | HTMLAnchorElement)[] {
  const parts: (string | HTMLAnchorElement)[] = [];
  let end = 0;
  for (const match of text.matchAll(LINK)) {
    const address = match[0].replace(TRAILING, '');
    if (!URL.canParse(address)) continue;
    parts.push(text.slice(end, match.index), anchor(address));
    end = match.index + address.length;
  }
  parts.push(text.slice(end));
  return parts;
}

function anchor(address: string): HTMLAnchorElement {
  const link = document.createElement('a');
  link.href = address;
  link.textContent = address;
  link.target = '_blank';
  link.rel = 'noopener noreferrer';
  return link;
}
