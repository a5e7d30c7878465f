import { Mesh, type Session, SignalError } from '../src/index.js';
import { Call } from './call.js';
import { byId } from './dom.js';
import { openMedia, whyNoMedia } from './media.js';
import { isRoomName, suggestRoomName } from './names.js';
import { rememberedName, rememberName } from './storage.js';
import { reasonText } from './text.js';
import { takeToken } from './token.js';

declare global {
  interface Window {
    /** The current call, for tests and the console. */
    signalboxDemo?: { readonly session: Session; readonly mesh: Mesh };
  }
}

const room = byId<HTMLInputElement>('room-input');
const displayName = byId<HTMLInputElement>('name-input');
const passcode = byId<HTMLInputElement>('passcode-input');
const button = byId<HTMLButtonElement>('join-button');
let token = takeToken();
let call: Call | undefined;

function showError(text: string | undefined): void {
  const error = byId('join-error');
  error.hidden = text === undefined;
  error.textContent = text ?? '';
}

function showLanding(): void {
  const wanted = new URLSearchParams(location.search).get('room') ?? '';
  if (wanted) room.value = wanted;
  else if (!room.value) room.value = suggestRoomName();
  displayName.value ||= rememberedName();
  button.disabled = false;
  button.textContent = 'Join';
  document.title = 'Signalbox';
  byId('media-hint').textContent = whyNoMedia() ?? '';
  (displayName.value ? button : displayName).focus();
}

async function enter(): Promise<void> {
  const name = room.value.trim();
  const valid = isRoomName(name);
  room.setAttribute('aria-invalid', String(!valid));
  showError(valid ? undefined : reasonText('INVALID_ROOM_NAME'));
  if (!valid) return room.focus();
  rememberName(displayName.value.trim());
  button.disabled = true;
  button.textContent = whyNoMedia() ? 'Joining…' : 'Asking for camera and microphone…';
  const media = await openMedia();
  button.textContent = 'Joining…';
  try {
    const mesh = await Mesh.join(name, {
      displayName: displayName.value.trim(),
      passcode: passcode.value,
      ...(token ? { token } : {}),
      attributes: { audio: media.stream?.getAudioTracks().length ? 'on' : 'off' },
      stream: media.stream,
    });
    const url = `${location.pathname}?room=${name}`;
    if (url !== location.pathname + location.search) history.pushState(null, '', url);
    document.title = `${name} – Signalbox`;
    window.signalboxDemo = { session: mesh.session, mesh };
    call = new Call(mesh, media, ended);
  } catch (error) {
    for (const track of media.stream?.getTracks() ?? []) track.stop();
    showLanding();
    if (!(error instanceof SignalError)) throw error;
    if (error.reason === 'PASSCODE_WRONG') {
      const first = byId('passcode-field').hidden;
      byId('passcode-field').hidden = false;
      passcode.focus();
      showError(first ? 'This room requires a passcode.' : reasonText(error.reason));
    } else {
      showError(reasonText(error.reason, error));
    }
  }
}

function ended(text: string | undefined): void {
  call = undefined;
  delete window.signalboxDemo;
  // A reload must not join again.
  history.replaceState(null, '', location.pathname);
  showLanding();
  showError(text);
}

byId('join-form').addEventListener('submit', (event) => {
  event.preventDefault();
  void enter();
});
byId('suggest').addEventListener('click', () => {
  room.value = suggestRoomName();
});
// A link with a new token was opened in the same tab.
window.addEventListener('hashchange', () => {
  token = takeToken();
});
// The Back button leaves the room.
window.addEventListener('popstate', () => call?.leave());

showLanding();
// A reload or a returning user joins without the form.
if (new URLSearchParams(location.search).get('room') && rememberedName()) void enter();
