import type { Member, PeerState, SignalError } from '../src/index.js';

const REASONS: Readonly<Record<string, string>> = {
  ROOM_FULL: 'This room is full. Try again when somebody has left, or use another room.',
  INVALID_ROOM_NAME: 'This is not a room name. Use 1 to 64 letters, digits, - and _.',
  ROOM_LOCKED: 'This room is locked: nobody new can join.',
  ROOM_FORBIDDEN: 'You are not allowed into this room.',
  ROOM_NOT_FOUND: 'There is no such room.',
  PASSCODE_WRONG: 'This room needs a passcode, and this was not it.',
  TOKEN_INVALID: 'This server lets you in with a link only that has a token, and there was none or not a good one.',
  TOKEN_EXPIRED: 'The token of your link has expired. Ask for a new link.',
  IDENTITY_TAKEN: 'Somebody with your identity is in this room already.',
  RATE_LIMITED: 'Too many attempts. Wait a moment, then try again.',
  SERVER_FULL: 'The server has no room for more people right now. Try again in a moment.',
  SESSION_GONE: 'The connection was lost for too long.',
  STORE_UNAVAILABLE: 'The server cannot open rooms right now. Try again in a moment.',
  DRAINING: 'The server is being restarted. Try again in a moment.',
  NETWORK: 'The server cannot be reached. Check your connection and try again.',
  TIMEOUT: 'The server does not answer. Check your connection and try again.',
  PROXY: 'Something between this page and the server got in the way.',
  LEFT: 'You have left the room.',
  REPLACED: 'You joined this room elsewhere, so this page has left it.',
  REMOVED: 'You were removed from the room.',
  ROOM_CLOSED: 'The room was closed.',
  FENCED: 'This call goes on in another window.',
};

/** A reason in words that help. */
export function reasonText(reason: string, error?: SignalError): string {
  const known = REASONS[reason];
  if (known) return known;
  const violation = error?.fieldViolations[0];
  if (violation) return `The server does not accept ${violation.field}: ${violation.description}`;
  return `Something went wrong${reason ? ` (${reason})` : ''}. Try again.`;
}

/** What a tile shows, and how it says it. */
export type TileState = 'connecting' | 'connected' | 'suspended' | 'failed';

/** The state of a member, of what is known about its signaling and its media. */
export function tileState(member: Member, state: PeerState): TileState {
  if (member.state === 'suspended') return 'suspended';
  if (state === 'connected' || state === 'failed') return state;
  return 'connecting';
}

/** The same for people. */
export function stateText(tile: TileState, state: PeerState, path: string | undefined): string {
  if (tile === 'suspended' || state === 'disconnected') return 'reconnecting…';
  if (tile === 'failed') return 'failed, trying again…';
  if (tile === 'connecting') return 'connecting…';
  return path ?? 'connected';
}
