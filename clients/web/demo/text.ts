import type { Member, PeerErrorReason, PeerState, QualityLevel, SignalError } from '../src/index.js';

const LEVELS: Readonly<Record<QualityLevel, string>> = { good: 'Good', fair: 'Fair', poor: 'Poor', lost: 'Lost' };

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
  TOO_MANY_STREAMS: 'Too many calls are open from this network or browser. Close some, then try again.',
  SERVER_FULL: 'The server is at capacity. Try again in a moment.',
  SESSION_GONE: 'The connection was lost for too long. Join again.',
  STORE_UNAVAILABLE: 'The server cannot open rooms right now. Try again in a moment.',
  DRAINING: 'The server is restarting. Try again in a moment.',
  NETWORK: 'The server is unreachable. Check your connection and try again.',
  TIMEOUT: 'The server does not respond. Check your connection and try again.',
  UNSUPPORTED: 'This browser does not support WebRTC, or it is disabled. Use another browser.',
  STREAM_BLOCKED: 'A proxy holds back the response of the server. Ask its operator to turn off buffering.',
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

/** Describes a tile state in a word or two. */
export function stateText(tile: TileState, state: PeerState, level: QualityLevel | undefined): string {
  if (tile === 'suspended' || state === 'disconnected') return 'Reconnecting…';
  if (tile === 'failed') return 'Trying again…';
  if (tile === 'connecting') return 'Connecting…';
  return level ? LEVELS[level] : 'Connected';
}

const CAUSES: Readonly<Record<PeerErrorReason, string>> = {
  NO_ANSWER: 'The other page does not respond.',
  NO_RELAY: 'No relay (TURN server) can be reached.',
  NO_CANDIDATES: 'This device has no usable network.',
  NO_REMOTE_CANDIDATES: 'The other device has no usable network.',
  NO_PATH: 'A firewall may block the connection.',
  NO_HANDSHAKE: 'The connection cannot be secured.',
  NO_CONNECTION: 'The browser cannot open another connection.',
  CLOSED: '',
  INTERRUPTED: '',
};

/** Describes a peer connection that needs attention, or returns ''. */
export function messageText(state: PeerState, reason: PeerErrorReason | undefined): string {
  switch (state) {
    case 'connecting':
      return 'Connecting…';
    case 'disconnected':
      return 'The connection is lost. Reconnecting…';
    case 'failed':
      return `${reason ? CAUSES[reason] : 'The connection failed.'} Trying again…`;
    default:
      return '';
  }
}

/** Joins a name and what is known about it, for screen readers. */
export function describe(name: string, facts: readonly (string | false)[]): string {
  return [name, ...facts.filter((fact) => fact !== false && fact !== '')].join(', ');
}
