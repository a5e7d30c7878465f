import type { Member, PeerState, SignalError } from '../src/index.js';

const REASONS: Readonly<Record<string, string>> = {
  ROOM_FULL: 'This room is full. Try again when a member has left, or use another room.',
  INVALID_ROOM_NAME: 'Invalid room name: use 1 to 64 letters, digits, - and _.',
  ROOM_LOCKED: 'This room is locked: new members cannot join.',
  ROOM_FORBIDDEN: 'You are not allowed to join this room.',
  ROOM_NOT_FOUND: 'This room does not exist. Check the name.',
  PASSCODE_WRONG: 'Wrong passcode. Check it and try again.',
  TOKEN_INVALID: 'This server requires a link with a valid token. Ask for a new link.',
  TOKEN_EXPIRED: 'The token in your link has expired. Ask for a new link.',
  IDENTITY_TAKEN: 'Your identity is already in use in this room.',
  RATE_LIMITED: 'Too many attempts. Wait a moment, then try again.',
  SERVER_FULL: 'The server is at capacity. Try again in a moment.',
  SESSION_GONE: 'The connection was lost for too long. Join again.',
  STORE_UNAVAILABLE: 'The server cannot open rooms right now. Try again in a moment.',
  DRAINING: 'The server is restarting. Try again in a moment.',
  NETWORK: 'The server is unreachable. Check your connection and try again.',
  TIMEOUT: 'The server does not respond. Check your connection and try again.',
  PROXY: 'The response did not come from a Signalbox server. Check for a proxy in between.',
  LEFT: 'You have left the room.',
  REPLACED: 'You joined this room on another page, so this page has left it.',
  REMOVED: 'You were removed from the room.',
  ROOM_CLOSED: 'The room was closed.',
  FENCED: 'This call continues in another window.',
};

/** Explains a reason to the user. */
export function reasonText(reason: string, error?: SignalError): string {
  const known = REASONS[reason];
  if (known) return known;
  const violation = error?.fieldViolations[0];
  if (violation) return `The server rejected ${violation.field}: ${violation.description}`;
  return `Something went wrong${reason ? ` (${reason})` : ''}. Try again.`;
}

/** The state of a tile. */
export type TileState = 'connecting' | 'connected' | 'suspended' | 'failed';

/** Combines the signaling and media states of a member. */
export function tileState(member: Member, state: PeerState): TileState {
  if (member.state === 'suspended') return 'suspended';
  if (state === 'connected' || state === 'failed') return state;
  return 'connecting';
}

/** Describes a tile state to the user. */
export function stateText(tile: TileState, state: PeerState, path: string | undefined): string {
  if (tile === 'suspended' || state === 'disconnected') return 'reconnecting…';
  if (tile === 'failed') return 'failed, trying again…';
  if (tile === 'connecting') return 'connecting…';
  return path ?? 'connected';
}
