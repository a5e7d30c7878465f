import { byId } from './dom.js';
import { rememberedShortcuts, rememberShortcuts } from './storage.js';

/** Keys without modifiers, what they do, and the button that does the same. */
const SHORTCUTS: readonly { readonly key: string; readonly does: string; readonly button?: string }[] = [
  { key: 'm', does: 'microphone', button: 'mic-button' },
  { key: 'v', does: 'camera', button: 'camera-button' },
  { key: 's', does: 'share screen', button: 'screen-button' },
  { key: 'c', does: 'chat', button: 'chat-button' },
  { key: 'd', does: 'details', button: 'details-button' },
  { key: 'p', does: 'pin the next tile' },
];

/**
 * Binds the keyboard shortcuts of the call. They can be turned off, because single keys disturb people who use voice
 * input (WCAG 2.1.4).
 */
export function bindShortcuts(pinNext: () => void, signal: AbortSignal): void {
  const toggle = byId<HTMLInputElement>('shortcuts-on');
  toggle.checked = rememberedShortcuts();
  toggle.addEventListener('change', () => rememberShortcuts(toggle.checked), { signal });
  const list = SHORTCUTS.map(({ key, does }) => `${key.toUpperCase()} ${does}`).join(', ');
  byId('shortcuts').textContent = `${list}, Esc close a panel.`;
  const handle = (event: KeyboardEvent) => {
    if (!toggle.checked || event.ctrlKey || event.metaKey || event.altKey || event.repeat || isTyping(event)) return;
    const shortcut = SHORTCUTS.find(({ key }) => key === event.key.toLowerCase());
    if (!shortcut) return;
    // The key must not be typed into a field that the action focuses.
    event.preventDefault();
    if (!shortcut.button) return pinNext();
    const button = byId<HTMLButtonElement>(shortcut.button);
    if (!button.hidden) button.click();
  };
  document.addEventListener('keydown', handle, { signal });
}

function isTyping({ target }: KeyboardEvent): boolean {
  return target instanceof Element && target.closest('input:not([type="checkbox"]), textarea, select') !== null;
}
