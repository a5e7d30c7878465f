const FIRST =
  'amber autumn brave bright calm clear cosmic crisp dapper early fair fancy fresh gentle golden happy hidden ivory jolly keen lively lucky mellow merry misty noble polar proud quiet quick royal rustic silent silver sunny swift tidy vivid warm wild witty young'.split(
    ' ',
  );
const SECOND =
  'badger beacon bridge brook canyon cedar comet coral crane delta falcon fern fjord forest garden glacier harbor heron island juniper lagoon lantern maple meadow nebula orchard otter pebble pine prairie raven reef river robin rocket sparrow spruce summit tiger tulip valley willow'.split(
    ' ',
  );
// Without characters that look alike.
const ALPHABET = [...'abcdefghjkmnpqrstuvwxyz23456789'];

/** Whether the contract allows the name. */
export function isRoomName(name: string): boolean {
  return /^[A-Za-z0-9_-]{1,64}$/.test(name);
}

/** Returns a pronounceable, unguessable room name: two words and ten characters, 60 random bits. */
export function suggestRoomName(): string {
  // Unlike crypto.randomUUID, available on insecure origins.
  const random = crypto.getRandomValues(new Uint32Array(12));
  const pick = (from: ArrayLike<string>, index: number) => from[(random[index] ?? 0) % from.length] ?? '';
  let tail = '';
  for (let i = 2; i < 12; i += 1) tail += pick(ALPHABET, i);
  return `${pick(FIRST, 0)}-${pick(SECOND, 1)}-${tail}`;
}

/** The initials of a name, at most two. */
export function initials(name: string): string {
  const words = name.trim().split(/\s+/).filter(Boolean);
  const letters = [words[0], words.length > 1 ? words.at(-1) : undefined].map((word) => [...(word ?? '')][0] ?? '');
  return letters.join('').toUpperCase() || '?';
}
