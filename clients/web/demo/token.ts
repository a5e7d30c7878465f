const TOKEN = 'signalbox.token';

/**
 * The token of the link that led here (`#token=...`), taken out of the address bar, so that it is neither shown nor copied
 * along. Kept for this tab, so that a reload still has it; storage may be switched off.
 */
export function takeToken(): string | undefined {
  const token = new URLSearchParams(location.hash.slice(1)).get('token');
  if (token) history.replaceState(history.state, '', location.pathname + location.search);
  try {
    if (token) sessionStorage.setItem(TOKEN, token);
    return sessionStorage.getItem(TOKEN) ?? undefined;
  } catch {
    return token ?? undefined;
  }
}
