const NAME = 'signalbox.name';
const SHORTCUTS = 'signalbox.shortcuts';

/** The last name used, or '' if storage is disabled. */
export function rememberedName(): string {
  return read(NAME);
}

/** Stores the name for the next visit. */
export function rememberName(name: string): void {
  write(NAME, name);
}

/** The id of the device chosen last, or ''. */
export function rememberedDevice(kind: 'audio' | 'video'): string {
  return read(`signalbox.${kind}`);
}

/** Stores the choice of a device for the next visit. */
export function rememberDevice(kind: 'audio' | 'video', deviceId: string): void {
  write(`signalbox.${kind}`, deviceId);
}

/** Whether keyboard shortcuts are on, which is the default. */
export function rememberedShortcuts(): boolean {
  return read(SHORTCUTS) !== 'off';
}

/** Stores whether keyboard shortcuts are on. */
export function rememberShortcuts(on: boolean): void {
  write(SHORTCUTS, on ? 'on' : 'off');
}

function read(key: string): string {
  try {
    return localStorage.getItem(key) ?? '';
  } catch {
    // Storage is disabled.
    return '';
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Storage is disabled.
  }
}
